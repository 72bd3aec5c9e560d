"""A ``trainer.pt`` that is damaged or of another run or iteration is refused in one line."""

import pytest
import torch

from fecnet.engine.checkpoint import find_checkpoint
from tests.runs.test_train_run import run_folder, train


@pytest.fixture
def file(recipe):
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    return find_checkpoint(run_folder(recipe), "last") / "trainer.pt"


def poison(state):
    first = next(iter(state["optimizer"]["state"].values()))
    next(value for value in first.values() if value.ndim)[0] = float("nan")


DAMAGES = {
    "an iteration that is text": (
        lambda state: state["progress"].update(iteration="x"),
        "'progress.iteration' is 'x'|'iteration' is 'x'; allowed: a whole number",
    ),
    "an unknown progress": (lambda state: state["progress"].update(speed=1), "unknown field 'speed'"),
    "no progress": (lambda state: state.update(progress=[]), r"found \[\]; allowed: a mapping"),
    "another iteration": (lambda state: state["progress"].update(iteration=7), "of iteration 7; meta.json is of 1"),
    "an optimizer of nothing": (lambda state: state.update(optimizer={}), "does not fit this run: "),
    "an optimizer that is a list": (lambda state: state.update(optimizer=[1]), "does not fit this run: "),
    "a schedule that is text": (lambda state: state.update(schedule="x"), "state of another SOLVER.SCHEDULE"),
    "sums that are numbers": (lambda state: state.update(sums={"loss": 3}), "does not fit this run: "),
    "an optimizer that is not finite": (poison, "'optimizer' has values that are not finite"),
}


def test_every_damage_is_one_line(file, recipe):
    whole = torch.load(file, weights_only=True)
    for what, (damage, said) in DAMAGES.items():
        state = torch.load(file, weights_only=True)
        damage(state)
        torch.save(state, file)
        with pytest.raises(ValueError, match=said) as error:
            train(recipe, "SOLVER.LENGTH", 2, resume=str(run_folder(recipe)))
        assert str(error.value).startswith(f"{file}: ") and "\n" not in str(error.value), what
        torch.save(whole, file)
    assert train(recipe, "SOLVER.LENGTH", 2, resume=str(run_folder(recipe))) == 0
