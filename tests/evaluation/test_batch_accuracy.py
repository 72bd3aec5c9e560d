"""The accuracy of training batches, against counting by hand, however the batches are cut."""

import pytest
import torch
from torch import nn

from fecnet.engine.stepper import Measure, Stepper
from fecnet.evaluation.batch_accuracy import count_correct
from fecnet.modeling.criterion.cross_entropy import CrossEntropyCriterion
from fecnet.solver.gradient_rules import FiniteGuard
from fecnet.solver.schedules import Schedule, constant
from fecnet.structures import Batch

ACCURACY = {"batch_accuracy": Measure(count_correct, 100.0)}


class Shown(nn.Module):
    """Gives its input as logits, so that the test says what is right; the factor is all that is learnt."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, image_NCHW):
        return {"logits": image_NCHW.flatten(1) * self.factor}


def batch_of(called, label):
    """Faces that are called classes ``called`` of three and labelled ``label``."""
    image = torch.eye(3)[called].view(-1, 1, 1, 3)
    return Batch(image, torch.arange(len(label)), torch.arange(len(label)), None, {"label": torch.tensor(label)})


def stepper(**options):
    model = Shown()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    optimizer.param_groups[0]["base_lr"] = 1e-3
    rest = {"rules": [], "average": None, "seed": 0, "precision": torch.float32}
    return Stepper(
        model,
        CrossEntropyCriterion(),
        optimizer,
        Schedule(constant()),
        guard=FiniteGuard("cpu"),
        device=torch.device("cpu"),
        **rest,
        **options,
    )


def keep(batch, iteration):
    return batch


def test_an_absent_label_is_neither_right_nor_wrong():
    right, of = count_correct({"logits": torch.eye(3)}, batch_of([0, 1, 2], [0, 2, -1]))
    assert (right.item(), of.item()) == (1, 2)


def test_what_is_read_is_the_share_over_all_batches_since_the_last_reading():
    step = stepper(measures=ACCURACY)
    step.step([batch_of([0, 1], [0, 1]), batch_of([2, 2, 2], [2, 0, -1])], keep, 1)  # 2 of 2, 1 of 2: two micro-batches
    step.step([batch_of([1], [0])], keep, 2)  # 0 of 1
    assert step.read_terms()["batch_accuracy"] == pytest.approx(100 * 3 / 5)
    step.step([batch_of([1], [1])], keep, 3)
    assert step.read_terms()["batch_accuracy"] == 100


def test_it_stands_in_the_checkpoint_and_is_absent_where_nobody_counts():
    step = stepper(measures=ACCURACY)
    step.step([batch_of([0, 1], [0, 2])], keep, 1)
    later = stepper(measures=ACCURACY)
    later.load_state_dict(step.state_dict())
    later.step([batch_of([0, 1], [0, 1])], keep, 2)
    assert later.read_terms()["batch_accuracy"] == pytest.approx(75)
    silent = stepper()
    silent.step([batch_of([0], [0])], keep, 1)
    assert "batch_accuracy" not in silent.read_terms()
