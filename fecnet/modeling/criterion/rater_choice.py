"""Likelihood of each rater's answers, with abilities of the raters learned jointly with the net.

Each rater has one parameter, the ability: the share of answers that follow the net's choice probabilities; the other
answers are guesses among the three faces. A confusion matrix per rater would be meaningless, since the faces of a
triplet have no order; and one parameter can be estimated from few answers, nine cannot.
The abilities are learned by incremental expectation maximisation, not by the optimizer: each update has a closed form
and depends on the number of the rater's answers, not on the learning rate, its schedule or momentum. At the start the
net finds all faces equally likely. Answers then do not distinguish following from guessing, and the abilities stay.
Shape suffixes: B triplets, A answers, R raters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fecnet.modeling.criterion.choice import ChoiceCriterion
from fecnet.structures import Answers, Batch, Outputs
from fecnet.utils import comm

ABILITY = "ability_R"  # name in the criterion's state
_START = 0.7
_PRIOR_ANSWERS = 10.0  # with this many answers, a rater's own answers weigh as much as the mean of all raters
_LIMITS = (0.01, 0.99)  # range of an ability: no rater is assumed to be perfect or to guess always


class RaterChoiceCriterion(ChoiceCriterion):
    """Mean of ``−log P(answer | rater)`` over all answers, each with the weight of its triplet.

    ``P(k | r) = aᵣ · softmaxₖ(−s · d) + (1 − aᵣ) / 3``, with the softmax of ``ChoiceCriterion``, and the
    ability a of the rater instead of a lapse rate. An answer follows the net with the probability
    ``aᵣ · softmaxₖ / P(k | r)`` (E step). Its mean over a rater's answers is a running average over about one pass
    through these answers, shrunk towards the mean of all raters; raters with fewer answers are shrunk more (M step).
    ``begin``, called before each iteration, applies what all ranks and micro-batches found in the previous one.

    Args:
        answers: number of answers of each rater to the triplets trained on; a rater with 0 has the mean ability.
        scale: fixed value of s; 0 = learned.

    Raises:
        ConfigError: a fixed scale outside the limits.
    """

    lapse_rate = 0.0  # guesses are those of the abilities

    answers_R: Tensor
    follow_R: Tensor
    ability_R: Tensor
    found_2R: Tensor

    def __init__(self, answers: Sequence[int], scale: float = 0.0) -> None:
        super().__init__(scale)
        num = len(answers)
        self.register_buffer("answers_R", torch.tensor(list(answers), dtype=torch.float32), persistent=False)
        self.register_buffer("follow_R", torch.full((num,), _START))  # share of the answers that follow the net
        self.register_buffer(ABILITY, torch.full((num,), _START))
        self.register_buffer("found_2R", torch.zeros(2, num))  # in this iteration: answers that follow, and all

    def begin(self, iteration: int) -> None:
        """Update the abilities from the answers of the previous iteration; clamp the scale to its limits."""
        super().begin(iteration)
        with torch.no_grad():
            follow_R, seen_R = self.found_2R
            pace_R = (seen_R / self.answers_R.clamp_min(1)).clamp(max=1)
            self.follow_R += pace_R * (follow_R / seen_R.clamp_min(1) - self.follow_R)
            sum_R = self.answers_R * self.follow_R
            mean = sum_R.sum() / self.answers_R.sum()
            ability_R = (sum_R + _PRIOR_ANSWERS * mean) / (self.answers_R + _PRIOR_ANSWERS)
            self.ability_R.copy_(ability_R.clamp(*_LIMITS))
            self.found_2R.zero_()

    def count(self, batch: Batch) -> dict[str, Tensor]:
        """Sum of the answers' weights."""
        answers, weight_B = _answers_of(batch)
        return {"rater_choice": weight_B.index_select(0, answers.triplet_A).sum()}

    def forward(self, out: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Sum of weight × negative log-likelihood over the batch's answers; a collective."""
        answers, weight_B = _answers_of(batch)
        log_B3 = self.log_probabilities(out, batch)
        log_A = log_B3.index_select(0, answers.triplet_A).gather(1, answers.choice_A[:, None])[:, 0]
        ability_A = self.ability_R.index_select(0, answers.rater_A)
        follow_A = log_A + ability_A.log()
        answer_A = torch.logaddexp(follow_A, ((1 - ability_A) / 3).log())
        self._find((follow_A - answer_A).detach().exp(), answers.rater_A)
        return {"rater_choice": -(answer_A * weight_B.index_select(0, answers.triplet_A)).sum()}

    def _find(self, follow_A: Tensor, rater_A: Tensor) -> None:
        found_2A = torch.stack([follow_A, torch.ones_like(follow_A)])
        self.found_2R += comm.all_reduce_sum(torch.zeros_like(self.found_2R).index_add_(1, rater_A, found_2A))


def _answers_of(batch: Batch) -> tuple[Answers, Tensor]:
    """The answers, and the weights of the triplets."""
    assert batch.triplets is not None and batch.triplets.answers is not None
    return batch.triplets.answers, batch.triplets.weight_B
