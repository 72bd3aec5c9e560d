"""Aligned tables of text."""

from fecnet.utils.table import align_columns, decimal


def test_columns_are_as_wide_as_their_widest_cell():
    rows = [["", "faces", "share"], ["sad", 7, "12.5"], ["  of them", 1234, "-"]]
    assert align_columns(rows).splitlines() == [
        "           faces  share",
        "sad            7   12.5",
        "  of them   1234      -",
    ]


def test_left_columns_and_no_trailing_spaces():
    rows = [["rank", "name", "why"], [1, "long name", ""]]
    assert align_columns(rows, left=(1, 2)).splitlines() == ["rank  name       why", "   1  long name"]


def test_what_is_not_known_is_a_dash():
    assert [decimal(value) for value in (None, float("nan"), 12.34)] == ["-", "-", "12.3"]
