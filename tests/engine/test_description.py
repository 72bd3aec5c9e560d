"""meta.json: what is written is read again, and whatever is wrong with a field is one line that names it."""

import json
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from fecnet.config.node import load_config
from fecnet.engine.checkpoint import load_info
from fecnet.engine.description import CheckpointInfo, parse_info
from tests.checkpoints import describe


def typed_fields(kind, prefix=""):
    """Dotted keys of all fields, those of parts too."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        if field.metadata.get("json", True):
            yield f"{prefix}{field.name}"
            inner = next(
                (part for part in (hints[field.name], *get_args(hints[field.name])) if is_dataclass(part)), None
            )
            if inner is not None:
                yield from typed_fields(inner, f"{prefix}{field.name}.")


FIELDS = [key for key in typed_fields(CheckpointInfo) if key != "format"]
OPTIONAL = {"pruned", "export", "export.checked", "extra_classes", "choice_scale"}


def part_of(described, key):
    """The mapping that holds a dotted key, and the key in it."""
    *outer, last = key.split(".")
    for name in outer:
        described = described[name]
    return described, last


@pytest.fixture
def written(tmp_path):
    """Write a description with one change; what is said of it."""

    def write(change):
        described = describe().to_dict()
        change(described)
        (tmp_path / "meta.json").write_text(json.dumps(described))
        with pytest.raises(ValueError) as error:
            load_info(tmp_path)
        said = str(error.value)
        assert said.startswith(f"{tmp_path}/meta.json: ") and "\n" not in said
        return said.removeprefix(f"{tmp_path}/meta.json: ")

    return write


def measured(**figures):
    """An evaluation with these figures of a split."""
    return {"iteration": 5, "selection": None, "splits": {"val": figures}}


def test_every_field_is_known_here():
    assert len(FIELDS) > 50 and {"preprocessing.crop", "accuracy.selection.split", "export.checked"} <= set(FIELDS)


@pytest.mark.parametrize("key", FIELDS)
def test_a_field_of_another_type_is_named(written, key):
    def change(described):
        part, name = part_of(described, key)
        # True is no number to JSON, though it is one to Python
        part[name] = 7 if isinstance(part[name], (str, bool, list, dict)) or part[name] is None else True

    said = written(change)
    assert said.startswith((f"'{key}' is 7; allowed: ", f"'{key}' is True; allowed: "))


@pytest.mark.parametrize("key", [key for key in FIELDS if key not in OPTIONAL])
def test_an_absent_field_is_named(written, key):
    def change(described):
        part, name = part_of(described, key)
        del part[name]

    assert written(change).startswith(f"lacks '{key}'; allowed: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"iteration": "ten"}, "'iteration' is 'ten'; allowed: a whole number"),
        ({"iteration": 1.5}, "'iteration' is 1.5; allowed: a whole number"),
        ({"kind": "regressor"}, "'kind' is 'regressor'; allowed: embedding, classifier, joint, affect"),
        ({"classes": ["calm", 3]}, "'classes[1]' is 3; allowed: text"),
        ({"pretraining": 3}, "'pretraining' is 3; allowed: text or null"),
        ({"accuracy": "good"}, "'accuracy' is 'good'; allowed: a mapping or null"),
        ({"config": "x" * 99}, f"'config' is '{'x' * 59}…; allowed: a mapping"),
        ({"choice_scale": -2.0}, "'choice_scale' is -2.0; allowed: above 0, or null"),
        ({"choice_scale": float("nan")}, "'choice_scale' is nan; allowed: above 0, or null"),
        ({"accuracy": measured(ALL=7)}, "'accuracy.splits.val.ALL' is 7; allowed: a mapping or null"),
        (
            {"accuracy": measured(accuracy="good")},
            "'accuracy.splits.val.accuracy' is 'good'; allowed: a number or null",
        ),
        ({"accuracy": measured(total=[1.5])}, "'accuracy.splits.val.total[0]' is 1.5; allowed: a whole number"),
        ({"lens": 3}, "unknown field 'lens'; allowed: format, iteration, command, "),
        ({"format": 99}, "made by a newer fecnet: format 99, this one reads up to 1; upgrade fecnet"),
        ({"format": 0}, "'format' is 0; allowed: 1"),
        ({"format": True}, "'format' is True; allowed: 1"),
        ({"format": 1.0}, "'format' is 1.0; allowed: 1"),
        ({"format": None}, "'format' is None; allowed: 1"),
    ],
)
def test_what_was_seen_and_what_is_allowed_are_told(written, change, said):
    assert written(lambda described: described.update(change)).startswith(said)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"meta"', "\x00"])
def test_what_is_no_description_is_refused(text):
    with pytest.raises(ValueError, match=r"^here: not a checkpoint description: "):
        parse_info(text, "here")


@pytest.mark.parametrize("changes", [{}, {"accuracy": None}, {"pruned": None, "export": None}])
def test_what_is_written_is_read_again(changes):
    info = describe(**changes)
    text = json.dumps(info.to_dict())
    assert parse_info(text, "here") == info
    assert json.dumps(parse_info(text, "here").to_dict()) == text
    assert set(json.loads(text)) == {field.name for field in fields(info)} - {"origin"} - {
        name for name in ("pruned", "export") if getattr(info, name) is None
    }


def test_before_the_first_evaluation_nothing_is_selected():
    assert describe(accuracy=None).to_dict()["accuracy"] == {}
    assert describe(accuracy=None).selection is None
    assert describe(accuracy=replace(describe().accuracy, selection=None)).selection is None
    assert describe().selection.split == "val"


def test_its_settings_are_checked_and_named():
    assert describe().settings(["SEED", "3"]) == load_config(overrides=["SEED", "3"])
    wrong = describe(config={"DATA": {"CROP": "small"}}, origin="run/checkpoints/5/meta.json")
    assert wrong.place == "run/checkpoints/5"
    with pytest.raises(ValueError, match=r"^run/checkpoints/5/meta\.json: 'DATA\.CROP' must be a finite number"):
        wrong.settings()


def test_the_page_of_formats_lists_the_fields():
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    section = page.split("\n### meta.json\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == {
        field.name for field in fields(CheckpointInfo) if field.metadata.get("json", True)
    }
