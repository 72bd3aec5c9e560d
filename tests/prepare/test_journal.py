"""The journal on a disk that fills up: the error names the file, and no half line stays to spoil the next."""

import os

import pytest

from fecnet.prepare.web import journal as journal_module
from fecnet.prepare.web.journal import Journal


def test_a_line_that_found_half_its_place_leaves_nothing(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.jsonl")
    write = os.write
    monkeypatch.setattr(journal_module.os, "write", lambda handle, data: write(handle, data[:9]))
    with pytest.raises(OSError, match=r"only part of a line.*journal\.jsonl"):
        journal.write({"url": "a", "outcome": "http_404", "lasting": True})
    monkeypatch.undo()
    journal.write({"url": "b", "outcome": "http_404", "lasting": True})
    journal.close()
    assert list(Journal(tmp_path / "journal.jsonl").entries) == ["b"]
