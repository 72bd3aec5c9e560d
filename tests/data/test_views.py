"""The views that are measured, against torchvision's crops."""

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from fecnet.config.node import load_config
from fecnet.data.augment import center_view
from fecnet.data.build import build_views
from fecnet.data.packed import PackedDataset
from fecnet.data.views import center, flip, ten_crop
from tests.conftest import write_tiny


@pytest.fixture
def image():
    return torch.randint(0, 256, (3, 2, 48, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_ten_crops_are_those_of_torchvision_in_its_order(image):
    views = ten_crop(44, 44 / 48)
    expected = reference.ten_crop(image, [44, 44])
    assert len(views) == len(expected) == 10
    for view, crop in zip(views, expected, strict=True):
        assert torch.equal(view(image), crop.float() / 255)


def test_a_face_and_its_mirror_image(image):
    face, mirrored = (view(image) for view in flip(32, 0.75))
    assert torch.equal(face, center_view(image, 32, 0.75)) and torch.equal(face, center(32, 0.75)[0](image))
    torch.testing.assert_close(mirrored, face.flip(3))


def test_windows_are_resized_to_the_input(image):
    views = [view(image) for view in ten_crop(24, 0.75)]
    assert {view.shape for view in views} == {(3, 2, 24, 24)}
    corner = reference.resize(image[..., 12:, 12:].float() / 255, [24, 24], antialias=True)
    torch.testing.assert_close(views[3], corner)


def views_of(dataset, *overrides):
    return build_views(load_config(None, list(overrides)), *dataset.faces_NHWC.shape[1:3])


def test_settings_choose_and_what_makes_no_sense_is_one_line(tmp_path):
    dataset = PackedDataset(write_tiny(tmp_path / "tiny"))
    assert [len(views_of(dataset, "EVAL.TTA", name)) for name in ("center", "flip")] == [1, 2]
    assert len(views_of(dataset, "EVAL.TTA", "ten_crop", "DATA.CROP", "0.9167")) == 10
    with pytest.raises(ValueError, match=r"EVAL\.TTA: unknown name 'five'; allowed: center, flip, ten_crop"):
        views_of(dataset, "EVAL.TTA", "five")
    for crop in ("1.0", "0.995"):
        said = rf"'ten_crop' with DATA\.CROP {crop.rstrip('0').rstrip('.')} cuts nothing off 48×48 pixels"
        with pytest.raises(ValueError, match=said):
            views_of(dataset, "EVAL.TTA", "ten_crop", "DATA.CROP", crop)
