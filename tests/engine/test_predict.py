"""Prediction: in the order asked for, independent of the model's mode, in batches that do not change the result."""

import copy

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
    found = predict(model, faces, rows, views=[lambda x: x.float()], batch_size=3, device=torch.device("cpu"))
    torch.testing.assert_close(found["mean"], torch.from_numpy(faces[rows].astype(np.float32)).mean((1, 2, 3)))
    assert model.training
    assert model.calls == [3, 3, 1]


class Convolved(torch.nn.Module):
    """A convolution and a batch norm that counts its calls."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)
        self.norm.running_mean.normal_(generator=torch.Generator().manual_seed(0))
        self.calls = []
        self.norm.register_forward_hook(lambda *_: self.calls.append(1))

    def forward(self, image_NCHW):
        return {"feature": self.norm(self.conv(image_NCHW)).mean((2, 3))}


def test_a_copy_with_folded_batch_norms_is_called_and_the_model_stays_in_training():
    faces = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    model = Convolved().train()
    state = copy.deepcopy(model.state_dict())
    device = torch.device("cpu")
    found = predict(model, faces, np.arange(5), views=[lambda x: x / 255], batch_size=2, device=device)
    assert not model.calls and model.training and model.norm.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert isinstance(model.conv, torch.nn.Conv2d)
    with torch.no_grad():
        wanted = model.eval()(torch.from_numpy(faces).permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(found["feature"], wanted["feature"], rtol=0, atol=1e-5)
    with torch.no_grad():
        model.conv.weight.mul_(2)  # training goes on: the next evaluation folds anew
        wanted = model(torch.from_numpy(faces).permute(0, 3, 1, 2) / 255)
    found = predict(model, faces, np.arange(5), views=[lambda x: x / 255], batch_size=2, device=device)
    torch.testing.assert_close(found["feature"], wanted["feature"], rtol=0, atol=1e-5)


class Everything(torch.nn.Module):
    """Outputs of every kind, from random weights."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(64, 5, generator=torch.Generator().manual_seed(0)))

    def forward(self, image_NCHW):
        logits_NK = image_NCHW.flatten(1) @ self.weight
        embedding_ND = torch.nn.functional.normalize(logits_NK[:, :3], dim=1)
        return {"logits": logits_NK, "embedding": embedding_ND, "importance": logits_NK[:, 4].sigmoid()}


def test_outputs_of_several_views_are_averaged_as_a_loop_averages_them():
    faces = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1), np.uint8)
    views = [lambda x: x / 255, lambda x: x.flip(3) / 255, lambda x: x.flip(2) / 255]
    model, rows = Everything(), np.array([4, 0, 8, 2, 2])
    found = predict(model, faces, rows, views=views, batch_size=2, device=torch.device("cpu"))
    for k, row in enumerate(rows):
        image = torch.from_numpy(faces[row]).permute(2, 0, 1)[None]
        with torch.no_grad():
            each = [model(view(image)) for view in views]
        mean = {name: torch.stack([out[name][0] for out in each]).mean(0) for name in each[0]}
        torch.testing.assert_close(found["logits"][k], mean["logits"])
        torch.testing.assert_close(found["importance"][k], mean["importance"])
        torch.testing.assert_close(found["embedding"][k], mean["embedding"] / mean["embedding"].norm())
    assert not torch.allclose(found["logits"][0], each[0]["logits"][0])


def test_memory_does_not_grow_with_the_number_of_views():
    faces = np.zeros((7, 8, 8, 3), np.uint8)
    model = Mean()
    predict(model, faces, np.arange(7), views=[torch.Tensor.float] * 10, batch_size=4, device=torch.device("cpu"))
    assert model.calls == [4] * 10 + [3] * 10  # never more faces in one pass than batch_size
