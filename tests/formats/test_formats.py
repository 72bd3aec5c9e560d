"""A file of each version of each format opens for ever and says what it said; a newer version is refused by name."""

import contextlib
import json
import shutil
import sqlite3
from collections import Counter
from importlib.util import find_spec

import numpy as np
import pytest

import fecnet
from fecnet.config.node import flatten, load_config
from fecnet.data.packed import PackedDataset
from fecnet.data.rater_answers import read_rater_answers
from fecnet.data.verify import verify_dataset
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.engine.checkpointer import load_trainer
from fecnet.rate.schema import TABLES
from fecnet.rate.study import Study
from fecnet.rate.votes import CANNOT_TELL, read_answers, read_votes
from fecnet.runs.training import train_run
from fecnet.search.index import Index
from fecnet.structures import FACE_COLUMNS
from tests.formats.make import CLASSES, FACES, FORMATS, SIDE, VERSIONS, settings, write_packed

NETS = ("run", "bundle", "half", "net.onnx")
NEWER = "made by a newer fecnet: format 2, this one reads up to 1; upgrade fecnet"


def stored(kind):
    """The folders of all versions of a kind."""
    return sorted(FORMATS.glob(f"{kind}-*"))


def versions_of(kind):
    return pytest.mark.parametrize("folder", stored(kind), ids=lambda path: path.name)


@pytest.mark.parametrize("kind", VERSIONS)
def test_each_version_of_each_format_has_its_file(kind):
    assert [int(path.name.split("-")[1]) for path in stored(kind)] == [*range(1, VERSIONS[kind] + 1)]


@versions_of("packed")
def test_packed_sets_open_and_say_what_they_said(folder, tmp_path):
    dataset = PackedDataset(folder)
    assert dataset.faces_NHWC.shape == (FACES, SIDE, SIDE, 1) and dataset.channels == ["grey"]
    assert dataset.coverage["faces"] == {"read": 10, "kept": FACES, "dropped": {"no_face": 1}}
    train = dataset.triplets("train")
    assert train.odd_T.tolist() == [0, 2, 1] and train.type_T.tolist() == [0, 1, 2]
    assert train.votes_T3.tolist() == [[2, 1, 0], [0, 0, 3], [1, 2, 0]]
    answers = read_rater_answers(dataset, "val")
    assert answers.choice_A.tolist() == [0, 0, 1, 2, 2, 2, 1, 1, 0]
    assert dataset.classes("mood") == CLASSES
    labels = dataset.labels("mood", "val")
    assert labels.faces_M.tolist() == [6, 7, 8] and labels.label_M.tolist() == [0, 1, 2]
    assert np.allclose(labels.distribution_MK[0], [0.75, 0, 0.25])
    assert np.allclose(labels.valence_arousal_M2[:2], [[-1, 0.5], [0, 0.25]])
    assert np.isnan(labels.valence_arousal_M2[2]).all()
    assert dataset.array("expression").shape == (FACES, 2)
    assert verify_dataset(folder).faults == []
    assert dataset.faces_sha256 == hash_of_today(tmp_path)


def hash_of_today(folder):
    """The hash of the same faces, packed by the fecnet of today."""
    write_packed(folder / "today")
    return PackedDataset(folder / "today").faces_sha256


@versions_of("nets")
@pytest.mark.parametrize("name", NETS)
def test_nets_answer_what_they_answered(folder, name):
    if name.endswith(".onnx") and find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    encoder = fecnet.load(folder / name, device="cpu")
    dataset = PackedDataset(folder.with_name("packed-1"))
    found, answered = encoder.encode(dataset.faces_NHWC[:]), np.load(folder / "answers.npz")
    for output in ("embedding", "logits"):
        assert np.allclose(found.outputs[output], answered[output], atol=1e-2 if name == "half" else 1e-5)
    assert encoder.classes == CLASSES and encoder.choice_scale > 0


@versions_of("nets")
def test_a_run_is_trained_on(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "run")
    shutil.copytree(folder.with_name("packed-1"), tmp_path / "packed")
    cfg = load_config(overrides=settings(OUTPUT_DIR=tmp_path, **{"DATA.PATH": tmp_path / "packed", "SOLVER.LENGTH": 3}))
    assert train_run(cfg, recipe="run", resume=str(tmp_path / "run")) == 0
    before, now = (find_checkpoint(path, "last") for path in (folder / "run", tmp_path / "run"))
    assert load_info(now).iteration == 3
    if folder == stored("nets")[-1]:  # what is written today has the form of the newest, or its number must be raised
        assert described_form(now) == described_form(before)
        assert form(load_trainer(now)) == form(load_trainer(before))


@versions_of("index")
@pytest.mark.parametrize("exact", [True, False])
def test_indexes_find_what_they_found(folder, exact):
    if not exact and find_spec("faiss") is None:
        pytest.skip("faiss is not installed")
    index = Index(folder, exact=exact)
    assert len(index) == FACES and index.faces == "auto"
    assert index.search(index.vector_ND, 1).row_QK[:, 0].tolist() == [*range(FACES)]
    assert np.allclose(index.vector_ND, np.load(folder.with_name("nets-1") / "answers.npz")["embedding"], atol=1e-5)
    assert [name.number for name in index.every_name()] == [*range(FACES)]


@versions_of("study")
def test_studies_hold_what_was_answered(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "study")
    with Study(tmp_path / "study") as study:
        answers, votes = read_answers(study), read_votes(study)
        assert Counter(answers.rater_A.tolist()) == {1: 3, 2: 3, 3: 3}
        assert (answers.choice_A == CANNOT_TELL).sum() == 1
        assert len(study.rows("SELECT 1 FROM answers WHERE replaced_at IS NOT NULL")) == 1
        assert len(votes.triplet_T) > 0 and study.setting("raters") == 3
        assert len(list((study.path / "faces").iterdir())) == FACES
        assert "expression" in study.text("instructions.md")


# What is written today has the form of the newest stored file, or the number of the format must be raised.


def form(value):
    """The keys and types of parsed JSON; of a list those of its first item."""
    if isinstance(value, dict):
        return {key: form(part) for key, part in value.items()}
    return [form(value[0])] if isinstance(value, list) and value else type(value).__name__


def test_packed_sets_are_written_as_the_newest_stored_one(tmp_path):
    write_packed(tmp_path / "packed")
    newest = stored("packed")[-1]
    names = sorted(path.relative_to(newest).as_posix() for path in newest.rglob("*") if path.is_file())
    assert sorted(json.loads((tmp_path / "packed" / "dataset.json").read_text())["files"]) == [
        name for name in names if name != "dataset.json"
    ]
    described = [form(json.loads((path / "dataset.json").read_text())) for path in (newest, tmp_path / "packed")]
    assert described[0] == described[1]
    for name in names:
        old, new = newest / name, tmp_path / "packed" / name
        if name.endswith(".npz"):
            kinds = [{key: array.dtype for key, array in np.load(path).items()} for path in (old, new)]
            assert kinds[0] == kinds[1], name
    assert (newest / "faces.csv").read_text().splitlines()[0] == ",".join(FACE_COLUMNS)


def described_form(checkpoint):
    """The form of ``meta.json``, without what settings, data and metrics there are."""
    described = json.loads((checkpoint / "meta.json").read_text())
    del described["config"], described["coverage"], described["accuracy"]["splits"]
    return form(described)


def test_no_setting_of_a_stored_net_is_gone():
    for folder in stored("nets"):
        config = json.loads((folder / "bundle" / "meta.json").read_text())["config"]
        assert {key for key, _ in flatten(config)} <= {key for key, _ in flatten(load_config())}


def test_studies_have_the_tables_of_the_newest_stored_one(tmp_path):
    shutil.copy(stored("study")[-1] / "study.db", tmp_path)
    shapes = []
    for place in (tmp_path / "study.db", ":memory:"):
        with contextlib.closing(sqlite3.connect(place)) as database:
            if place == ":memory:":
                database.executescript(TABLES)
            found = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
            shapes.append({name: " ".join(sql.split()) for name, sql in found})
    assert shapes[0] == shapes[1]


# A newer version


def make_newer(file):
    """Raise the version of a format in a description, or of a description inside an ONNX file."""
    content = file.read_bytes()
    assert content.count(b'"format": 1,') == 1
    file.write_bytes(content.replace(b'"format": 1,', b'"format": 2,'))


def refused(path, make):
    with pytest.raises(ValueError) as error:
        make()
    return str(error.value) == f"{path}: {NEWER}"


def test_newer_packed_sets_and_indexes_are_refused_by_name(tmp_path):
    for kind, name, opened in (("packed", "dataset.json", PackedDataset), ("index", "index.json", Index)):
        shutil.copytree(stored(kind)[0], tmp_path / kind)
        make_newer(tmp_path / kind / name)
        assert refused(tmp_path / kind / name, lambda opened=opened, kind=kind: opened(tmp_path / kind))


@pytest.mark.parametrize("name", NETS)
def test_newer_nets_are_refused_by_name(name, tmp_path):
    if name.endswith(".onnx") and find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    shutil.copytree(stored("nets")[0], tmp_path / "nets")
    path = tmp_path / "nets" / name
    file = path if path.is_file() else (find_checkpoint(path, "best") / "meta.json")
    make_newer(file)
    assert refused(file, lambda: fecnet.load(path, device="cpu"))


def test_newer_studies_are_refused_by_name_and_left_as_they_are(tmp_path):
    shutil.copytree(stored("study")[0], tmp_path / "study")
    file = tmp_path / "study" / "study.db"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = DELETE")  # as a database of something else may be
        database.execute("PRAGMA user_version = 2")
    before = file.read_bytes()
    assert refused(file, lambda: Study(tmp_path / "study"))
    assert file.read_bytes() == before
