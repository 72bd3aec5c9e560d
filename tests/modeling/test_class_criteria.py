"""Criteria by hand arithmetic, against torch's own, their distances between classes, and what they refuse."""

import math

import numpy as np
import pytest
import torch

from fecnet.config.node import load_config
from fecnet.evaluation.classification import ClassAccuracy, confusion_text
from fecnet.modeling.criterion.build import build_criterion
from fecnet.modeling.criterion.cross_entropy import CrossEntropyCriterion
from fecnet.modeling.criterion.distances import build_distances
from fecnet.modeling.criterion.global_batch import top_share
from fecnet.modeling.criterion.ran import RegionBiasCriterion
from fecnet.modeling.criterion.registry import CRITERIA
from fecnet.modeling.criterion.soft_targets import SoftTargetCriterion
from fecnet.modeling.criterion.triplet import TripletCriterion
from fecnet.modeling.criterion.valence_arousal import ValenceArousalCriterion, concordance
from fecnet.modeling.criterion.wasserstein import (
    LearnedDistances,
    WassersteinCriterion,
    centroid_distances,
    confusion_distances,
)
from fecnet.modeling.criterion.weighted import WeightedCriteria
from fecnet.structures import Batch
from tests.modeling import naive_criteria as naive

FERPLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")


def batch_of(**targets):
    number = len(next(iter(targets.values())))
    return Batch(torch.zeros(number, 1, 4, 4), torch.arange(number), torch.arange(number), targets=targets)


def test_cross_entropy_is_that_of_torch():
    logits, label = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 7
    weights = torch.linspace(0.5, 2, 7)
    criterion = CrossEntropyCriterion(class_weights=weights.tolist())
    mean = criterion({"logits": logits}, batch_of(label=label))["cross_entropy"]
    mean = mean / criterion.count(batch_of(label=label))["cross_entropy"]
    torch.testing.assert_close(mean, torch.nn.functional.cross_entropy(logits, label, weight=weights))
    smooth = CrossEntropyCriterion(label_smoothing=0.1)({"logits": logits}, batch_of(label=label))["cross_entropy"]
    torch.testing.assert_close(smooth / 50, torch.nn.functional.cross_entropy(logits, label, label_smoothing=0.1))


@pytest.mark.parametrize("number", range(1, 101))
def test_top_share_keeps_as_many_as_the_decimal_says(number):
    value = torch.arange(float(number)).roll(number // 3)
    kept = top_share(value, torch.ones(number, dtype=torch.bool), 0.7)
    assert int(kept.sum()) == naive.number_kept(0.7, number)
    assert value[kept].min() == number - int(kept.sum())


def test_top_share_leaves_absent_items_out_and_keeps_the_first_of_equals():
    value = torch.tensor([9.0, 1, 1, 1, 1])
    present = torch.tensor([False, True, True, True, True])
    assert top_share(value, present, 0.5).tolist() == [False, True, True, False, False]
    assert not top_share(value, torch.zeros(5, dtype=torch.bool), 0.5).any()


def test_region_bias_by_hand():
    importance = torch.tensor([[0.5, 0.51, 0.1, 0.1, 0.1, 0.1], [0.5, 0.6, 0.1, 0.1, 0.1, 0.1], [0.9, *[0.1] * 5]])
    batch = batch_of(label=torch.zeros(3))
    criterion = RegionBiasCriterion(margin=0.02)
    assert criterion.count(batch) == {"region_bias": 3}
    # 0.02 − 0.01, 0 and 0.02 + 0.8
    assert float(criterion({"region_importance": importance}, batch)["region_bias"]) == pytest.approx(0.83, abs=1e-6)


def test_absent_targets_have_no_weight_and_no_gradient():
    logits = torch.randn(3, 4, requires_grad=True)
    out = {"logits": logits, "valence_arousal": logits[:, :2]}
    nan = torch.full((3, 4), torch.nan)
    batch = batch_of(label=torch.full((3,), -1), distribution=nan, valence_arousal=nan[:, :2])
    criteria = (
        CrossEntropyCriterion(hardest=0.7),
        SoftTargetCriterion(),
        WassersteinCriterion(centroid_distances(FERPLUS[:4])),
        ValenceArousalCriterion(),
    )
    for criterion in criteria:
        [(name, total)] = criterion(out, batch).items()
        assert total.item() == 0
        assert criterion.count(batch)[name] == 0
        assert not torch.autograd.grad(total, logits)[0].any()


def test_concordance_of_few_or_equal_values_is_finite():
    for number in (0, 1):
        found = torch.full((3, 2), 0.5, requires_grad=True)
        target = torch.full((3, 2), torch.nan)
        target[:number] = 0.1
        term = ValenceArousalCriterion(ccc=True)({"valence_arousal": found}, batch_of(valence_arousal=target))["ccc"]
        assert term.item() == 0
        assert not torch.autograd.grad(term, found)[0].any()
    same = torch.full((4, 2), 0.3)
    assert not concordance(same, same, torch.ones(4)).any()
    spread = torch.randn(4, 2)
    torch.testing.assert_close(concordance(spread, spread, torch.ones(4)), torch.ones(2))


def check_distances(distance):
    assert torch.equal(distance, distance.T)
    assert not distance.diagonal().any()
    assert distance.norm().item() == pytest.approx(1)
    assert (distance >= 0).all()


def test_distances_are_symmetric_hollow_and_normalised():
    for distance in (centroid_distances(FERPLUS), confusion_distances(np.eye(4) + 1), LearnedDistances(4)()):
        check_distances(distance)
    far, near = centroid_distances(["happy", "sad", "Angry", "disgust"])[[0, 2], [1, 3]].tolist()
    # √(.3273² + 1.3013²) and √(.1095² + .241²)
    assert far / near == pytest.approx(math.hypot(0.3273, 1.3013) / math.hypot(0.1095, 0.2410), rel=1e-5)


def test_classes_that_are_confused_lie_near():
    distance = confusion_distances(np.array([[5, 5, 0], [5, 5, 0], [0, 0, 9]]))
    # the first two are taken for each other in half of the images, never for the third
    assert float(distance[0, 1] / distance[0, 2]) == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["counts.npy", "counts.csv"])
def test_a_confusion_matrix_is_read_from_a_file(tmp_path, name):
    counts = np.arange(9).reshape(3, 3) + 1
    np.save(tmp_path / name, counts) if name.endswith("npy") else np.savetxt(tmp_path / name, counts, delimiter=",")
    found = build_distances("confusion", ["a", "b", "c"], str(tmp_path / name))
    torch.testing.assert_close(found.double(), torch.tensor(naive.confusion_distances(counts.tolist())).double())


def test_a_confusion_matrix_is_matched_by_its_classes(tmp_path, caplog):
    """One of another data set has as many classes in another order: by place, every distance would be another's."""
    counts = np.arange(9).reshape(3, 3) + 1
    (tmp_path / "named.csv").write_text(confusion_text(ClassAccuracy(("c", "a", "b"), counts)))
    found = build_distances("confusion", ["a", "b", "c"], str(tmp_path / "named.csv"))
    torch.testing.assert_close(found, confusion_distances(counts[np.ix_([1, 2, 0], [1, 2, 0])]))
    with pytest.raises(
        ValueError, match=r"^LOSS\.W.*named\.csv': of the classes c, a, b; allowed: a, b, d, in any order$"
    ):
        build_distances("confusion", ["a", "b", "d"], str(tmp_path / "named.csv"))
    np.save(tmp_path / "bare.npy", counts)
    with caplog.at_level("INFO", "fecnet"):
        build_distances("confusion", ["a", "b", "c"], str(tmp_path / "bare.npy"))
    assert "bare.npy: names no classes; its rows and columns are taken for a, b, c" in caplog.text


def test_bad_confusion_matrices_are_one_line(tmp_path):
    cases = {
        "text.csv": ("1,2\n3,x\n", "could not convert string"),
        "shape.csv": ("1,2\n3,4\n", r"shape \(2, 2\); expected \(3, 3\)"),
        "negative.csv": ("1,2,3\n4,-5,6\n7,8,9\n", "finite, 0 or more"),
        "empty.csv": ("1,2,3\n0,0,0\n7,8,9\n", "row 1 is empty"),
        "damaged.npy": ("no array", "unreadable"),
        "nothing.csv": ("\n", r"empty; allowed: a line of numbers"),
    }
    for name, (text, said) in cases.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=said) as raised:
            build_distances("confusion", ["a", "b", "c"], str(tmp_path / name))
        assert str(raised.value).startswith("LOSS.WASSERSTEIN_CONFUSION: ")
        assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="No such file"):
        build_distances("confusion", ["a", "b", "c"], str(tmp_path / "absent.csv"))
    with pytest.raises(ValueError, match=r"LOSS\.WASSERSTEIN_CONFUSION: ''; LOSS\.WASSERSTEIN_COST confusion needs"):
        build_distances("confusion", ["a", "b", "c"])


def test_every_criterion_is_built_by_name():
    numbers = torch.zeros(2, 8)
    batch = batch_of(label=torch.zeros(2, dtype=torch.int64), distribution=numbers, valence_arousal=numbers[:, :2])
    names = ", ".join(name for name in CRITERIA if name not in ("triplet", "choice", "rater_choice"))
    cfg = load_config(
        None, ["LOSS.CRITERIA", f"[{names}]", "LOSS.WEIGHTS", "[1, 1, 1, 1, 1, 1, 1]", "LOSS.CCC", "true"]
    )
    terms = list(build_criterion(cfg, FERPLUS).count(batch))
    wanted = [
        "cross_entropy",
        "soft_targets",
        "hellinger",
        "scn_rank",
        "region_bias",
        "wasserstein",
        "valence_arousal",
        "ccc",
    ]
    assert terms == wanted


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("cross_entropy", {"label_smoothing": 1.0}, "LOSS.LABEL_SMOOTHING: 1.0; allowed"),
        ("cross_entropy", {"hardest": 0.0}, "LOSS.OHEM_RATIO: 0.0; allowed"),
        ("cross_entropy", {"class_weights": [1.0, -2.0]}, r"LOSS.CLASS_WEIGHTS: \[1.0, -2.0\]; allowed"),
        ("scn", {"beta": 1.0}, "LOSS.SCN_BETA: 1.0; allowed"),
        ("scn", {"margin_2": -0.1}, "LOSS.SCN_MARGIN_2: -0.1; allowed"),
        ("ran", {"margin": 2.0}, "LOSS.RAN_MARGIN: 2.0; allowed"),
        ("hellinger", {"classes": FERPLUS, "dimensions": 7}, "MODEL.EMBEDDING_DIM: 7 with criterion 'hellinger' and 8"),
        ("wasserstein", {"classes": FERPLUS, "kind": "fixed"}, "LOSS.WASSERSTEIN_COST: unknown name 'fixed'"),
    ],
)
def test_bad_settings_are_refused(name, options, said):
    with pytest.raises(ValueError, match=said):
        CRITERIA[name].build(**options)


def test_a_class_without_a_centroid_is_named():
    with pytest.raises(ValueError, match=r"class 'bored' has no centroid; known are neutral, happiness"):
        CRITERIA["wasserstein"].build(classes=("neutral", "bored"))


def test_numbers_of_classes_that_disagree_are_a_fault_and_no_loss():
    out, batch = {"logits": torch.zeros(2, 3)}, batch_of(label=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(AssertionError):
        CrossEntropyCriterion(class_weights=[1.0, 2.0])(out, batch)
    with pytest.raises(AssertionError):
        WassersteinCriterion(centroid_distances(FERPLUS))(out, batch)
    with pytest.raises(AssertionError):
        SoftTargetCriterion()(out, batch_of(distribution=torch.zeros(2, 8)))


def test_weighted_criteria_refuse_what_makes_no_sum():
    with pytest.raises(ValueError, match=r"LOSS\.CRITERIA: no name"):
        WeightedCriteria([])
    for weight in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"LOSS\.WEIGHTS"):
            WeightedCriteria([(SoftTargetCriterion(), weight)])
    twice = WeightedCriteria([(CrossEntropyCriterion(), 1.0), (CrossEntropyCriterion(hardest=0.7), 1.0)])
    with pytest.raises(AssertionError, match="two criteria have a term of"):
        twice.count(batch_of(label=torch.zeros(2, dtype=torch.int64)))
    assert WeightedCriteria([(TripletCriterion((0.1, 0.2, 0.2)), 1.0)]).feedback() is None


def test_distances_are_saved_learnt_or_fixed():
    free = WeightedCriteria([(WassersteinCriterion(LearnedDistances(3)), 1.0)])
    assert list(free.state_dict()) == ["criteria.0.free.raw_P"]
    fixed, resumed = (WassersteinCriterion(distances) for distances in (centroid_distances(FERPLUS), torch.zeros(8, 8)))
    resumed.load_state_dict(fixed.state_dict())  # whatever the file says by then
    assert torch.equal(resumed.distance_KK, centroid_distances(FERPLUS))
