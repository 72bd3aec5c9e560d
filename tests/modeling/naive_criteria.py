"""Every criterion once more, as loops over single numbers in double precision: what the fast ones are compared with.

Each takes the outputs and targets of a whole global batch and returns the mean that is to be minimised.
"""

import math
from fractions import Fraction

import torch

# SPECS: class centroids in the valence-arousal plane
CENTROIDS = {
    "neutral": (-0.0196, -0.0627),
    "happiness": (0.0703, 0.6643),
    "sadness": (-0.2570, -0.6370),
    "surprise": (0.6893, 0.1804),
    "fear": (0.7662, -0.1257),
    "disgust": (0.4573, -0.6937),
    "angry": (0.5668, -0.4527),
    "contempt": (0.5828, -0.5146),
}


def probabilities(logits):
    powers = [torch.exp(logit) for logit in logits]
    return [power / sum(powers) for power in powers]


def number_kept(share, number):
    return max(1, math.floor(Fraction(str(share)) * number))


def cross_entropy(out, targets, *, smoothing=0.0, weights=None, hardest=1.0):
    items = []
    for logits, label in zip(out["logits"], targets["label"].tolist(), strict=True):
        if label < 0:
            continue
        loss = 0.0
        for c, share in enumerate(probabilities(logits)):
            wanted = smoothing / len(logits) + (1 - smoothing if c == label else 0.0)
            loss = loss - wanted * torch.log(share)
        items.append((1.0 if weights is None else weights[label], loss))
    if hardest < 1:
        items.sort(key=lambda item: -(item[0] * item[1]).item())
        items = items[: number_kept(hardest, len(items))]
    return sum(weight * loss for weight, loss in items) / sum(weight for weight, _ in items)


def soft_targets(out, targets):
    losses = []
    for logits, wanted in zip(out["logits"], targets["distribution"].tolist(), strict=True):
        if not math.isnan(wanted[0]):
            losses.append(-sum(q * torch.log(p) for q, p in zip(wanted, probabilities(logits), strict=True)))
    return sum(losses) / len(losses)


def hellinger(out, targets):
    losses = []
    for place, wanted in zip(out["embedding"], targets["distribution"].tolist(), strict=True):
        if not math.isnan(wanted[0]):
            roots = [math.sqrt(share) for share in wanted] + [0.0] * (len(place) - len(wanted))
            losses.append(sum((x - root) ** 2 for x, root in zip(place, roots, strict=True)))
    return sum(losses) / len(losses)


def scn_groups(out, targets, beta):
    """Places of the high and the low group; only images with a label are ranked."""
    places = [place for place, label in enumerate(targets["label"].tolist()) if label >= 0]
    places.sort(key=lambda place: -out["importance"][place].item())
    number = number_kept(beta, len(places))
    return places[:number], places[number:]


def scn_rank(out, targets, *, beta, margin):
    high, low = scn_groups(out, targets, beta)
    if not low:
        return 0.0 * out["importance"].sum()
    means = [sum(out["importance"][place] for place in group) / len(group) for group in (high, low)]
    return (margin - (means[0] - means[1])).clamp(min=0)


def scn_relabels(out, targets, rows, *, beta, margin):
    """New label by row."""
    high, low = scn_groups(out, targets, beta)
    found = {}
    for place in low:
        if all(out["importance"][place] < out["importance"][other] for other in high):
            share = [p.item() for p in probabilities(out["logits"][place])]
            if max(share) - share[targets["label"][place]] > margin:
                found[int(rows[place])] = share.index(max(share))
    return found


def region_bias(out, targets, *, margin):
    losses = []
    for whole, *crops in out["region_importance"]:
        losses.append((margin - (max(crops) - whole)).clamp(min=0))
    return sum(losses) / len(losses)


def frobenius(matrix):
    """Symmetric, zero diagonal, norm 1, from a list of lists of numbers."""
    size = range(len(matrix))
    even = [[0.0 if i == j else (matrix[i][j] + matrix[j][i]) / 2 for j in size] for i in size]
    norm = sum(even[i][j] ** 2 for i in size for j in size) ** 0.5
    return [[even[i][j] / norm for j in size] for i in size]


def centroid_distances(classes):
    return frobenius([[math.dist(CENTROIDS[one], CENTROIDS[other]) for other in classes] for one in classes])


def confusion_distances(confusion):
    size = range(len(confusion))
    return frobenius([[1 - confusion[i][j] / sum(confusion[i]) for j in size] for i in size])


def free_distances(raw_P, num_classes):
    pairs = [(i, j) for i in range(num_classes) for j in range(i + 1, num_classes)]
    matrix = [[torch.zeros((), dtype=torch.float64)] * num_classes for _ in range(num_classes)]
    for (i, j), raw in zip(pairs, raw_P, strict=True):
        matrix[i][j] = matrix[j][i] = torch.log(1 + torch.exp(raw))
    return frobenius(matrix)


def wasserstein(out, targets, distances):
    losses = []
    for logits, label in zip(out["logits"], targets["label"].tolist(), strict=True):
        if label >= 0:
            losses.append(sum(distances[label][c] * share for c, share in enumerate(probabilities(logits))))
    return sum(losses) / len(losses)


def valence_arousal_pairs(out, targets):
    """Found and wanted values of the images that have them, by column."""
    rows = [place for place, wanted in enumerate(targets["valence_arousal"].tolist()) if not math.isnan(wanted[0])]
    columns = []
    for column in (0, 1):
        found = [out["valence_arousal"][row][column] for row in rows]
        columns.append((found, [float(targets["valence_arousal"][row][column]) for row in rows]))
    return columns


def squared_error(out, targets):
    errors = [(f - w) ** 2 for found, wanted in valence_arousal_pairs(out, targets) for f, w in zip(found, wanted)]  # noqa: B905
    return sum(errors) / len(errors)


def discordance(out, targets):
    losses = []
    for found, wanted in valence_arousal_pairs(out, targets):
        number = len(found)
        mean_f, mean_w = sum(found) / number, sum(wanted) / number
        var_f, var_w = sum((f - mean_f) ** 2 for f in found) / number, sum((w - mean_w) ** 2 for w in wanted) / number
        cov = sum((f - mean_f) * (w - mean_w) for f, w in zip(found, wanted, strict=True)) / number
        losses.append(1 - 2 * cov / (var_f + var_w + (mean_f - mean_w) ** 2))
    return sum(losses) / 2
