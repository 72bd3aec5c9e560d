"""Each field of each description, by each kind of JSON value: read as it is or refused in one line; never a fault."""

import copy
import json

import numpy as np
import pytest

from fecnet.data.packed import PackedDataset
from fecnet.encoder.build import _recipe
from fecnet.encoder.saved_net import check_square
from fecnet.engine.description import parse_info
from fecnet.faces.recipe import FaceRecipe
from fecnet.runs.folders import describe_data
from fecnet.search.index import Index
from fecnet.utils.errors import UserError
from tests.checkpoints import describe
from tests.search.vectors import clustered, make

VALUES = [None, 3, -1, 1.5, "x", [], {}, [3], {"a": 3}, True, 10**30, "\0", [[1]]]


def places(value, prefix=()):
    yield prefix
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*prefix, key))


def with_value(whole, place, new):
    if not place:
        return new
    changed = at = copy.deepcopy(whole)
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = new
    return changed


def open_set(folder):
    dataset = PackedDataset(folder)
    dataset.triplets("train")
    describe_data(dataset)
    FaceRecipe.from_dict(dataset.description["faces"])
    return dataset.coverage, dataset.channels


def open_index(folder):
    index = Index(folder)
    index.search(np.zeros((1, 16)), 1)
    return list(index.every_name()), index.net, index.model, dict(index.description["packed"])


def open_checkpoint(folder):
    info = parse_info((folder / "meta.json").read_text(), str(folder / "meta.json"))
    check_square(info)
    info.settings()
    _recipe(info)
    return info.label_sets, info.extra_sizes, info.is_finished


def make_checkpoint(folder):
    folder.mkdir()
    (folder / "meta.json").write_text(json.dumps(describe().to_dict()))


KINDS = {
    "dataset.json": (None, open_set),
    "index.json": (lambda folder: make(folder, clustered(5)), open_index),
    "meta.json": (make_checkpoint, open_checkpoint),
}


def said_of(call, folder, text, name):
    (folder / name).write_text(text)
    try:
        call(folder)
    except (UserError, OSError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", KINDS)
def test_no_value_of_a_description_is_a_fault(tiny, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    made, call = KINDS[name]
    folder = tmp_path / "made" if made else tiny
    if made:
        made(folder)
    whole = json.loads((folder / name).read_text())
    changes = [(place, new) for place in places(whole) for new in VALUES]
    assert len(changes) > 200
    for place, new in changes:
        said = said_of(call, folder, json.dumps(with_value(whole, place, new)), name)
        assert "\n" not in said and len(said) < 800, (place, new, said)
    assert said_of(call, folder, json.dumps(whole), name) == ""


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": ' + "9" * 5000 + "}", "", "3"])
def test_what_is_no_description_is_one_line_with_the_file(tiny, tmp_path, name, text):
    made, call = KINDS[name]
    folder = tmp_path / "made" if made else tiny
    if made:
        made(folder)
    said = said_of(call, folder, text, name)
    assert said.startswith(f"{folder / name}: ") and "\n" not in said and len(said) < 400
