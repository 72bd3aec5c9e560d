"""What comes out of a study: tables that the readers of FEC and of own triplets read, and a set that trains."""

import csv
from collections import Counter

import numpy as np
import pytest

from fecnet.cli.main import main
from fecnet.config.node import load_config
from fecnet.data.packed import PackedDataset
from fecnet.data.verify import verify_dataset
from fecnet.prepare.annotations import read_annotations
from fecnet.prepare.rater_answers import read_answers
from fecnet.rate.answers import GivenAnswer, take_answer
from fecnet.rate.export import export_study
from fecnet.rate.overview import format_overview, overview_of
from fecnet.rate.raters import exclude
from fecnet.rate.tasks import tasks_from
from fecnet.rate.votes import read_votes
from fecnet.runs.training import train_run
from fecnet.utils.errors import DataError
from tests.conftest import ROOT
from tests.rate.studies import answer_all, first_face, invited, key, make_study, write_classes
from tests.short_runs import short

SPLITS = ("test", "train", "val")


def last_face(faces):
    return faces.index(max(faces))


@pytest.fixture
def answered(tmp_path):
    """A study of three classes with splits: three raters agree, one cannot tell, one is excluded; with controls."""
    source = write_classes(tmp_path / "classes", {"anger": 16, "happy": 16, "sad": 16})
    plan = {"strategy": "typed", "triplets": 60, "raters": 4, "control_every": 6, "controls": 4}
    with make_study(tmp_path, source=source, hold_out={"val": 0.25, "test": 0.25}, **plan) as study:
        one, two, three, mute, bad = invited(study, 5)
        for rater in (one, two, three):
            answer_all(study, rater)
        answer_all(study, mute, lambda faces: None)
        exclude(study, mute.id)
        answer_all(study, bad, last_face)
        exclude(study, bad.id)
        exclude(study, mute.id, excluded=False)
        yield study


def test_the_tables_are_read_back_as_they_are(answered, tmp_path, capsys):
    folder = tmp_path / "tables"
    assert main(["rate", "export", str(answered.path), str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "answers.csv",
        "log.csv",
        "test.csv",
        "train.csv",
        "val.csv",
    ]
    votes = read_votes(answered)
    tables = read_annotations({split: folder / f"{split}.csv" for split in SPLITS}, progress=False)
    assert sum(len(table.odd_T) for table in tables.values()) == 60 == len(votes.triplet_T)
    assert all(not sum(table.coverage["dropped"].values()) for table in tables.values())
    assert sum(table.votes_T3.sum() for table in tables.values()) == votes.votes_T3.sum() == 180
    name_of = {row["id"]: row["name"] for row in answered.rows("SELECT id, name FROM faces")}
    expected = {
        tuple(name_of[face + 1] for face in trio): votes_3
        for trio, votes_3 in zip(votes.faces_T3.tolist(), votes.votes_T3.tolist(), strict=True)
    }
    for table in (*tables.values(), *read_answers(folder / "answers.csv", progress=False).values()):
        for trio, votes_3, odd in zip(table.faces_T3, table.votes_T3.tolist(), table.odd_T, strict=True):
            names = [table.urls[table.face_photo_F[face]] for face in trio]
            by_name = dict(zip(sorted(names), expected[tuple(sorted(names))], strict=True))
            assert [by_name[name] for name in names] == votes_3 and votes_3[odd] == 3
        assert set(table.type_T.tolist()) == {0, 1, 2}
    assert "240 answers that count" in capsys.readouterr().out  # a quarter of which could not tell


def test_the_log_has_every_answer(answered, tmp_path):
    (rater,) = invited(answered)
    counts = export_study(answered, tmp_path / "tables")
    with (tmp_path / "tables" / "log.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == counts["log"] == answered.rows("SELECT count(*) FROM answers")[0][0]
    assert {row["excluded"] for row in rows} == {"0", "1"} and {row["again"] for row in rows} == {"0", "1"}
    assert any(row["known"] for row in rows) and any(not row["odd"] for row in rows)
    row = next(row for row in rows if row["odd"])
    assert row["odd"] in (row["a"], row["b"], row["c"]) and sorted(row["shown"].split()) == ["a", "b", "c"]
    assert row["answered_at"].endswith("+00:00") and row["rater"] == "rater-001"
    assert rater.name == "rater-006"


def test_nothing_answered_is_nothing_to_export(tmp_path):
    with make_study(tmp_path) as study:
        with pytest.raises(DataError, match="no answers yet"):
            export_study(study, tmp_path / "tables")
        assert main(["prepare", "study", str(study.path), str(tmp_path / "set")]) == 2
    assert not (tmp_path / "tables").exists() and not (tmp_path / "set").exists()


def test_a_study_becomes_a_set_that_trains(answered, tmp_path, capsys, no_square):
    packed = tmp_path / "set"
    assert main(["prepare", "study", str(answered.path), str(packed), "--workers", "1"]) == 0
    told = capsys.readouterr().out
    assert "split-half agreement of raters" in told and "no_answer" in told
    verify_dataset(packed)
    dataset = PackedDataset(packed)
    assert dataset.faces_NHWC.shape[1:] == (40, 40, 3)  # as the pictures are
    query = "SELECT split FROM triplets JOIN faces ON faces.id = a WHERE known IS NULL"
    by_split = Counter(row["split"] for row in answered.rows(query))
    assert {split: len(dataset.triplets(split)) for split in SPLITS} == by_split
    with np.load(packed / "triplets" / "train.npz") as file:
        assert file["answer_offset"][-1] == len(file["answer"]) == file["votes"].sum()  # every answer is there
    recipe = ROOT / "config" / "own_triplets.yaml"
    words = [*short(recipe), "DATA.PATH", str(packed), "DATA.INPUT_SIZE", "32", "MODEL.WIDTH_MULT", "0.125"]
    assert train_run(load_config(recipe, [*words, "OUTPUT_DIR", str(tmp_path / "result")]), recipe="own") == 0
    assert [*(tmp_path / "result").rglob("model.safetensors")]


def test_the_overview(answered):
    found = overview_of(answered)
    assert (found.triplets, found.answers, found.complete, found.too_few, found.split) == (60, 180, 60, 0, 0)
    assert found.agreement.share == pytest.approx(1) and found.agreement.alpha == pytest.approx(1)
    one, _, _, mute, bad = found.raters
    assert (one.name, one.seconds, one.repeats_same, one.repeats) == ("rater-001", 1.5, one.repeats, one.repeats)
    assert one.repeats >= 4 and one.controls == 4
    assert one.accuracy > 0.9 and mute.accuracy is None and bad.accuracy is None
    assert mute.cannot_tell == mute.answers > 60
    assert (bad.excluded, mute.excluded) == (True, False)
    assert sum(found.hours) == answered.rows("SELECT count(*) FROM answers")[0][0] == found.hours[-1] + found.hours[-2]
    text = format_overview(found)
    assert "running: 180 answers, 240 wanted" in text and "Fleiss' kappa 1.00, Krippendorff's alpha 1.00" in text
    assert "rater-005" in text and "excluded" in text


def test_who_does_not_look_stands_out(tmp_path):
    source = write_classes(tmp_path / "classes", {"anger": 8, "happy": 8, "sad": 8})
    label = {}

    def careful(faces):
        kinds = [label[face] for face in faces]
        lone = [place for place, kind in enumerate(kinds) if kinds.count(kind) == 1]
        return lone[0] if len(lone) == 1 else first_face(faces)

    plan = {"strategy": "typed", "triplets": 60, "controls": 6, "control_every": 4}
    with make_study(tmp_path, source=source, **plan) as study:
        label |= {row["id"]: row["label"] for row in study.rows("SELECT id, label FROM faces")}
        good, other, careless = invited(study, 3)
        answer_all(study, good, careful)
        answer_all(study, other, careful)
        answer_all(study, careless, lambda faces: 0)  # always the left one
        found = overview_of(study)
        assert [rater.fails for rater in found.raters[:2]] == ["", ""]
        assert "fails controls" in found.raters[2].fails
        assert found.raters[2].accuracy < 0.6 < found.raters[0].accuracy
        assert found.split == 0 and found.agreement.kappa < 0.8


def test_split_votes_are_shown_first(tmp_path):
    with make_study(tmp_path, triplets=4) as study:
        raters = invited(study, 3)
        for place, rater in enumerate(raters):
            for task in tasks_from(study, rater.id):
                order = sorted(task.faces)
                face = order[place] if min(task.faces) == 1 else order[0]
                take_answer(study, rater, GivenAnswer(task.number, key(), task.faces.index(face), 1.0))
        found = overview_of(study)
        assert found.split == len(found.most_split) >= 1
        assert all(split.faces[0] == 1 and split.votes == (1, 1, 1) for split in found.most_split)


def test_an_empty_study_has_an_overview(tmp_path, capsys):
    with make_study(tmp_path) as study:
        invited(study)
        assert main(["rate", "status", str(study.path)]) == 0
        assert "kappa -" in capsys.readouterr().out
        assert main(["rate", "status", str(study.path), "--json", "-"]) == 0
