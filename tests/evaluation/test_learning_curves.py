"""Bands against numpy, labels that keep apart, and a picture that holds what it should."""

import numpy as np
import pytest
from PIL import Image

from fecnet.evaluation.learning_curves import Panel, make_band, plot_curves, spread_apart


def test_a_band_is_mean_and_sd_over_runs():
    band = make_band([1, 2], [[1.0, 3.0], [4.0, 4.0]])
    np.testing.assert_allclose(band.mean_P, [2, 4])
    np.testing.assert_allclose(band.low_P, [2 - np.sqrt(2), 4])
    np.testing.assert_allclose(band.high_P, [2 + np.sqrt(2), 4])
    assert make_band([], []) is None


def test_each_run_is_averaged_over_stretches_before_the_spread_is_taken():
    """Noise that two runs share within a stretch is no spread between them."""
    band = make_band([1, 2, 3, 4], [[0.0, 4.0], [4.0, 0.0], [1.0, 2.0], [1.0, 2.0]], points=2)
    np.testing.assert_allclose(band.place_P, [1.5, 3.5])
    np.testing.assert_allclose(band.mean_P, [2, 1.5])
    np.testing.assert_allclose(band.high_P - band.mean_P, [0, np.sqrt(0.5)])


def test_one_run_has_no_spread():
    band = make_band([1, 2], [[1.0], [2.0]])
    np.testing.assert_array_equal(band.low_P, [1, 2])
    np.testing.assert_array_equal(band.high_P, [1, 2])


def test_a_rate_that_one_run_has_cut_keeps_a_band_above_zero():
    """Logarithms −2 and −4: mean −3, deviation √2."""
    band = make_band([1], [[1e-2, 1e-4]], logarithmic=True)
    np.testing.assert_allclose(np.log10([band.low_P, band.mean_P, band.high_P]).ravel(), [-3 - 2**0.5, -3, -3 + 2**0.5])


@pytest.mark.parametrize(
    ("height", "moved"),
    [
        ([0.1, 0.5], [0.1, 0.5]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.0, 0.02], [0.0, 0.1]),  # not below the panel
        ([0.97, 1.0], [0.9, 1.0]),
        ([0.4, 0.5, 0.52], [0.373333, 0.473333, 0.573333]),  # two that move apart push the third
    ],
)
def test_labels_keep_apart(height, moved):
    assert spread_apart(height, 0.1) == pytest.approx(moved, abs=1e-5)


def test_labels_keep_apart_whatever_the_heights():
    rng = np.random.default_rng(0)
    for _ in range(200):
        found = spread_apart(sorted(rng.random(rng.integers(1, 8))), 0.1)
        assert np.all(np.diff(found) > 0.1 - 1e-9) and min(found) >= -1e-9 and max(found) <= 1 + 1e-9


def colours_of(path, box):
    """The strong colours in a part of the picture, fractions of its sides."""
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    height, width, _ = image.shape
    part = image[int(box[1] * height) : int(box[3] * height), int(box[0] * width) : int(box[2] * width)]
    return {tuple(colour) for colour in part.reshape(-1, 3) if colour.max() - colour.min() > 100}


def test_each_panel_shows_its_settings_in_their_colours(tmp_path):
    pytest.importorskip("matplotlib")
    both = {"one": make_band([1, 2, 3], [[1.0], [2.0], [3.0]]), "two": make_band([1, 2, 3], [[3.0], [2.0], [1.0]])}
    panels = [
        Panel("left above", both),
        Panel("right above", {"two": both["two"]}, logarithmic=True),
        Panel("left below", {}, missing="not measured"),
    ]
    path = tmp_path / "deeper" / "curves.png"
    plot_curves(panels, ["one", "two"], path, title="title", unit="epoch")
    blue, vermilion = (0, 114, 178), (213, 94, 0)
    assert {blue, vermilion} <= colours_of(path, (0, 0, 0.5, 0.5))
    assert vermilion in (right := colours_of(path, (0.5, 0, 1, 0.5))) and blue not in right
    assert not colours_of(path, (0, 0.5, 0.5, 1))
