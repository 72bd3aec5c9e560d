"""Numbers that count classes from 1 or from 0."""

import pytest

from fecnet.prepare.label_base import label_base
from fecnet.utils.errors import DataError


@pytest.mark.parametrize(("labels", "base"), [({1, 7}, 1), ({2, 3}, 1), ({0, 6}, 0), ({0}, 0), (set(), 1)])
def test_labels_count_from_one_or_zero(labels, base, capsys):
    assert label_base(labels, 7, "list.txt") == base
    assert capsys.readouterr().out.count("list.txt: labels count from 0") == (base == 0)


@pytest.mark.parametrize(("labels", "base"), [({1, 7}, 1), ({2, 3}, 0), ({0, 6}, 0), (set(), 0)])
def test_labels_published_from_zero(labels, base, capsys):
    assert label_base(labels, 7, "list.txt", published=0) == base
    assert capsys.readouterr().out.count("list.txt: labels count from 1") == (base == 1)


def test_labels_that_count_from_both_are_refused():
    with pytest.raises(DataError, match=r"list.txt: labels 0 and 7; allowed: 1 to 7, or 0 to 6"):
        label_base([0, 3, 7], 7, "list.txt")
