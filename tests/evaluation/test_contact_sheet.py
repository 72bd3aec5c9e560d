import numpy as np
import pytest
from PIL import Image

from fecnet.evaluation.contact_sheet import contact_sheet


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_mask_is_not_shown(tmp_path, channels):
    faces = np.random.default_rng(0).integers(0, 256, (4, 10, 10, channels), np.uint8)
    shown = faces[..., :3] if channels > 2 else faces[..., [0, 0, 0]]
    contact_sheet(faces, 2, tmp_path / "with.png")
    contact_sheet(np.ascontiguousarray(shown), 2, tmp_path / "without.png")
    assert np.array_equal(
        np.asarray(Image.open(tmp_path / "with.png")), np.asarray(Image.open(tmp_path / "without.png"))
    )
