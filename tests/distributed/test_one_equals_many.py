"""One global batch on 1, 2 and 3 processes: the same shares, draws, update and table. 7 never divides evenly."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from fecnet.config.node import load_config
from fecnet.data.augment import center_view
from fecnet.data.build import build_augment, build_loader
from fecnet.data.packed import PackedDataset
from fecnet.engine.predict import predict
from fecnet.engine.stepper import Stepper
from fecnet.modeling.build import build_model
from fecnet.modeling.criterion.triplet import TripletCriterion
from fecnet.runs.tasks import build_evaluator
from fecnet.solver.ema import EMA
from fecnet.solver.gradient_rules import FiniteGuard, clip_norm
from fecnet.solver.schedules import Schedule, constant
from fecnet.utils import comm
from tests.distributed.ranks import run_ranks

WORLD_SIZES = (1, 2, 3)
CPU = torch.device("cpu")
BATCH = 7


class ConvNet(nn.Module):
    """A convolution, a batch norm with statistics of its own that are frozen if wanted, unit embeddings."""

    def __init__(self, batch_norm):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 8, 16, 16)
        self.norm = nn.BatchNorm2d(8) if batch_norm != "none" else nn.Identity()
        if batch_norm != "none":
            nn.init.uniform_(self.norm.running_mean, -0.3, 0.3)
            nn.init.uniform_(self.norm.running_var, 0.5, 1.5)
        self.frozen = batch_norm == "frozen"
        self.fc = nn.Linear(72, 4)

    def train(self, mode=True):
        super().train(mode)
        if self.frozen:
            self.norm.eval()
        return self

    def forward(self, image_NCHW):
        map_NCHW = self.norm(self.conv(image_NCHW)).relu()
        return {"embedding": nn.functional.normalize(self.fc(map_NCHW.flatten(1)), dim=1)}


def settings(path, *overrides):
    options = ["DATA.PATH", path, "SOLVER.BATCH_SIZE", BATCH, "DATA.WEIGHT_BY_AGREEMENT", "true", "DATA.INPUT_SIZE", 48]
    options += ["AUGMENT.FLIP", 0.5, "AUGMENT.TRANSLATE", 0.1, "AUGMENT.ROTATE", 10, "AUGMENT.NOISE", 0.05]
    options += ["AUGMENT.RANDOM_ERASE", 0.5, "AUGMENT.BRIGHTNESS", 0.2, *overrides]
    return load_config(None, [str(option) for option in options])


def loader_of(cfg, dataset):
    return build_loader(cfg, dataset, rank=comm.rank(), world_size=comm.world_size(), device=CPU)


def build_stepper(model, average=None):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    optimizer.param_groups[0]["base_lr"] = 0.5
    return Stepper(
        model,
        TripletCriterion((0.1, 0.2, 0.3)),
        optimizer,
        Schedule(constant()),
        rules=[clip_norm(1.0)],
        guard=FiniteGuard("cpu"),
        average=average,
        seed=0,
        precision=torch.float32,
        device=CPU,
    )


def shares_and_draws(path):
    """Rows, positions, weights and augmented images of two iterations of this rank."""
    dataset = PackedDataset(path)
    found = []
    for accumulate in (1, 2):
        cfg = settings(path, "SOLVER.GRAD_ACCUM_STEPS", accumulate)
        augment = shared_augment(path)
        for iteration, batches in loader_of(cfg, dataset)(3, 4):
            for batch in batches:
                image = batch.of_samples(augment(batch, iteration).image_UCHW).contiguous()
                order = (accumulate, iteration)
                found.append((order, batch.row_N, batch.position_N, batch.triplets.weight_B, image))
    return found


@functools.cache
def shared_augment(path):
    return build_augment(settings(path), ["grey"])


def three_updates(path, batch_norm, accumulate, poisoned):
    """Weights after three iterations, and the terms that are logged.

    Args:
        path: the data set.
        batch_norm: of the net: none, frozen or own.
        accumulate: micro-batches.
        poisoned: the rank whose last loss is not a number, or -1.
    """
    dataset = PackedDataset(path)
    cfg = settings(path, "SOLVER.GRAD_ACCUM_STEPS", accumulate)
    model = ConvNet(batch_norm)
    step = build_stepper(model, EMA(model, 0.5))
    augment = shared_augment(path)
    for iteration, batches in loader_of(cfg, dataset)(1, 3):
        if iteration == 3 and comm.rank() == poisoned:
            batches = [
                batch.with_images(torch.full_like(batch.image_UCHW, np.nan, dtype=torch.float32)) for batch in batches
            ]
            augment = lambda batch, iteration: batch  # noqa: E731
        step.step(batches, augment, iteration)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    averaged = {name: value.clone() for name, value in step.inference_model.state_dict().items()}
    problem = ""
    try:
        step.check_finite()
    except ValueError as error:
        problem = str(error)
    return state, averaged, step.state_dict()["sums"], step.read_terms(), problem


def tables(path):
    """The accuracy of three splits and embeddings by row, with more ranks than batches too."""
    dataset = PackedDataset(path)
    cfg = load_config(
        None,
        ["MODEL.WIDTH_MULT", "0.125", "MODEL.NECK", "conv1x1", "DATA.PATH", str(path), "EVAL.BATCH_SIZE", str(BATCH)],
    )
    torch.manual_seed(0)
    model = build_model(cfg, 1)
    accuracy = build_evaluator(cfg, dataset, ["train", "val", "test"], CPU)(model)
    view = functools.partial(center_view, input_size=64, crop=1.0)
    found = []
    for rows in (np.arange(20)[::-1].copy(), np.array([5, 5, 0, 59, 5, 1, 2]), np.array([3])):
        out = predict(model, dataset.faces_NHWC, rows, views=[view], batch_size=BATCH, device=CPU)
        found.append(out["embedding"])
    empty = predict(model, dataset.faces_NHWC, np.zeros(0, np.int64), views=[view], batch_size=BATCH, device=CPU)
    return {split: value.to_dict() for split, value in accuracy.items()}, found, empty


def everything(path):
    """All of the above in one start."""
    updates = {
        (batch_norm, accumulate): three_updates(path, batch_norm, accumulate, -1)
        for batch_norm in ("none", "frozen", "own")
        for accumulate in (1, 2)
    }
    poisoned = three_updates(path, "none", 1, comm.world_size() - 1)
    return {"shares": shares_and_draws(path), "updates": updates, "poisoned": poisoned, "tables": tables(path)}


@pytest.fixture(scope="module")
def by_world_size(tmp_path_factory):
    from tests.conftest import write_tiny

    path = write_tiny(tmp_path_factory.mktemp("many") / "tiny")
    return {world_size: run_ranks(world_size, everything, path) for world_size in WORLD_SIZES}


def together(ranks):
    """Rows of all ranks in the order of their places, by (accumulate, iteration)."""
    parts = {}
    for rank in ranks:
        for order, row_N, position_N, weight_B, image in rank["shares"]:
            parts.setdefault(order, []).append((row_N, position_N, weight_B.repeat_interleave(3), image))
    return {order: [torch.cat(column) for column in zip(*each, strict=True)] for order, each in parts.items()}


@pytest.mark.parametrize("world_size", WORLD_SIZES)
def test_shares_make_the_batch_and_images_are_drawn_by_face(by_world_size, world_size):
    expected, found = together(by_world_size[1]), together(by_world_size[world_size])
    for order, columns in found.items():
        assert torch.equal(columns[1], torch.arange(3 * BATCH))
        wanted = expected[(1, order[1])]  # accumulation changes nothing either
        assert all(torch.equal(one, other) for one, other in zip(columns, wanted, strict=True)), order


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("batch_norm", ["none", "frozen"])
@pytest.mark.parametrize("world_size", WORLD_SIZES)
def test_weights_and_logged_loss_are_those_of_one_process(by_world_size, world_size, batch_norm, accumulate):
    expected, _, _, terms, _ = by_world_size[1][0]["updates"][(batch_norm, 1)]
    for rank in by_world_size[world_size]:
        state, averaged, _, found, problem = rank["updates"][(batch_norm, accumulate)]
        assert not problem
        assert found == pytest.approx(terms, rel=1e-5)
        for name, value in expected.items():
            torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)
        assert all(torch.isfinite(value).all() for value in averaged.values())
    start = ConvNet(batch_norm).state_dict()
    assert not torch.allclose(expected["fc.weight"], start["fc.weight"], rtol=1e-3)
    if batch_norm == "frozen":  # to the bit, on three ranks too
        assert all(
            torch.equal(state[f"norm.running_{name}"], start[f"norm.running_{name}"]) for name in ("mean", "var")
        )


@pytest.mark.parametrize("world_size", WORLD_SIZES)
def test_weights_statistics_and_average_are_equal_on_all_ranks(by_world_size, world_size):
    for key in by_world_size[1][0]["updates"]:
        first, *others = [rank["updates"][key] for rank in by_world_size[world_size]]
        for other in others:
            for left, right in zip(first[:2], other[:2], strict=True):
                names = [name for name in left if not name.endswith("num_batches_tracked")]
                assert all(torch.equal(left[name], right[name]) for name in names), key
            assert first[3] == other[3]
    own = by_world_size[world_size][0]["updates"][("own", 1)][0]
    assert not torch.equal(own["norm.running_mean"], ConvNet("own").norm.running_mean)


@pytest.mark.parametrize("world_size", WORLD_SIZES)
def test_what_is_not_finite_on_one_rank_stops_all_at_that_iteration(by_world_size, world_size):
    for rank in by_world_size[world_size]:
        state, _, _, _, problem = rank["poisoned"]
        assert problem.startswith("iteration 3: the loss or a gradient is not finite")
        assert all(torch.isfinite(value).all() for value in state.values())


@pytest.mark.parametrize("world_size", WORLD_SIZES)
def test_tables_and_embeddings_do_not_depend_on_who_computes_them(by_world_size, world_size):
    accuracy, embeddings, _ = by_world_size[1][0]["tables"]
    assert accuracy["val"]["ALL"]["total"] == 40
    for rank in by_world_size[world_size]:
        found, rows, empty = rank["tables"]
        assert found == accuracy
        assert all(torch.equal(one, other) for one, other in zip(rows, embeddings, strict=True))
        assert empty == {}


def more_ranks_than_triplets(path):
    try:
        loader_of(settings(path, "SOLVER.BATCH_SIZE", 2), PackedDataset(path))
    except ValueError as error:
        return str(error)
    return len(loader_of(settings(path, "SOLVER.BATCH_SIZE", 3), PackedDataset(path)).gather(1))


def test_a_world_larger_than_the_batch_is_the_only_size_that_is_refused(tiny):
    said = ["SOLVER.BATCH_SIZE: 2 triplets cannot be shared by 3 ranks"] * 3
    assert run_ranks(3, more_ranks_than_triplets, tiny) == said
