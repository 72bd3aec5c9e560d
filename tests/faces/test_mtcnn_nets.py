"""The nets of MTCNN without the package that has their weights, and non-maximum suppression without torchvision."""

import sys

import numpy as np
import pytest
import torch

from fecnet.faces.detect import build_detector
from fecnet.faces.mtcnn_nets import distinct, load_nets
from tests.faces.test_detect import detector_or_skip, needs_faces, photo


def test_the_nets_are_those_of_the_package():
    package = pytest.importorskip("facenet_pytorch").MTCNN()
    for net, theirs, size in zip(
        load_nets("cpu"), (package.pnet, package.rnet, package.onet), (40, 24, 48), strict=True
    ):
        assert {*net.state_dict()} == {*theirs.state_dict()}
        image_NCHW = torch.rand(3, 3, size, size) * 2 - 1
        with torch.inference_mode():
            for one, other in zip(net(image_NCHW), theirs(image_NCHW), strict=True):
                torch.testing.assert_close(one, other)


@pytest.mark.parametrize("num", [0, 1, 40, 700])
def test_boxes_are_suppressed_as_by_torchvision(num):
    nms = pytest.importorskip("torchvision.ops").nms
    rng = np.random.default_rng(num)
    corners_K2 = rng.integers(0, 60, (num, 2))
    boxes_K4 = torch.tensor(np.hstack([corners_K2, corners_K2 + rng.integers(0, 30, (num, 2))]), dtype=torch.float32)
    score_K = torch.tensor(rng.integers(0, 50, num) / 50, dtype=torch.float32)  # some are equal
    for overlap in (0.5, 0.7):
        assert torch.equal(
            torch.from_numpy(distinct(boxes_K4.numpy(), score_K.numpy(), overlap)), nms(boxes_K4, score_K, overlap)
        )


@needs_faces
def test_faces_are_found_without_torchvision(monkeypatch):
    """To import it takes seconds, in each process that detects."""
    detector_or_skip("mtcnn")
    for name in [name for name in sys.modules if name.split(".")[0] in ("torchvision", "facenet_pytorch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert len(build_detector("mtcnn").detect(photo()).boxes_K4) >= 1


@pytest.mark.parametrize(("place", "side"), [(1, 24), (2, 48)])
@pytest.mark.parametrize("num", [0, 1, 2, 3, 15, 16, 17])
def test_a_crop_has_the_same_outputs_in_any_company(place, side, num):
    """To the last bit: else the landmarks of a photo, and its aligned pixels, depend on the photos beside it."""
    pytest.importorskip("facenet_pytorch")
    net = load_nets("cpu")[place]
    crops = torch.randn(40, 3, side, side, generator=torch.Generator().manual_seed(0))
    crops = crops.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        for wanted, found in zip(net(crops), net(crops[:num]), strict=True):
            assert torch.equal(found, wanted[:num])
