"""A learned scale that runs away is said once, in one line."""

import logging

import pytest

from fecnet.layers.choice import SCALE_LIMITS
from tests.engine.test_collapse import Training, spaced


@pytest.mark.parametrize(
    ("scales", "said"),
    [
        ([3.0, 99.9, 100.0], "iteration 2: LOSS.CHOICE_SCALE: the learned scale reached 99.9 and is limited to "),
        ([0.3, 0.2, 0.1], "iteration 3: LOSS.CHOICE_SCALE: the learned scale reached 0.1 and is limited to "),
        ([3.0, 50.0, 0.2], ""),
    ],
)
def test_a_scale_that_runs_away_is_said_once(tmp_path, caplog, scales, said):
    training = Training(tmp_path, [1.0] * 3, [spaced(1.0)] * 3)
    trainer = training.trainer
    trainer.stepper.read_terms = lambda: {"loss": 1.0, "choice_scale": scales[trainer.progress.iteration - 1]}
    with caplog.at_level(logging.WARNING, "fecnet"):
        training.run()
    found = [record.getMessage() for record in caplog.records]
    assert len(found) == bool(said)
    if said:
        low, high = SCALE_LIMITS
        assert found[0].startswith(f"{said}{low:g}..{high:g}: the net predicts the choices ") and "\n" not in found[0]
        assert training.state["progress"]["told_of_scale"]
