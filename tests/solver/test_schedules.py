import math

import pytest
import torch
from torch.optim import lr_scheduler

from fecnet.solver.schedules import PlateauSchedule, Schedule, constant, cosine, exponential, multistep, step

OURS_AND_TORCHS = {
    "multistep": (multistep([7, 12, 13], 0.3), lambda o: lr_scheduler.MultiStepLR(o, [7, 12, 13], 0.3)),
    "step": (step(4, 0.5), lambda o: lr_scheduler.StepLR(o, 4, 0.5)),
    "exponential": (exponential(1, 0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
    "cosine": (cosine(20), lambda o: lr_scheduler.CosineAnnealingLR(o, 20)),
    "constant": (constant(), lambda o: lr_scheduler.ConstantLR(o, 1.0)),
}


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


@pytest.mark.parametrize("name", OURS_AND_TORCHS)
def test_factors_equal_torchs_schedulers(name):
    decay, build = OURS_AND_TORCHS[name]
    schedule, sgd = Schedule(decay), optimizer()
    theirs = build(sgd)
    for iteration in range(1, 21):
        assert schedule.factor(iteration) == pytest.approx(sgd.param_groups[0]["lr"], abs=1e-12)
        sgd.step()
        theirs.step()


def test_factors_by_hand():
    two_drops = Schedule(multistep([2, 4], 0.1))
    assert [two_drops.factor(i) for i in range(1, 7)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    half_way = Schedule(cosine(8))
    assert half_way.factor(1) == 1 and half_way.factor(5) == pytest.approx(0.5)
    assert half_way.factor(9) == half_way.factor(100) == 0
    assert Schedule(exponential(10, 0.01)).factor(6) == pytest.approx(0.1)  # half of the way on the log scale


def test_warmup_by_hand():
    schedule = Schedule(constant(), warmup=4, warmup_factor=0.2)
    assert [schedule.factor(i) for i in range(1, 7)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    both = Schedule(step(2, 0.5), warmup=4, warmup_factor=0.2)
    assert [both.factor(i) for i in range(1, 7)] == pytest.approx([0.2, 0.4, 0.3, 0.4, 0.25, 0.25])


def test_pure_schedules_have_no_state_and_ignore_feedback():
    schedule = Schedule(cosine(10))
    before = [schedule.factor(i) for i in (9, 2, 9)]
    schedule.feedback(0.5)
    assert [schedule.factor(i) for i in (9, 2, 9)] == before and before[0] == before[2]
    assert schedule.state_dict() == {}
    schedule.load_state_dict({})


def test_plateau_by_hand():
    schedule = PlateauSchedule(1, 0.5)
    seen = []
    for metric in [0.5, 0.6, 0.6, 0.55, 0.7, 0.7, 0.7, 0.7, 0.7]:
        schedule.feedback(metric)
        seen.append(schedule.factor(1000))
    # a tie is no improvement: two evaluations without a rise reduce, then waiting starts anew
    assert seen == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_plateau_equals_torchs():
    generator = torch.Generator().manual_seed(0)
    metrics = torch.rand(60, generator=generator).tolist()
    schedule, sgd = PlateauSchedule(3, 0.5), optimizer()
    theirs = lr_scheduler.ReduceLROnPlateau(sgd, mode="max", factor=0.5, patience=3, threshold=0.0, eps=0.0)
    for metric in metrics:
        schedule.feedback(metric)
        theirs.step(metric)
        assert schedule.factor(1) == sgd.param_groups[0]["lr"]
    assert schedule.factor(1) < 0.1


def test_plateau_resumes_exactly():
    metrics = [0.1, 0.3, 0.2, 0.2, 0.25, 0.3, 0.1, 0.1]
    whole = PlateauSchedule(1, 0.1, warmup=5)
    for metric in metrics:
        whole.feedback(metric)
    for cut in range(len(metrics) + 1):
        first, second = PlateauSchedule(1, 0.1, warmup=5), PlateauSchedule(1, 0.1, warmup=5)
        for metric in metrics[:cut]:
            first.feedback(metric)
        second.load_state_dict(first.state_dict())
        for metric in metrics[cut:]:
            second.feedback(metric)
        assert second.state_dict() == whole.state_dict()
        assert second.factor(3) == whole.factor(3)


def test_plateau_refuses_nan_and_foreign_state():
    with pytest.raises(ValueError, match="NaN"):
        PlateauSchedule(1, 0.1).feedback(math.nan)
    with pytest.raises(ValueError, match=r"SOLVER\.SCHEDULE.*\[\].*allowed.*best"):
        PlateauSchedule(1, 0.1).load_state_dict({})
    with pytest.raises(ValueError, match=r"SOLVER\.SCHEDULE"):
        Schedule(constant()).load_state_dict(PlateauSchedule(1, 0.1).state_dict())
