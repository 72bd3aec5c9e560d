"""Seven triplets with uneven answers of four raters, and training on them as loops in double precision."""

from dataclasses import replace

import torch

from fecnet.structures import Answers

ANSWERS = [  # triplet, rater, choice; rater 3 answers once, triplet 2 has no answer
    *((0, 0, 1), (0, 1, 1), (0, 2, 0), (1, 0, 2), (3, 1, 0), (3, 2, 0), (3, 0, 1), (3, 3, 0)),
    *((4, 0, 2), (5, 0, 0), (5, 1, 0), (5, 2, 2), (6, 2, 1)),
]
ANSWERS_R = [5, 3, 4, 1]  # the numbers above, of rater 0..3
STEPS = 3
RATE = 0.5


def with_answers(batch, first, number):
    """The batch of triplets ``first`` to ``first + number`` with their answers."""
    own = [(t - first, r, k) for t, r, k in ANSWERS if first <= t < first + number]
    columns = torch.tensor(own, dtype=torch.int64).reshape(-1, 3).T
    return replace(batch, triplets=replace(batch.triplets, answers=Answers(*columns)))


def naive_training(model, batch, scale, *, learns=True):
    """Losses, abilities and scale after ``STEPS`` updates of ``model``, in double precision, one answer at a time.

    Args:
        model: of double precision.
        batch: the whole one.
        scale: at the start.
        learns: of the scale.
    """
    log_scale = torch.tensor(float(scale), dtype=torch.float64).log().requires_grad_()
    follow, ability, losses = [0.7] * 4, [0.7] * 4, []
    for _ in range(STEPS):
        embedding = model(batch.image_UCHW.double())["embedding"]
        total, count = 0.0, 0.0
        found = [[] for _ in ANSWERS_R]
        for triplet, rater, choice in ANSWERS:
            e = [embedding[face] for face in batch.triplets.face_B3[triplet].tolist()]
            power = [torch.exp(-log_scale.exp() * (e[i] - e[j]).pow(2).sum()) for i, j in ((1, 2), (0, 2), (0, 1))]
            follows = ability[rater] * power[choice] / sum(power)
            chance = follows + (1 - ability[rater]) / 3
            found[rater].append(float((follows / chance).detach()))
            weight = float(batch.triplets.weight_B[triplet])
            total, count = total - weight * chance.log(), count + weight
        loss = total / count
        parameters = [*model.parameters(), *([log_scale] if learns else [])]
        with torch.no_grad():
            for parameter, gradient in zip(
                parameters, torch.autograd.grad(loss, parameters, materialize_grads=True), strict=True
            ):
                parameter -= RATE * gradient
        losses.append(float(loss.detach()))
        for rater, (values, number) in enumerate(zip(found, ANSWERS_R, strict=True)):
            pace = min(1, len(values) / number)
            follow[rater] += pace * (sum(values) / len(values) - follow[rater])
        mean = sum(number * value for number, value in zip(ANSWERS_R, follow, strict=True)) / sum(ANSWERS_R)
        ability = [
            (number * value + 10 * mean) / (number + 10) for number, value in zip(ANSWERS_R, follow, strict=True)
        ]
    return losses, ability, float(log_scale.detach().exp())
