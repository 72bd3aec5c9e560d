"""The face map: each face a cell of its own, the nearest free one; layouts that are the same every time."""

import sys

import numpy as np
import pytest

from fecnet.run_page.face_map import evenly, grid_size, lay_out, paint, principal, to_cells


def naive_cells(place_N2, side):
    """Every free cell is looked at for every face."""
    low, high = place_N2.min(0), place_N2.max(0)
    wanted = (place_N2 - low) / (high - low) * (side - 1)
    wanted[:, 1] = side - 1 - wanted[:, 1]
    free = {(row, column) for row in range(side) for column in range(side)}
    distances = np.empty(len(wanted))
    for n in np.argsort(((wanted - (side - 1) / 2) ** 2).sum(1), kind="stable"):
        x, y = wanted[n]
        far = {cell: (cell[0] - y) ** 2 + (cell[1] - x) ** 2 for cell in free}
        own = (round(y), round(x))
        best = own if own in free else min(far, key=far.get)
        distances[n] = far[best]
        free.remove(best)
    return distances


@pytest.mark.parametrize(("num", "spread"), [(3, 1.0), (60, 1.0), (200, 0.02)])  # the last: nearly all in one place
def test_each_face_has_the_nearest_free_cell(num, spread):
    rng = np.random.default_rng(0)
    place = rng.normal(size=(num, 2)) * spread
    place[:2] = [[-1, -1], [1, 1]]  # so that what is spread little lies in the middle
    side = grid_size(num)
    cells = to_cells(place, side)
    assert len(set(cells.tolist())) == num
    assert 0 <= cells.min() <= cells.max() < side * side
    low, high = place.min(0), place.max(0)
    wanted = (place - low) / (high - low) * (side - 1)
    far = (cells % side - wanted[:, 0]) ** 2 + (cells // side - (side - 1 - wanted[:, 1])) ** 2
    # of two cells that are equally near either may be taken, so sums are compared
    assert far.sum() == pytest.approx(naive_cells(place, side).sum(), rel=0.02)


def test_up_is_up():
    cells = to_cells(np.array([[0.0, 0.0], [1.0, 1.0]]), 2)
    assert cells.tolist() == [2, 1]  # bottom left, top right


def test_faces_in_one_place_and_a_full_grid():
    assert sorted(to_cells(np.zeros((9, 2)), 3).tolist()) == list(range(9))


def test_principal_directions_are_those_of_singular_values():
    value = np.random.default_rng(0).normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1]
    found = principal(value)
    _, _, directions = np.linalg.svd(value - value.mean(0), full_matrices=False)
    wanted = (value - value.mean(0)) @ directions[:2].T
    assert np.abs(found) == pytest.approx(np.abs(wanted))


def test_layouts_are_the_same_every_time_and_say_what_they_are():
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'fecnet[viz]'")
    value = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    first, second = lay_out(value), lay_out(value)
    assert "t-SNE" in first.method and "seed 0" in first.method
    assert np.array_equal(first.place_N2, second.place_N2)


def test_two_groups_of_faces_stay_two_groups():
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'fecnet[viz]'")
    rng = np.random.default_rng(0)
    value = np.concatenate([rng.normal(size=(30, 5)), 50 + rng.normal(size=(30, 5))]).astype(np.float32)
    place = lay_out(value).place_N2
    middles = place[:30].mean(0), place[30:].mean(0)
    nearer = [np.linalg.norm(place - middle, axis=1) for middle in middles]
    assert np.array_equal(nearer[0] < nearer[1], np.arange(60) < 30)


def test_few_faces_are_laid_out_by_pca():
    value = np.random.default_rng(0).normal(size=(3, 5))
    layout = lay_out(value)
    assert layout.method == "PCA; t-SNE is for 4 faces or more"
    assert np.array_equal(layout.place_N2, principal(value))


def test_without_scikit_learn_pca_and_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    layout = lay_out(np.random.default_rng(0).normal(size=(9, 5)))
    assert layout.method == "PCA; scikit-learn is absent, t-SNE needs it: pip install 'fecnet[viz]'"


def test_faces_with_identical_outputs():
    layout = lay_out(np.ones((9, 5)))
    assert np.isfinite(layout.place_N2).all() and "same output" in layout.method
    assert len(set(to_cells(layout.place_N2, 5).tolist())) == 9


def test_evenly():
    assert evenly(3, 5).tolist() == [0, 1, 2]
    assert evenly(101, 3).tolist() == [0, 50, 100]


def test_the_picture_shows_each_face_in_its_cell():
    grey = np.stack([np.full((8, 8, 1), 40, np.uint8), np.full((8, 8, 1), 200, np.uint8)])
    cells = np.array([0, 3])
    picture = np.array(paint(grey, np.array([1, 0]), cells, 2, frame_N=["#ff0000", None], band_N=[None, "#0000ff"]))
    size = len(picture) // 2
    middle = size // 2
    assert picture[middle, middle].tolist() == [200, 200, 200, 255]
    assert picture[0, 0].tolist() == [255, 0, 0, 255]
    assert picture[size + middle, size + middle].tolist() == [40, 40, 40, 255]
    assert picture[-1, -1].tolist() == [0, 0, 255, 255]
    assert picture[middle, size + middle, 3] == 0  # an empty cell
