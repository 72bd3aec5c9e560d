"""What docs/own_triplets.md shows: from the answers of raters to a table of accuracies; and sets of the same kind."""

import csv
import json
import re
import shlex
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

import fecnet
from fecnet.cli.main import main
from fecnet.cli.prepare_fec import _TYPES
from fecnet.config.node import load_config
from fecnet.data.packed import PackedDataset, TripletTable
from fecnet.data.rater_agreement import split_half
from fecnet.data.verify import verify_dataset
from fecnet.encoder.face_maker import FaceMaker
from fecnet.faces.recipe import FaceRecipe
from fecnet.prepare.fec import prepare_triplets
from fecnet.prepare.triplet_rows import TYPE_WORDS
from fecnet.runs.training import train_run
from fecnet.structures import TripletType
from fecnet.utils.errors import ConfigError
from tests.conftest import ROOT, TINY_RECIPE
from tests.faces.test_extract import photo
from tests.net_fixtures import squares  # noqa: F401  (a fixture)
from tests.nets import SHORT, noisy
from tests.short_runs import TWO_ITERATIONS

PAGE = (ROOT / "docs" / "own_triplets.md").read_text()
RATERS = ("ann", "bob", "eve")
HEADER = ["a", "b", "c", "odd", "rater", "type", "split", *(f"subject_{place}" for place in "abc")]


def write_photos(folder, num=6, first=0):
    """Photos with one bright square each, a face to ``Squares``; returns their names."""
    folder.mkdir(exist_ok=True)
    for k in range(first, first + num):
        Image.fromarray(noisy(photo((20 + 10 * k, 30), sides=[40 + 4 * k]), k)).save(folder / f"{k}.png")
    return [f"{k}.png" for k in range(first, first + num)]


def write_answers(path, by_split, raters=RATERS):
    """All triplets of the photos of each split, in another order for each rater; the first two raters agree."""
    rows = []
    for split, names in by_split.items():
        for t, trio in enumerate(combinations(names, 3)):
            for k, rater in enumerate(raters):
                faces = [trio[(place + k) % 3] for place in range(3)]
                odd = trio[t % 3] if k < 2 else str(t % 3 + 1)
                people = [f"person of {face}" for face in faces]
                rows.append([*faces, odd, rater, "two" if t % 2 else "ONE_CLASS_TRIPLET", split, *people])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return rows


@pytest.fixture
def answers(tmp_path):
    """``answers.csv`` and the folder of its photos; with the rows."""
    photos = tmp_path / "photos"
    splits = {split: write_photos(photos, 5, 5 * k) for k, split in enumerate(("train", "val", "test"))}
    return write_answers(tmp_path / "answers.csv", splits)


def test_the_page_is_what_happens(answers, squares, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    commands = "".join(re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)).splitlines()
    told = {}
    for command in commands:
        words = shlex.split(command)[1:]
        short = [*TWO_ITERATIONS, "MODEL.WIDTH_MULT", "0.125", "DATA.INPUT_SIZE", "32"] if words[0] == "train" else []
        assert main([*words, *short]) == 0, command
        told[" ".join(words[:2])] = capsys.readouterr().out
    assert list(told) == [
        *("prepare triplets", "data verify", "data show", "train own_triplets"),
        *("evaluate result/own_triplets", "report result/own_triplets"),
    ]
    dataset = PackedDataset("datasets/own_triplets")
    kept = {"train": 30, "val": 30, "test": 30}
    for split in kept:
        with np.load(f"datasets/own_triplets/triplets/{split}.npz") as held:
            assert len(held["answer"]) == kept[split] and set(held["annotator"].tolist()) == {0, 1, 2}
            assert held["votes"].sum(axis=1).tolist() == [3] * 10
    assert dataset.faces_NHWC.shape == (15, 112, 112, 3) and dataset.description["faces"]["align"]
    for name in ("prepare triplets", "data show"):
        said = r"split-half agreement of raters, %\n  split +ONE +TWO +THREE +ALL\n  train +[\d.]+ +[\d.]+ +- +[\d.]+\n"
        assert re.search(said, told[name]), told[name]
    table = told["evaluate result/own_triplets"]
    assert re.search(r"^split-half agreement +[\d.]+ +[\d.]+ +- +[\d.]+( +-){3}$", table, re.MULTILINE)
    assert re.search(r"^triplets +5 +5 +- +10 +- +10 +-$", table, re.MULTILINE)  # two of three raters agree
    assert "the raters' vote shares: log-likelihood -" in table and "with the default scale 4; best on" in table
    assert fecnet.load("result/own_choices", device="cpu").choice_scale != 4
    assert "split-half agreement" in (tmp_path / "result/own_triplets/report.html").read_text()
    found = json.loads((tmp_path / "result/own_triplets/evaluation/triplets.json").read_text())
    assert found["splits"]["test"]["split-half agreement"]["THREE"]["percent"] is None
    assert load_config("result/own_triplets/config.yaml").DATA.WEIGHT_BY_AGREEMENT
    enc = fecnet.load("result/own_triplets", device="cpu")
    assert enc.embed(["photos/0.png"]).shape == (1, 16)


def pack(folder, *more):
    return ["prepare", "triplets", str(folder / "answers.csv"), str(folder / "photos"), str(folder / "set"), *more]


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def test_every_answer_is_that_of_its_rater_and_face(answers, tmp_path):
    """What a model of raters needs: who chose which face, across splits, as the table has it."""
    prepare_triplets(tmp_path / "answers.csv", tmp_path / "photos", tmp_path / "set", progress=False)
    assert verify_dataset(tmp_path / "set").faults == []
    with (tmp_path / "set" / "faces.csv").open() as file:
        faces = list(csv.DictReader(file))
    found = set()
    for split in ("train", "val", "test"):
        with np.load(tmp_path / "set" / "triplets" / f"{split}.npz") as held:
            triplet_A = np.repeat(np.arange(len(held["odd"])), np.diff(held["answer_offset"]))
            for t, rater, answer in zip(triplet_A, held["annotator"], held["answer"], strict=True):
                trio = [faces[face]["source"] for face in held["faces"][t]]
                found.add((split, tuple(sorted(trio)), RATERS[rater], trio[answer]))
    expected = {
        (row[6], tuple(sorted(row[:3])), row[4], row[int(row[3]) - 1] if row[3].isdecimal() else row[3])
        for row in answers
    }
    assert found == expected and len(found) == len(answers)
    assert {row["subject"] for row in faces} == {f"person of {k}.png" for k in range(15)}


def test_photos_that_cannot_be_read_are_counted_by_reason_with_their_triplets(answers, tmp_path, capsys):
    data = (tmp_path / "photos" / "0.png").read_bytes()
    (tmp_path / "photos" / "0.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "photos" / "1.png").unlink()
    assert main(pack(tmp_path, "--size", "16", "--workers", "1")) == 0
    coverage = PackedDataset(tmp_path / "set").coverage
    broken = next(reason for reason in coverage["faces"]["dropped"] if reason != "photo_missing_file")
    assert coverage["faces"]["dropped"] == {"photo_missing_file": 1, broken: 1}
    assert coverage["triplets"]["train"]["dropped"] == {broken: 6, "photo_missing_file": 3}
    assert coverage["triplets"]["train"]["kept"] == 1
    assert f"{broken} 6" in capsys.readouterr().out


def test_a_source_of_which_nothing_can_be_used_leaves_nothing(answers, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("img1,img2,img3,label,type\n0.png,1.png,2.png,1,SAME\n")
    (tmp_path / "tie.csv").write_text("a,b,c,votes_a,votes_b,votes_c\n0.png,1.png,2.png,1,1,0\n")
    before = names_in(tmp_path)
    commands = {
        "no face is left to pack; missing: {'photo_missing_file': 15}": ["triplets", "answers.csv", "empty"],
        "none of 1 rows is usable: {'tie': 1}; first bad row: line 2: '0.png, 1.png, 2.png: votes 1, 1, 0': tie": [
            "triplets", "tie.csv", "photos",
        ],
        "none of 2 rows is usable: {'header': 1, 'unknown_type': 1}; first bad row: line 2: "
        f"'0.png,1.png,2.png,1,SAME': unknown_type; allowed types: {TYPE_WORDS}": ["list", "list.csv", "photos"],
    }  # fmt: skip
    for said, (source, file, photos) in commands.items():
        command = ["prepare", source, str(tmp_path / file), str(tmp_path / photos), str(tmp_path / "set")]
        assert main([*command, "--workers", "1"]) == 2
        assert capsys.readouterr().err.splitlines()[-1].endswith(said)
        assert names_in(tmp_path) == before


def test_help_states_the_words_of_types(capsys):
    assert _TYPES == TYPE_WORDS
    for source in ("list", "triplets"):
        with pytest.raises(SystemExit):
            main(["prepare", source, "--help"])
        assert all(f"{word}_CLASS_TRIPLET" in capsys.readouterr().out for word in ("ONE",))


@pytest.mark.parametrize("how", [[], ["--align"]])
def test_grey_faces_are_those_of_a_net_on_the_same_photo(answers, squares, tmp_path, how):  # noqa: F811
    assert main(pack(tmp_path, "--grey", "--size", "48", "--workers", "1", *how)) == 0
    dataset = PackedDataset(tmp_path / "set")
    assert dataset.channels == ["grey"] and dataset.faces_NHWC.shape == (15, 48, 48, 1)
    recipe = FaceRecipe.from_dict(dataset.description["faces"])
    maker = FaceMaker(size=48, channels=["grey"], recipe=recipe, origin="set")
    (made,) = maker.make([(tmp_path / "photos" / "0.png", None)], faces="auto" if how else "whole")
    assert np.array_equal(made.image_SSC, dataset.faces_NHWC[0])


def test_align_without_a_detector_is_refused(answers, tmp_path, capsys):
    assert main(pack(tmp_path, "--align", "--detector", "none")) == 2
    assert "--align: with --detector none; allowed: mtcnn, yunet" in capsys.readouterr().err


def test_a_table_with_more_answers_replaces_the_first(answers, tmp_path):
    """Answers come in over weeks; the photos are the same."""
    assert main(pack(tmp_path, "--size", "16", "--workers", "1")) == 0
    write_answers(tmp_path / "answers.csv", {"train": [f"{k}.png" for k in range(5)]}, raters=("ann", "bob"))
    assert main(pack(tmp_path, "--size", "16", "--workers", "1", "--overwrite")) == 0
    assert PackedDataset(tmp_path / "set").triplets("train").votes_T3.sum() == 20


def test_vote_weights_without_votes_are_refused(tmp_path, capsys):
    names = write_photos(tmp_path / "photos")
    lines = [f"{a},{b},{c},1,ONE_CLASS_TRIPLET" for a, b, c in combinations(names, 3)]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    command = ["prepare", "list", str(tmp_path / "list.csv"), str(tmp_path / "photos"), str(tmp_path / "set")]
    assert main([*command, "--size", "48", "--workers", "1"]) == 0
    assert "split-half" not in capsys.readouterr().out
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(TINY_RECIPE % (tmp_path / "set", tmp_path / "result"))
    with pytest.raises(
        ConfigError, match=r"DATA\.WEIGHT_BY_AGREEMENT: true, but split 'train' of .* has no votes of ra"
    ):
        train_run(load_config(recipe, [*SHORT, "DATA.WEIGHT_BY_AGREEMENT", "true"]), recipe="tiny")


def naive_agreement(votes, repeats, rng):
    """Raters as a list, shuffled; the halves by hand."""
    correct = counted = 0
    for _ in range(repeats):
        raters = rng.permutation(np.repeat([0, 1, 2], votes))
        half, rest = (np.bincount(part, minlength=3) for part in np.split(raters, [len(raters) // 2]))
        if (rest == rest.max()).sum() == 1:
            counted += 1
            correct += (half == half.max()).sum() == 1 and half.argmax() == rest.argmax()
    return correct, counted


def test_split_half_agreement_is_that_of_raters_shuffled_by_hand(tmp_path):
    votes_T3 = np.array([[5, 1, 0], [3, 3, 1], [0, 2, 9], [0, 0, 2], [1, 0, 0]], np.uint8)
    type_T = np.array([0, 0, 1, 1, 1], np.int8)
    table = TripletTable(np.zeros((5, 3), np.int32), votes_T3.argmax(axis=1), type_T, votes_T3)
    found = split_half(table, repeats=1500)
    rng = np.random.default_rng(1)
    for row, which in (("ONE", [0, 1]), ("TWO", [2, 3])):
        correct, counted = np.sum([naive_agreement(votes_T3[t], 1500, rng) for t in which], axis=0)
        assert abs(found[row]["counted"] - counted) < 150
        assert found[row]["percent"] == pytest.approx(100 * correct / counted, abs=4)
    assert found["THREE"] == {"percent": None, "correct": 0, "counted": 0}
    assert found["ALL"]["counted"] == found["ONE"]["counted"] + found["TWO"]["counted"]
    assert set(found) == {"ALL"} | {kind.name.removesuffix("_CLASS") for kind in TripletType}
