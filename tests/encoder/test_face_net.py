"""A face has the same outputs in batches of any size; batches are filled up only for nets that need it."""

import numpy as np
import pytest
import torch

from fecnet.encoder.face_net import FaceNet

SHAPE = (4, 4, 1)
FACES = np.random.default_rng(0).integers(0, 256, (40, *SHAPE), np.uint8)


class Net:
    """Rounds as some kernels do: otherwise in batches below ``least``."""

    def __init__(self, least):
        self.least, self.sizes = least, []

    def __call__(self, image_NCHW):
        self.sizes.append(len(image_NCHW))
        return {"feature": image_NCHW.float().mean((1, 2, 3))[:, None] + (1e-4 if len(image_NCHW) < self.least else 0)}


def face_net(net, batch_size=32):
    return FaceNet(net, views=[lambda x: x], device=torch.device("cpu"), batch_size=batch_size, face_shape=SHAPE)


@pytest.mark.parametrize(("least", "called"), {0: 1, 2: 16, 4: 16, 12: 16}.items())
def test_small_batches_are_filled_up_only_where_the_bits_depend_on_their_size(least, called):
    net = Net(least)
    faces = face_net(net)
    assert net.sizes == []
    together = faces.forward(FACES[:20], steady=True)["feature"]
    assert net.sizes == [20]  # nothing is measured where no batch is small
    for num in (1, 3, 15):
        assert np.array_equal(faces.forward(FACES[:num], steady=True)["feature"], together[:num])
    assert net.sizes[-1] == max(15, called)
    before = len(net.sizes)
    faces.forward(FACES[:1], steady=True)
    assert net.sizes[before:] == [called]  # measured once
    faces.forward(FACES[:1])
    assert net.sizes[-1] == 1


def test_batches_are_filled_up_to_no_more_than_the_batch_size():
    net = Net(2)
    faces = face_net(net, batch_size=4)
    together = np.concatenate([part.outputs["feature"] for part in faces.encoded_stored(FACES[:9], steady=True)])
    assert net.sizes[-1] == 4 and np.array_equal(faces.forward(FACES[8:9], steady=True)["feature"], together[8:])


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_an_output_that_is_not_finite_is_an_error_of_the_net(value):
    def broken(image_NCHW):
        feature = image_NCHW.float().mean((1, 2, 3))[:, None]
        return {"feature": torch.where(feature == feature.max(), value, feature)}

    with pytest.raises(ValueError, match="the net: its feature of a face is not finite"):
        face_net(broken).forward(FACES[:9])
