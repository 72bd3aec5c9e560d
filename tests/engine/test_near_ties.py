"""One net evaluated on other batch sizes, threads and kernels: the counts differ by the near ties at most."""

import itertools

import numpy as np
import pytest
import torch

from fecnet.config.node import load_config
from fecnet.data.augment import center_view
from fecnet.data.packed import TripletTable
from fecnet.engine.evaluator import ClassMetric, Evaluator, TripletMetric
from fecnet.evaluation.near_ties import LEAST_MOVE
from fecnet.modeling.build import build_model

CPU = torch.device("cpu")
FACES = np.random.default_rng(0).integers(0, 256, (100, 48, 48, 1), np.uint8)


def tightest(embedding_ND, num):
    """The triplets of all faces whose closest two pairs differ least, with a face of either pair as the odd one."""
    faces_T3 = np.array(list(itertools.combinations(range(len(embedding_ND)), 3)))
    point_T3D = embedding_ND.double().numpy()[faces_T3]
    opposite_T3 = np.square(np.roll(point_T3D, -1, 1) - np.roll(point_T3D, -2, 1)).sum(2)
    order_T3 = opposite_T3.argsort(1)
    sides_T3 = np.take_along_axis(opposite_T3, order_T3, 1)
    some = (sides_T3[:, 1] - sides_T3[:, 0]).argsort()[:num]
    odd = np.concatenate([order_T3[some, 0], order_T3[some, 1]])
    return TripletTable(np.tile(faces_T3[some], (2, 1)), odd, np.arange(2 * num) % 3, np.zeros((2 * num, 3), np.uint8))


def evaluator_of(metrics, batch_size):
    return Evaluator(FACES, metrics, views=[lambda x: center_view(x, 48, 1.0)], batch_size=batch_size, device=CPU)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    options = "MODEL.WIDTH_MULT 0.125 MODEL.BLOCKS [1,1] MODEL.NECK conv1x1 MODEL.NECK_CHANNELS 16 MODEL.FEATURE_DIM 16"
    options += " DATA.INPUT_SIZE 48 MODEL.HEAD joint"
    cfg = load_config(None, [*options.split(), "LOSS.CRITERIA", "[triplet, cross_entropy]"])
    return build_model(cfg, 1, 3).eval()


@pytest.fixture(scope="module")
def metrics(net):
    """300 triplets near ties, 300 others, and faces whose two best classes are as good as equal."""
    every = np.arange(len(FACES))
    found = evaluator_of([TripletMetric({"all": TripletTable(every[:99].reshape(-1, 3), *[None] * 3)})], 64)
    found.rows = every
    embedding_ND = found.predict(net)["embedding"]
    near, far = tightest(embedding_ND, 150), tightest(embedding_ND, 4000)
    part = slice(-300, None)
    table = TripletTable(
        np.concatenate([near.faces_T3, far.faces_T3[part]]),
        np.concatenate([near.odd_T, far.odd_T[part]]),
        np.arange(600) % 3,
        np.zeros((600, 3), np.uint8),
    )
    return [TripletMetric({"test": table}), ClassMetric({"test": (every, every % 3)}, ("a", "b", "c"))]


def measured(net, metrics, batch_size):
    """Accuracies of triplets and classes, the outputs of each metric, and all outputs."""
    evaluator = evaluator_of(metrics, batch_size)
    outputs = evaluator.predict(net)
    parts = [evaluator.part(outputs, metric) for metric in metrics]
    accuracies = [metric.measure(part)["test"] for metric, part in zip(metrics, parts, strict=True)]
    return *accuracies, parts, outputs


def test_counts_differ_by_no_more_than_the_near_ties_told(net, metrics, monkeypatch):
    triplets, classes, parts, outputs = measured(net, metrics, 64)
    moves = evaluator_of(metrics, 64).largest_moves(net, outputs)
    assert moves["embedding"] == LEAST_MOVE and not net.training
    each = zip(metrics, parts, strict=True)
    near, near_faces = (metric.near_ties(part, moves[metric.output])["test"] for metric, part in each)
    assert 100 < near.near < 500 and near.total == 600
    repeated = [measured(net, metrics, size) for size in (1, 7)]
    torch.set_num_threads(2)
    repeated.append(measured(net, metrics, 64))
    torch.set_num_threads(1)
    monkeypatch.setattr("fecnet.engine.predict.for_inference", lambda model: model)  # neither folded nor fused
    repeated.append(measured(net, metrics, 7))
    for found, faces, (embedding_ND, _), _ in repeated:
        for one, other, most in zip(triplets.right, found.right, near.by_type, strict=True):
            assert abs(one - other) <= most
        assert np.abs(faces.confusion_KK - classes.confusion_KK).sum() <= 2 * near_faces.near
        assert float((embedding_ND - parts[0]).norm(dim=1).max()) <= moves["embedding"]
    assert not torch.equal(embedding_ND, parts[0])
