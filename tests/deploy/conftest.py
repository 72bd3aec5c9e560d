"""Photos of bright squares, which a detector without a net finds, and a net trained on their packed set."""

import pytest

from fecnet.faces import recipe
from fecnet.prepare import extraction
from fecnet.prepare.extraction import Extraction
from fecnet.prepare.fec import prepare_list
from tests.deploy.nets import noisy, save, train_on, write_list
from tests.faces.test_extract import Squares, photo


@pytest.fixture
def squares(monkeypatch):
    """A detector that needs no net, wherever one is built."""
    for module in (extraction, recipe):
        monkeypatch.setattr(module, "build_detector", lambda *_, **__: Squares())


@pytest.fixture
def aligned(tmp_path, squares):
    """The run, the packed set, the files and the pixels of the photos."""
    corners = [[(10, 10), (100, 80)], [(150, 20)], [(60, 120), (10, 10)], [(200, 90)], [(30, 30), (120, 130)]]
    sides = [[30, 60], [50], [55, 20], [45], [40, 64]]
    images = [noisy(photo(*c, sides=s), k) for k, (c, s) in enumerate(zip(corners, sides, strict=True))]
    pictures = save(tmp_path / "pictures", images)
    files = {"train": write_list(tmp_path, [path.name for path in pictures])}
    how = Extraction(size=48, margin=0.3)
    prepare_list(files, tmp_path / "pictures", tmp_path / "set", extraction=how, workers=1, progress=False)
    return train_on(tmp_path / "set", tmp_path), tmp_path / "set", pictures, images
