"""One update against a naive one: weights, accumulation, averaging and terms, on a net without batch norm."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from fecnet.engine.stepper import Stepper
from fecnet.modeling.criterion.triplet import TripletCriterion, triplet_loss
from fecnet.solver.gradient_rules import FiniteGuard
from fecnet.solver.schedules import Schedule, constant
from fecnet.structures import Batch, Triplets

MARGINS = (0.1, 0.2, 0.3)


class Linear(nn.Module):
    """Unit embeddings, linear in the pixels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(16, 4)

    def forward(self, image_NCHW):
        return {"embedding": nn.functional.normalize(self.fc(image_NCHW.flatten(1)), dim=1)}


def batch_of(num_triplets, seed=0):
    generator = torch.Generator().manual_seed(seed)
    num_faces = 3 * num_triplets
    triplets = Triplets(
        face_B3=torch.arange(num_faces).view(-1, 3),
        odd_B=torch.randint(0, 3, (num_triplets,), generator=generator),
        type_B=torch.randint(0, 3, (num_triplets,), generator=generator),
        weight_B=torch.rand(num_triplets, generator=generator) + 0.1,
        votes_B3=torch.zeros(num_triplets, 3, dtype=torch.uint8),
    )
    rows = torch.arange(num_faces)
    return Batch(torch.rand(num_faces, 1, 4, 4, generator=generator), rows, rows, triplets)


def cut(batch, sizes):
    """The batch in uneven micro-batches."""
    parts, first = [], 0
    for size in sizes:
        faces, triplets = slice(3 * first, 3 * (first + size)), slice(first, first + size)
        parts.append(
            Batch(
                batch.image_UCHW[faces],
                batch.row_N[faces],
                batch.position_N[faces],
                Triplets(
                    torch.arange(3 * size).view(-1, 3),
                    batch.triplets.odd_B[triplets],
                    batch.triplets.type_B[triplets],
                    batch.triplets.weight_B[triplets],
                    batch.triplets.votes_B3[triplets],
                ),
            )
        )
        first += size
    return parts


def stepper(model, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    optimizer.param_groups[0]["base_lr"] = 1.0
    return Stepper(
        model,
        TripletCriterion(MARGINS),
        optimizer,
        Schedule(constant()),
        **{
            "rules": [],
            "guard": FiniteGuard("cpu"),
            "average": None,
            "seed": 0,
            "precision": torch.float32,
            "device": torch.device("cpu"),
            **options,
        },
    )


def naive_update(batch):
    """Weighted mean of the loss over all triplets, one gradient step of size 1."""
    model, triplets = Linear(), batch.triplets
    emb_B3D = model(batch.image_UCHW)["embedding"][triplets.face_B3]
    loss_B = triplet_loss(emb_B3D, triplets.odd_B, torch.tensor(MARGINS)[triplets.type_B])
    loss = (loss_B * triplets.weight_B).sum() / triplets.weight_B.sum()
    loss.backward()
    return [parameter.detach() - parameter.grad for parameter in model.parameters()], loss.item()


@pytest.mark.parametrize("sizes", [(7,), (3, 4), (1, 5, 1), (1,) * 7])
def test_update_is_that_of_the_weighted_mean_however_the_batch_is_cut(sizes):
    batch = batch_of(7)
    expected, loss = naive_update(batch)
    model = Linear()
    step = stepper(model)
    step.step(cut(batch, sizes), lambda part, iteration: part, 1)
    for parameter, wanted in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), wanted, rtol=1e-5, atol=1e-6)
    terms = step.read_terms()
    assert terms["loss"] == pytest.approx(loss, rel=1e-5)
    assert terms["triplet"] == pytest.approx(loss, rel=1e-5)


def test_a_face_that_goes_through_the_net_once_counts_in_every_triplet_it_stands_in():
    image_N = torch.tensor([0, 1, 2, 0, 3, 4, 5, 0, 1, 2, 3, 5])  # 12 samples of 6 faces
    images = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    each = replace(batch_of(4), image_UCHW=images[image_N], row_U=image_N)
    once = replace(each, image_UCHW=images, row_U=torch.arange(6), image_N=image_N)
    assert torch.equal(once.row_N, each.row_N)
    expected, loss = naive_update(each)
    step, seen = stepper(Linear()), []
    step.model.register_forward_hook(lambda net, arguments, out: seen.append(len(arguments[0])))
    step.step([once], lambda part, iteration: part, 1)
    assert seen == [6] and step.read_terms()["loss"] == pytest.approx(loss, rel=1e-5)
    for parameter, wanted in zip(step.model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), wanted, rtol=1e-5, atol=1e-6)


def test_terms_are_means_over_all_items_since_the_last_reading():
    step = stepper(Linear())
    losses, weights = [], []
    for iteration, size in enumerate((2, 5), start=1):
        batch = batch_of(size, seed=iteration)
        with torch.no_grad():
            emb = step.model(batch.image_UCHW)["embedding"][batch.triplets.face_B3]
            loss_B = triplet_loss(emb, batch.triplets.odd_B, torch.tensor(MARGINS)[batch.triplets.type_B])
        losses.append((loss_B * batch.triplets.weight_B).sum())
        weights.append(batch.triplets.weight_B.sum())
        step.step([batch], lambda part, iteration: part, iteration)
    assert step.read_terms()["loss"] == pytest.approx(float(sum(losses) / sum(weights)), rel=1e-5)


def test_rules_run_in_order_after_the_guard_has_looked():
    seen = []
    model = Linear()

    def rule(name):
        def apply(net):
            seen.append(name)
            for parameter in net.parameters():
                parameter.grad.nan_to_num_(0.0)

        return apply

    step = stepper(model, rules=[rule("first"), rule("second")])
    before = [parameter.clone() for parameter in model.parameters()]
    batch = batch_of(3)
    step.step([batch.with_images(batch.image_UCHW * float("nan"))], lambda part, iteration: part, 4)
    assert seen == ["first", "second"]
    with pytest.raises(ValueError, match="iteration 4"):
        step.check_finite()
    step.step([batch], lambda part, iteration: part, 5)  # blocked too: the first bad one is what is named
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    with pytest.raises(ValueError, match="iteration 4"):
        step.check_finite()
