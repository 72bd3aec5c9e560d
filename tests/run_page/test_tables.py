"""Tables of known counts, by hand."""

import re

from fecnet.evaluation.near_ties import NearTies
from fecnet.run_page.tables import affect_table, class_tables, near_ties_note, number, triplet_table


def cells(markup):
    rows = re.findall(r"<tr>(.*?)</tr>", markup)
    return [[re.sub(r"<[^>]+>", " ", cell).split() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def test_triplets():
    found = {row: {"right": 1, "total": 4, "percent": 25.0} for row in ("ONE", "TWO", "ALL")}
    found["THREE"] = {"right": 0, "total": 0, "percent": None}
    assert cells(triplet_table({"fecnet": found})) == [
        [[], ["ONE"], ["TWO"], ["THREE"], ["ALL"]],
        [["fecnet"], ["25.0"], ["25.0"], ["–"], ["25.0"]],
        [["triplets"], ["4"], ["4"], ["–"], ["4"]],
    ]


def test_triplets_by_the_agreement_of_their_raters():
    row = {"right": 1, "total": 4, "percent": 25.0}
    halves = dict.fromkeys(("ONE", "TWO", "THREE", "ALL"), row)
    found = {**halves, ">=5/6": {"right": 3, "total": 4, "percent": 75.0}, ">=4/6": row, "<4/6": row}
    markup = triplet_table({"fecnet": found, "halves": halves})
    names = [[["&gt;=5/6"], ["&gt;=4/6"], ["&lt;4/6"]], [["75.0"], ["25.0"], ["25.0"]], [["–"]] * 3, [["4"]] * 3]
    assert [row[5:] for row in cells(markup)] == names
    assert "by the share of raters who chose the odd face" in markup


def test_near_ties_are_told_where_they_were_counted():
    markup = near_ties_note(NearTies(3, 1, 1200, 1e-5, (2, 1, 0)).to_dict())
    assert "Near ties: 3 of 1,200 triplets (ONE 2, TWO 1, THREE 0, exact 1): the counts may differ by up to" in markup
    assert "Near ties: none of 70 faces, so the counts" in near_ties_note(NearTies(0, 0, 70, 1e-5).to_dict())
    assert near_ties_note(None) is None


def test_classes():
    markup = class_tables({"classes": ["a", "<script>", "none"], "confusion": [[3, 1, 0], [2, 0, 0], [0, 0, 0]]})
    assert "<script>" not in markup
    # 3 of 6 right; recall 75 and 0; F1 of a: 2·3 / (4 + 5); F1 of the other 0
    assert "accuracy 50.0, mean class accuracy 37.5, macro F1 33.3 % of 6 faces" in markup
    assert "always predicting the largest class: 66.7" in markup
    table, confusion = markup.split("Confusion", 1)
    assert cells(table)[1:] == [
        [["a"], ["4"], ["75.0"], ["60.0"], ["66.7"]],
        [["&lt;script&gt;"], ["2"], ["0.0"], ["0.0"], ["0.0"]],
        [["none"], ["0"], ["–"], ["–"], ["–"]],
    ]
    assert cells(confusion)[1:] == [
        [["a"], ["3", "75"], ["1", "25"], ["0"]],
        [["&lt;script&gt;"], ["2", "100"], ["0"], ["0"]],
        [["none"], ["0"], ["0"], ["0"]],
    ]


def test_affect():
    found = {"ccc": 55.0, "valence_ccc": 60.0, "arousal_ccc": None, "valence_rmse": 0.25, "arousal_rmse": 0.5}
    markup = affect_table({**found, "affect_faces": 7})
    assert cells(markup)[1:] == [[["valence"], ["0.600"], ["0.250"]], [["arousal"], ["–"], ["0.500"]]]
    assert number(float("nan")) == "–"
