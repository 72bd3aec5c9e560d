"""What the pictures of classes show, read from the figures that are drawn."""

import numpy as np
import pytest
from PIL import Image

from fecnet.evaluation import plots
from fecnet.evaluation.calibration import Calibration
from fecnet.evaluation.classification import ClassAccuracy

pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    figures = []
    save = plots.save_figure
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


def test_each_cell_has_its_count_and_share(tmp_path, drawn):
    confusion = np.array([[6, 2, 0], [1, 1, 1], [0, 0, 0]])
    plots.confusion_plot(ClassAccuracy(("calm", "glad", "cross"), confusion), "test", tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    cells = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert cells[0, 0] == "6\n75.0 %" and cells[0, 1] == "2\n25.0 %" and cells[1, 2] == "1\n33.3 %"
    assert cells[2, 0] == "0"  # a class without a face has no share
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["calm (8)", "glad (3)", "cross (0)"]
    assert axes.get_title().startswith("test\naccuracy 63.6") and axes.get_title().endswith("of 11 faces")
    assert min(Image.open(tmp_path / "confusion.png").size) > 300


def test_bars_are_accuracy_over_confidence(tmp_path, drawn):
    found = Calibration(np.array([0, 3, 1]), np.array([np.nan, 0.5, 0.9]), np.array([np.nan, 1 / 3, 1.0]))
    plots.reliability_plot(found, "test", tmp_path / "reliability.png")
    above, below = drawn[0].axes
    bars = [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in above.patches]
    assert bars == [(pytest.approx(0.5), pytest.approx(1 / 3)), (pytest.approx(5 / 6), 1.0)]
    assert above.lines[0].get_xdata().tolist() == [0.5, 0.9]  # points at the mean confidences
    assert [bar.get_height() for bar in below.patches] == [0, 3, 1]
    assert "ECE 15.0 over 3 bins of equal width" in above.get_title()  # (3 · |1/3 - 0.5| + |1 - 0.9|) / 4
    assert Image.open(tmp_path / "reliability.png").format == "PNG"


def test_pictures_of_nothing_labelled(tmp_path, drawn):
    plots.confusion_plot(ClassAccuracy(("calm", "glad"), np.zeros((2, 2), np.int64)), "test", tmp_path / "a.png")
    nothing = Calibration(np.zeros(3, np.int64), np.full(3, np.nan), np.full(3, np.nan))
    plots.reliability_plot(nothing, "test", tmp_path / "b.png")
    assert "no face" in drawn[1].axes[0].get_title()
