"""Prediction: in the order asked for, independent of the model's mode, in batches that do not change the result."""

import numpy as np
import torch

from fecnet.engine.predict import predict


class Mean(torch.nn.Module):
    """The mean of a face, and dropout that would show if training mode were left on."""

    def __init__(self):
        super().__init__()
        self.dropout = torch.nn.Dropout(0.9)
        self.calls = []

    def forward(self, image_NCHW):
        self.calls.append(len(image_NCHW))
        return {"mean": self.dropout(image_NCHW.mean((1, 2, 3)))}


def test_order_mode_and_batches():
    faces = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    rows = np.array([7, 3, 3, 19, 0, 11, 5])
    model = Mean().train()
    found = predict(model, faces, rows, view=lambda x: x.float(), batch_size=3, device=torch.device("cpu"))
    torch.testing.assert_close(found["mean"], torch.from_numpy(faces[rows].astype(np.float32)).mean((1, 2, 3)))
    assert model.training
    assert model.calls == [3, 3, 1]
