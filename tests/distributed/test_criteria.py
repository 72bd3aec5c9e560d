"""Each criterion through the stepper, on 1, 2 and 3 ranks with uneven shares, against loops in double precision.

The first images have no target at all, so that one rank of two has nothing to learn from.
"""

import math

import pytest
import torch
from torch import nn

from fecnet.engine.stepper import Stepper
from fecnet.layers.choice import DEFAULT_SCALE, LAPSE_RATE
from fecnet.modeling.criterion.choice import ChoiceCriterion
from fecnet.modeling.criterion.registry import CRITERIA
from fecnet.modeling.criterion.triplet import TripletCriterion
from fecnet.modeling.criterion.wasserstein import WassersteinCriterion, confusion_distances
from fecnet.modeling.criterion.weighted import WeightedCriteria
from fecnet.solver.gradient_rules import FiniteGuard
from fecnet.solver.schedules import Schedule, constant
from fecnet.structures import Batch, Triplets
from fecnet.utils import comm
from tests.distributed.ranks import run_ranks
from tests.modeling import naive_criteria as naive

CLASSES = ("angry", "happiness", "surprise", "neutral", "contempt")
CLASS_WEIGHTS = [0.5, 2.0, 1.0, 0.25, 3.0]
CONFUSION = [[9, 1, 0, 2, 3], [0, 8, 2, 1, 0], [1, 1, 5, 0, 0], [2, 2, 1, 6, 1], [4, 0, 0, 1, 3]]
NUM_FACES = 21
SHARES = {1: [21], 2: [6, 15], 3: [6, 12, 3]}  # images of each rank, whole triplets
CPU = torch.device("cpu")
MARGINS = (0.1, 0.2, 0.3)


class EveryOutput(nn.Module):
    """All that a head may return, linear in the pixels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(16, 6 + len(CLASSES) + 1 + 6 + 2)

    def forward(self, image_NCHW):
        embedding, logits, importance, regions, valence_arousal = self.fc(image_NCHW.flatten(1)).split(
            [6, len(CLASSES), 1, 6, 2], dim=1
        )
        return {
            "embedding": nn.functional.normalize(embedding, dim=1),
            "logits": 3 * logits,
            "importance": importance[:, 0].sigmoid(),
            "region_importance": regions.sigmoid(),
            "valence_arousal": valence_arousal.tanh(),
        }


def global_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, len(CLASSES), (NUM_FACES,), generator=generator)
    distribution = torch.rand(NUM_FACES, len(CLASSES), generator=generator)
    distribution /= distribution.sum(1, keepdim=True)
    valence_arousal = torch.rand(NUM_FACES, 2, generator=generator) * 2 - 1
    label[:6], distribution[:6], valence_arousal[:6] = -1, torch.nan, torch.nan
    label[9], distribution[11], valence_arousal[13] = -1, torch.nan, torch.nan
    triplets = Triplets(
        torch.arange(NUM_FACES).view(-1, 3),
        torch.randint(0, 3, (NUM_FACES // 3,), generator=generator),
        torch.arange(NUM_FACES // 3) % 3,
        torch.rand(NUM_FACES // 3, generator=generator) + 0.5,
        torch.tensor([[0, 0, 0], [6, 0, 0], [1, 2, 3], [2, 2, 2], [0, 5, 1], [0, 0, 0], [0, 0, 1]], dtype=torch.uint8),
    )
    rows = torch.randperm(1000, generator=generator)[:NUM_FACES]
    image = torch.rand(NUM_FACES, 1, 4, 4, generator=generator) * 2 - 1
    targets = {"label": label, "distribution": distribution, "valence_arousal": valence_arousal}
    return Batch(image, rows, torch.arange(NUM_FACES), triplets, targets)


def cut(batch, first, number):
    """``number`` images from ``first`` on; whole triplets."""
    faces, three = slice(first, first + number), slice(first // 3, (first + number) // 3)
    return Batch(
        batch.image_UCHW[faces],
        batch.row_N[faces],
        batch.position_N[faces],
        Triplets(
            torch.arange(number).view(-1, 3),
            batch.triplets.odd_B[three],
            batch.triplets.type_B[three],
            batch.triplets.weight_B[three],
            batch.triplets.votes_B3[three],
        ),
        {name: value[faces] for name, value in batch.targets.items()},
    )


def share_of_rank(batch):
    shares = SHARES[comm.world_size()]
    return cut(batch, sum(shares[: comm.rank()]), shares[comm.rank()])


def naive_triplet(out, targets):
    triplets = global_batch().triplets
    total = 0.0
    for faces, odd, kind, weight in zip(
        triplets.face_B3.tolist(), triplets.odd_B.tolist(), triplets.type_B.tolist(), triplets.weight_B, strict=True
    ):
        n, (a, p) = out["embedding"][faces[odd]], [out["embedding"][faces[k]] for k in range(3) if k != odd]
        ap, an, pn = ((x - y).pow(2).sum() for x, y in ((a, p), (a, n), (p, n)))
        total = total + weight.double() * sum((ap - far + MARGINS[kind]).clamp(min=0) for far in (an, pn))
    return total / triplets.weight_B.double().sum()


def naive_choice(out, scale):
    triplets = global_batch().triplets
    total = 0.0
    for faces, odd, weight, votes in zip(
        triplets.face_B3.tolist(), triplets.odd_B.tolist(), triplets.weight_B, triplets.votes_B3.tolist(), strict=True
    ):
        votes = votes if any(votes) else [float(k == odd) for k in range(3)]
        e = [out["embedding"][face] for face in faces]
        power = [torch.exp(-scale * (e[i] - e[j]).pow(2).sum()) for i, j in ((1, 2), (0, 2), (0, 1))]
        for number, one in zip(votes, power, strict=True):
            chance = (1 - LAPSE_RATE) * one / sum(power) + LAPSE_RATE / 3
            total = total - weight.double() * number / sum(votes) * torch.log(chance)
    return total / triplets.weight_B.double().sum()


def build(name, **options):
    given = {"classes": CLASSES} if name in ("wasserstein", "hellinger") else {}
    given |= {"dimensions": 6} if name == "hellinger" else {}
    return CRITERIA[name].build(**given, **options)


# by name: how the criterion is built, and the same as loops; the third column: it ranks the batch as a whole
CASES = {
    "plain": (lambda: build("cross_entropy"), naive.cross_entropy),
    "smoothing": (
        lambda: build("cross_entropy", label_smoothing=0.1, class_weights=CLASS_WEIGHTS),
        lambda out, targets: naive.cross_entropy(out, targets, smoothing=0.1, weights=CLASS_WEIGHTS),
    ),
    "hardest": (
        lambda: build("cross_entropy", hardest=0.7),
        lambda out, targets: naive.cross_entropy(out, targets, hardest=0.7),
    ),
    "hardest, all": (
        lambda: build("cross_entropy", label_smoothing=0.1, class_weights=CLASS_WEIGHTS, hardest=0.5),
        lambda out, targets: naive.cross_entropy(out, targets, smoothing=0.1, weights=CLASS_WEIGHTS, hardest=0.5),
    ),
    "soft_targets": (lambda: build("soft_targets"), naive.soft_targets),
    "hellinger": (lambda: build("hellinger"), naive.hellinger),
    "scn": (
        lambda: build("scn", margin_1=0.9),
        lambda out, targets: naive.scn_rank(out, targets, beta=0.7, margin=0.9),
    ),
    "ran": (
        lambda: build("ran", margin=0.1),
        lambda out, targets: naive.region_bias(out, targets, margin=0.1),
    ),
    "centroid": (
        lambda: build("wasserstein"),
        lambda out, targets: naive.wasserstein(out, targets, naive.centroid_distances(CLASSES)),
    ),
    "confusion": (
        lambda: WassersteinCriterion(confusion_distances(CONFUSION)),
        lambda out, targets: naive.wasserstein(out, targets, naive.confusion_distances(CONFUSION)),
    ),
    "valence_arousal": (lambda: build("valence_arousal"), naive.squared_error),
    "ccc": (
        lambda: build("valence_arousal", ccc=True),
        lambda out, targets: naive.squared_error(out, targets) + naive.discordance(out, targets),
    ),
    "published wasserstein": (
        lambda: WeightedCriteria([(build("cross_entropy"), 1.0), (build("wasserstein"), 0.0125)]),
        lambda out, targets: (
            naive.cross_entropy(out, targets)
            + 0.0125 * naive.wasserstein(out, targets, naive.centroid_distances(CLASSES))
        ),
    ),
    "scn and ran": (
        lambda: WeightedCriteria(
            [(build("cross_entropy"), 1.0), (build("scn", margin_1=0.9), 0.5), (build("ran", margin=0.1), 2)]
        ),
        lambda out, targets: (
            naive.cross_entropy(out, targets)
            + 0.5 * naive.scn_rank(out, targets, beta=0.7, margin=0.9)
            + 2 * naive.region_bias(out, targets, margin=0.1)
        ),
    ),
    "choice": (lambda: build("choice", scale=7.0), lambda out, targets: naive_choice(out, 7.0)),
    "hinge and choice": (
        lambda: WeightedCriteria([(TripletCriterion(MARGINS), 0.5), (build("choice", scale=2.0), 2.0)]),
        lambda out, targets: 0.5 * naive_triplet(out, targets) + 2.0 * naive_choice(out, 2.0),
    ),
    "joint": (
        lambda: WeightedCriteria([(TripletCriterion(MARGINS), 1.0), (build("soft_targets"), 0.5)]),
        lambda out, targets: naive_triplet(out, targets) + 0.5 * naive.soft_targets(out, targets),
    ),
}


def step_once(criterion, model, batches, optimizer_of=()):
    parameters = [*model.parameters(), *criterion.parameters(), *optimizer_of]
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    optimizer.param_groups[0]["base_lr"] = 1.0
    stepper = Stepper(
        model,
        criterion,
        optimizer,
        Schedule(constant()),
        rules=[],
        guard=FiniteGuard("cpu"),
        average=None,
        seed=0,
        precision=torch.float32,
        device=CPU,
    )
    stepper.step(batches, lambda batch, iteration: batch, 1)
    stepper.check_finite()
    return stepper.read_terms()


def update(name):
    """The gradient of the averaged loss, as the update takes it off, and the loss."""
    model, criterion = EveryOutput(), CASES[name][0]()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    terms = step_once(criterion, model, [share_of_rank(global_batch())])
    gradient = [old - new.detach() for old, new in zip(before, model.parameters(), strict=True)]
    return gradient, terms


def update_free():
    """The same with distances that are learnt: the gradient of the net and of the distances, and the loss."""
    model, criterion = EveryOutput(), build("wasserstein", kind="learned")
    with torch.no_grad():
        criterion.free.raw_P.copy_(torch.linspace(-1, 1, 10))
    before = [parameter.detach().clone() for parameter in (*model.parameters(), criterion.free.raw_P)]
    terms = step_once(criterion, model, [share_of_rank(global_batch())])
    after = [*model.parameters(), criterion.free.raw_P]
    return [old - new.detach() for old, new in zip(before, after, strict=True)], terms, criterion.free().detach()


MICRO = ((0, 3), (3, 9), (12, 9))  # first image and number of each micro-batch, uneven


def update_scale(*, micro):
    """With a learned scale: the gradient of the net and of the scale, the loss, and the scale after the update.

    Of this rank's share, or of one process's micro-batches.
    """
    model, criterion = EveryOutput(), ChoiceCriterion()
    before = [parameter.detach().clone() for parameter in (*model.parameters(), criterion.log_scale)]
    batch = global_batch()
    terms = step_once(criterion, model, [cut(batch, *part) for part in MICRO] if micro else [share_of_rank(batch)])
    after = [*model.parameters(), criterion.log_scale]
    return [old - new.detach() for old, new in zip(before, after, strict=True)], terms, float(criterion.scale)


def update_without_labels():
    """Joint training on a batch in which no image has a label."""
    batch = global_batch()
    batch.targets["distribution"].fill_(torch.nan)
    model, criterion = EveryOutput(), CASES["joint"][0]()
    before = model.fc.weight.detach().clone()
    terms = step_once(criterion, model, [share_of_rank(batch)])
    return before - model.fc.weight.detach(), terms


def gathered():
    """A weighted sum of squares over all rows: each rank's gradient times ``world_size``."""
    counts = [3, 0, 2][: comm.world_size()]
    share = torch.full((counts[comm.rank()], 2), float(comm.rank() + 1), requires_grad=True)
    found = comm.gather_counts(len(share))
    rows = comm.gather_differentiable(share, found)
    (rows.square() * torch.arange(len(rows))[:, None]).sum().backward()
    value = torch.ones(2, requires_grad=True)
    (comm.average_gradient(value) * (comm.rank() + 1)).sum().backward()
    return found, rows.detach(), share.grad, value.grad


def everything():
    return {
        "updates": {name: update(name) for name in CASES},
        "free": update_free(),
        "scale": update_scale(micro=False),
        "without labels": update_without_labels(),
        "gathered": gathered(),
    }


@pytest.fixture(scope="module")
def by_world_size():
    return {world_size: run_ranks(world_size, everything) for world_size in SHARES}


def expected_update(loss_of, *others):
    """Gradient and loss of the loops, in double precision, over the whole batch at once."""
    model, batch = EveryOutput().double(), global_batch()
    loss = loss_of(model(batch.image_UCHW.double()), batch.targets)
    parameters = [*model.parameters(), *others]
    return torch.autograd.grad(loss, parameters), float(loss.detach())


@pytest.mark.parametrize("world_size", SHARES)
@pytest.mark.parametrize("name", CASES)
def test_update_and_loss_are_those_of_the_loops(by_world_size, name, world_size):
    gradient, loss = expected_update(CASES[name][1])
    assert loss > 0
    assert max(float(part.abs().max()) for part in gradient) > 1e-4
    for rank in by_world_size[world_size]:
        found, terms = rank["updates"][name]
        assert terms["loss"] == pytest.approx(loss, rel=1e-5)
        for one, other in zip(found, gradient, strict=True):
            torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("world_size", SHARES)
def test_learnt_distances_get_the_gradient_of_all_ranks(by_world_size, world_size):
    raw_P = torch.linspace(-1, 1, 10, dtype=torch.float64, requires_grad=True)
    gradient, loss = expected_update(
        lambda out, targets: naive.wasserstein(out, targets, naive.free_distances(raw_P, len(CLASSES))), raw_P
    )
    assert float(gradient[-1].abs().max()) > 1e-4
    for rank in by_world_size[world_size]:
        found, terms, distance_KK = rank["free"]
        assert terms["loss"] == pytest.approx(loss, rel=1e-5)
        for one, other in zip(found, gradient, strict=True):
            torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-6)
        # after the update as before it
        assert torch.equal(distance_KK, distance_KK.T)
        assert not distance_KK.diagonal().any()
        assert float(distance_KK.norm()) == pytest.approx(1)
        assert torch.equal(distance_KK, by_world_size[world_size][0]["free"][2])


def check_scale(found):
    """The gradients, the loss and the scale after the update against the loop over the whole batch."""
    log_scale = torch.tensor(math.log(DEFAULT_SCALE), dtype=torch.float64, requires_grad=True)
    expected, loss = expected_update(lambda out, targets: naive_choice(out, log_scale.exp()), log_scale)
    assert float(expected[-1].abs()) > 1e-3
    gradient, terms, scale = found
    assert terms["loss"] == pytest.approx(loss, rel=1e-5)
    for one, other in zip(gradient, expected, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-6)
    assert scale == pytest.approx(math.exp(math.log(DEFAULT_SCALE) - float(expected[-1])), rel=1e-5)


@pytest.mark.parametrize("world_size", SHARES)
def test_the_learned_scale_gets_the_gradient_of_all_ranks(by_world_size, world_size):
    for rank in by_world_size[world_size]:
        check_scale(rank["scale"])
        assert rank["scale"][2] == by_world_size[world_size][0]["scale"][2]


def test_the_learned_scale_gets_the_gradient_of_all_micro_batches():
    check_scale(update_scale(micro=True))


@pytest.mark.parametrize("world_size", SHARES)
def test_a_batch_without_any_label_is_learnt_from_by_its_triplets_alone(by_world_size, world_size):
    gradient, loss = expected_update(naive_triplet)
    for rank in by_world_size[world_size]:
        found, terms = rank["without labels"]
        assert terms["soft_targets"] == 0
        assert terms["loss"] == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(found, gradient[0].float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_gather_hands_back_what_all_ranks_ask(by_world_size, world_size):
    counts = [3, 0, 2][:world_size]
    value = torch.cat([torch.full((count, 2), rank + 1.0) for rank, count in enumerate(counts)])
    gradient = (world_size * 2 * value * torch.arange(len(value))[:, None]).split(counts)
    for rank, wanted in zip(by_world_size[world_size], gradient, strict=True):
        found, rows, own, averaged = rank["gathered"]
        assert found == counts
        assert torch.equal(rows, value)
        assert torch.equal(own, wanted)
        torch.testing.assert_close(averaged, torch.full((2,), (world_size + 1) / 2))


@pytest.mark.parametrize("name", ["smoothing", "soft_targets", "ran", "centroid", "valence_arousal", "joint"])
def test_micro_batches_change_nothing(name):
    gradient, loss = expected_update(CASES[name][1])
    model, batch = EveryOutput(), global_batch()
    before = model.fc.weight.detach().clone()
    terms = step_once(CASES[name][0](), model, [cut(batch, 0, 9), cut(batch, 9, 12)])
    assert terms["loss"] == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(before - model.fc.weight.detach(), gradient[0].float(), rtol=1e-4, atol=1e-6)


def test_scn_ranks_each_micro_batch_by_itself():
    batch = global_batch()
    parts = [cut(batch, 0, 12), cut(batch, 12, 9)]
    model = EveryOutput().double()
    losses = [
        naive.scn_rank(model(part.image_UCHW.double()), part.targets, beta=0.7, margin=0.9).item() for part in parts
    ]
    terms = step_once(CASES["scn"][0](), EveryOutput(), parts)
    assert terms["loss"] == pytest.approx(sum(losses) / 2, rel=1e-5)
