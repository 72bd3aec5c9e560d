"""The coverage as text: nested lines, and the meaning of the words for candidates where there are any."""

from fecnet.evaluation.coverage import format_coverage
from tests.conftest import ROOT


def test_parts_are_nested_lines():
    coverage = {"faces": {"read": 3, "kept": 2}, "test": {"labels": {"read": 3}, "rules": "none"}}
    assert format_coverage(coverage).splitlines() == [
        "coverage",
        "  faces: read 3, kept 2",
        "  test",
        "    labels: read 3",
        "    rules: none",
    ]


def test_the_words_for_candidates_are_explained_where_they_stand():
    candidates = {"train": {"ONE": {"wanted": 2, "small_gap": 1, "surplus": 0, "short": 1}}}
    said = format_coverage({"candidates": candidates})
    assert "    train\n      ONE: wanted 2, small_gap 1, surplus 0, short 1\n" in said
    for word in ("repeated", "small_gap", "surplus", "short"):
        assert f"{word}: " in said.rpartition("(candidates: ")[2]


def test_the_glossary_has_them_too():
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for word in ("wanted", "candidates", "kept", "min_gap", "small_gap", "repeated", "surplus", "short"):
        assert any(f"`{word}`" in line.split(" | ")[0] for line in glossary.splitlines()), word
