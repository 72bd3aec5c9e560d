"""Recipes that PyYAML reads otherwise than they are meant, or not at all: one line with the file and the line."""

import os
import tracemalloc

import pytest

from fecnet.config.node import load_config
from fecnet.config.yaml_text import parse_yaml


def refused(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as error:
        load_config(path)
    said = str(error.value)
    assert len(said) < 500
    return said.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("SOLVER: {LENGTH: 5}\nDATA: {FOLD: 1}\nSOLVER: {BATCH_SIZE: 8}\n", 3, "SOLVER"),
        ("SOLVER:\n  LENGTH: 5\n  LENGTH: 6\n", 3, "LENGTH"),
        ("NAME: a\n'NAME': b\n", 2, "NAME"),
    ],
)
def test_a_key_given_twice_is_refused(tmp_path, text, line, key):
    assert refused(tmp_path, text) == f"line {line}: not YAML: '{key}' is given twice; allowed: once"


def test_a_key_beside_a_merged_one_is_given_once(tmp_path):
    (tmp_path / "a.yaml").write_text("SOLVER: &s {LENGTH: 5}\nEVAL: {<<: {PERIOD: 3}, PERIOD: 4}\n")
    assert load_config(tmp_path / "a.yaml").EVAL.PERIOD == 4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("010", 10), ("1:30", "1:30"), ("2001-01-01", "2001-01-01"), ("2001-99-99", "2001-99-99"), ("=", "=")),
        *(("10", 10), ("1_000", 1000), ("0x1F", 31), ("-7", -7), ("0", 0), ("1e-4", 1e-4), (".5", 0.5), ("5.", 5.0)),
        *(("true", True), ("[1, a]", [1, "a"]), ("~", None), ("'1'", "1"), ("!!python/none x", "!!python/none x")),
    ],
)
def test_plain_values_are_those_of_yaml_1_2(text, value):
    found = parse_yaml(text)
    assert found == value and type(found) is type(value)


def test_a_date_is_a_name(tmp_path):
    (tmp_path / "a.yaml").write_text("NAME: 2001-01-01\n")
    assert load_config(tmp_path / "a.yaml").NAME == "2001-01-01"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NAME: !!timestamp x", "line 1: not YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:t"),
        ("SEED: 1\nNAME: !!bool x", "not YAML: 'x'"),
        ("SEED: !!float ''", "not YAML: string index out of range"),
        ("SEED: !!int []", "line 1: not YAML: expected a scalar node, but found sequence"),
        ("SEED: !mine 1", "line 1: not YAML: could not determine a constructor"),
        ("NAME: !!set {a}", "line 1: not YAML: could not determine a constructor"),
        ("[" * 2000, "not YAML: nested too deeply"),
        ("NAME: \xff".encode("latin-1"), "not YAML: not text in UTF-8: "),
        ("SEED: " + "9" * 5000, "line 1: not YAML: a number of 5000 digits; allowed: up to 100"),
        ("SEED: 0x" + "f" * 90, "'SEED': "),
        (
            "SOLVER: {BATCH_SIZE: 1e300}",
            "'SOLVER.BATCH_SIZE': a number of 997 bits; allowed: a whole number below 2^63",
        ),
        ("SOLVER: {BASE_LR: 1e400}", "'SOLVER.BASE_LR' must be a finite number, found inf"),
        ("DATA: {TEACHERS: [1]}", "DATA.TEACHERS': [1]; allowed: runs or checkpoints"),
        ("SEED: " + "long " * 1000, "'SEED' must be a whole number, found 'long long"),
        ("? " + "x" * 5000 + "\n: 1", "unknown key 'xxx"),
    ],
)
def test_what_is_no_recipe_is_one_line(tmp_path, text, said):
    found = refused(tmp_path, text)
    assert said in found and "\n" not in found


def test_aliases_of_aliases_take_no_memory_in_a_message(tmp_path):
    """400 bytes whose value is 10^8 items long."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 8)]
    (tmp_path / "a.yaml").write_text("\n".join([*lines, "SEED: *a7", "DATA: *a7"]))
    tracemalloc.start()
    with pytest.raises(ValueError) as error:
        load_config(tmp_path / "a.yaml")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert all(len(line) < 400 for line in str(error.value).splitlines())


def test_a_pipe_is_no_recipe(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(ValueError, match=r"a\.yaml: a pipe, a device or a socket; allowed: a file"):
        load_config(tmp_path / "a.yaml")
