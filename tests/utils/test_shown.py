"""Messages show the beginning of a long value, whatever it is."""

import json
import logging

import pytest

from fecnet.encoder.build import load_encoder
from fecnet.engine.checkpoint import read_pointer
from fecnet.faces.which import check_which
from fecnet.prepare.answer_rows import RowFault, _kind, _split
from fecnet.prepare.labelled.csv_list import read_csv_list
from fecnet.rate.answers import GivenAnswer
from fecnet.runs.run import Run
from fecnet.search.kinds import choose_kind
from fecnet.utils.env import choose_device
from fecnet.utils.errors import UserError
from fecnet.utils.lookup import lookup
from fecnet.utils.shown import printable

LONG = "x" * 10**6


def pointer(folder):
    (folder / "last").write_text(LONG)
    read_pointer(folder / "last")


def metrics(folder):
    (folder / "metrics.jsonl").write_text(json.dumps({"iteration": 1, LONG: LONG}) + "\n")
    return Run(folder).curves


@pytest.mark.parametrize(
    "call",
    [
        lambda _: choose_device(LONG),
        lambda _: choose_kind(LONG, 1),
        lambda _: lookup({"a": 1}, LONG, key="KEY"),
        lambda _: check_which(LONG),
        lambda _: load_encoder("net", checkpoint=LONG),
        lambda _: _kind(LONG),
        lambda _: _split(f"{LONG} {LONG}"),
        lambda _: GivenAnswer(LONG, "key-0001", 0, 1.0),
        pointer,
        metrics,
    ],
)
def test_a_long_value_is_cut(call, tmp_path):
    with pytest.raises((ValueError, RowFault)) as error:
        call(tmp_path)
    assert "xxxx" in str(error.value) and len(str(error.value)) < 1000


def test_nothing_of_a_file_reaches_the_terminal_as_an_order(tmp_path, capsys):
    """Text of a file moves no cursor and clears no screen, in an error or in a line that is logged."""
    file = tmp_path / "list.csv"
    file.write_text("path\x1b[2J,feeling\na.png,joy\n")
    with pytest.raises(UserError) as error:
        read_csv_list(file)
    assert "\x1b" not in str(error.value) and r"path\x1b[2j" in str(error.value)
    logging.getLogger("fecnet.tests").info("%s: é \x1b[2J\nsecond line", file)
    assert capsys.readouterr().out == f"{file}: é \\x1b[2J\nsecond line\n"
    assert printable("\ud800") == "\\ud800"  # not logged here: pytest's workers cannot pass it on
