"""SCN's search for wrong labels against a loop, its edge cases, its feedback over ranks, and a resume in mid-epoch."""

import pytest
import torch

from fecnet.modeling.criterion.scn import ScnCriterion
from fecnet.modeling.criterion.weighted import WeightedCriteria
from fecnet.structures import Batch
from fecnet.utils import comm
from tests.distributed.ranks import run_ranks
from tests.modeling import naive_criteria as naive

NUM_IMAGES, NUM_CLASSES = 40, 4
SHARES = {1: [40], 2: [13, 27], 3: [20, 0, 20]}


def images(seed, number=NUM_IMAGES):
    """A global batch and what a net says of it; ties in the importance, every fifth label absent."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, NUM_CLASSES, (number,), generator=generator)
    label[::5] = -1
    rows = torch.randperm(1000, generator=generator)[:number]
    batch = Batch(torch.zeros(number, 1, 4, 4), rows, torch.arange(number), targets={"label": label})
    importance = torch.randint(1, 12, (number,), generator=generator) / 12
    return batch, {"importance": importance, "logits": 2 * torch.randn(number, NUM_CLASSES, generator=generator)}


def share_of_rank(batch, out):
    shares = SHARES[comm.world_size()]
    mine = slice(sum(shares[: comm.rank()]), sum(shares[: comm.rank() + 1]))
    part = Batch(batch.image_UCHW[mine], batch.row_N[mine], batch.position_N[mine], targets=dict(batch.targets))
    part.targets["label"] = part.targets["label"][mine]
    return {name: value[mine] for name, value in out.items()}, part


def searching(**options):
    return ScnCriterion(**{"relabel_after": 2, **options})


def run_epoch(criterion, first, last):
    for iteration in range(first, last + 1):
        criterion.begin(iteration)
        criterion(*share_of_rank(*images(iteration)))


def as_dict(relabels):
    assert relabels.row_M.dtype == relabels.label_M.dtype == torch.int64
    assert (relabels.row_M.diff() > 0).all()
    return dict(zip(relabels.row_M.tolist(), relabels.label_M.tolist(), strict=True))


def expected(first, last):
    found = {}
    for iteration in range(first, last + 1):
        batch, out = images(iteration)
        found |= naive.scn_relabels(out, batch.targets, batch.row_N, beta=0.7, margin=0.2)
    return found


def epochs():
    """Two epochs; a state in the middle of the second one; what is left after the feedback."""
    criterion = WeightedCriteria([(searching(), 1.0)])
    run_epoch(criterion, 1, 4)
    first = as_dict(criterion.feedback())
    run_epoch(criterion, 5, 6)
    state = criterion.state_dict()
    run_epoch(criterion, 7, 8)
    return first, as_dict(criterion.feedback()), as_dict(criterion.feedback()), state


def resumed(state):
    criterion = WeightedCriteria([(searching(), 1.0)])
    criterion.load_state_dict(state)
    again = criterion.state_dict()
    run_epoch(criterion, 7, 8)
    return as_dict(criterion.feedback()), again


def test_only_the_low_group_is_relabelled_from_the_iteration_given_on():
    first, second, empty, _ = epochs()
    assert first == expected(3, 4)
    assert second == expected(5, 8)
    assert not empty
    assert 5 < len(second) < 40
    # the rule that looks at the whole batch would relabel more
    whole = 0
    for iteration in range(5, 9):
        batch, out = images(iteration)
        share = out["logits"].softmax(1)
        label = batch.targets["label"]
        given = share.gather(1, label.clamp(min=0)[:, None])[:, 0]
        whole += int(((share.amax(1) - given > 0.2) & (label >= 0)).sum())
    assert whole > 2 * len(second)


@pytest.mark.parametrize("world_size", [2, 3])
def test_all_ranks_hear_the_same_and_a_resume_on_another_number_of_ranks_goes_on(world_size):
    first, second, _, state = epochs()
    assert resumed(state)[0] == second
    ranks = run_ranks(world_size, epochs)
    for rank in ranks:
        assert rank[0] == first
        assert rank[1] == second
        assert not rank[2]
        assert resumed(rank[3])[0] == second
    for rank in run_ranks(world_size, resumed, state):
        assert rank[0] == second
        key = "criteria.0._extra_state"
        assert torch.equal(rank[1][key]["found"], state[key]["found"])  # once, not once per rank


def test_of_one_image_the_latest_finding_counts():
    criterion = searching(relabel_after=0, beta=0.5)
    label = torch.tensor([0, 0])
    out = {"importance": torch.tensor([0.9, 0.1]), "logits": torch.tensor([[0.0, 0, 9], [0.0, 0, 9]])}
    for iteration, largest in ((1, 2), (2, 1), (3, 0)):
        rows = torch.tensor([5, 3])
        logits = 9.0 * torch.nn.functional.one_hot(torch.tensor([largest, largest]), 3)
        criterion.begin(iteration)
        criterion(
            {**out, "logits": logits}, Batch(torch.zeros(2, 1, 1, 1), rows, torch.arange(2), None, {"label": label})
        )
    assert as_dict(criterion.feedback()) == {3: 1}  # in iteration 3 the net agrees with the label


@pytest.mark.parametrize(
    ("importance", "label", "loss"),
    [
        ([0.5], [1], 0.0),  # a batch of one: nothing is lower
        ([0.5, 0.9], [1, -1], 0.0),  # one label: the low group is empty
        ([0.5, 0.9], [-1, -1], 0.0),
        ([0.5] * 10, [1] * 10, 0.07),  # all equal: the margin, and no label is touched
    ],
)
def test_nothing_to_rank(importance, label, loss):
    importance = torch.tensor(importance, requires_grad=True)
    label = torch.tensor(label, dtype=torch.int64)
    number = len(label)
    logits = torch.tensor([[9.0, 0.0]]).expand(number, 2)  # the net is sure that all labels are wrong
    criterion = searching(relabel_after=0)
    criterion.begin(1)
    batch = Batch(torch.zeros(number, 1, 1, 1), torch.arange(number), torch.arange(number), None, {"label": label})
    term = criterion({"importance": importance, "logits": logits}, batch)["scn_rank"]
    term.backward()
    assert float(term.detach()) == pytest.approx(loss)
    assert importance.grad.isfinite().all()
    assert not as_dict(criterion.feedback())
    assert criterion.count(batch)["scn_rank"] == 1


def test_margins_and_share_are_those_given():
    batch, out = images(3)
    for beta, margin in ((0.5, 0.1), (0.3, 0.6)):
        criterion = searching(beta=beta, margin_1=0.8, margin_2=margin, relabel_after=0)
        criterion.begin(1)
        term = criterion(out, batch)["scn_rank"]
        assert float(term) == pytest.approx(float(naive.scn_rank(out, batch.targets, beta=beta, margin=0.8)), rel=1e-5)
        found = as_dict(criterion.feedback())
        assert found
        assert found == naive.scn_relabels(out, batch.targets, batch.row_N, beta=beta, margin=margin)


def test_without_relabelling_nothing_is_remembered():
    criterion = searching(relabel_after=None)
    criterion(*reversed(images(1)))
    assert not as_dict(criterion.feedback())
    with pytest.raises(AssertionError, match="begin"):
        searching()(*reversed(images(1)))
