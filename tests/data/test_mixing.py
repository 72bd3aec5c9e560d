"""Mixup and CutMix: every mixed face equals that of a loop over positions, whatever the number of processes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fecnet.config.node import load_config
from fecnet.data.build import build_augment, build_labels, build_loader
from fecnet.data.mixing import _beta
from fecnet.data.packed import PackedDataset
from fecnet.data.randomness import uniforms
from fecnet.data.samplers import ClassSampler, RoundSampler
from fecnet.evaluation.batch_accuracy import count_correct
from fecnet.modeling.criterion.build import build_criterion
from fecnet.runs.training import train_run
from fecnet.structures import Batch, Mix
from tests.classes import CLASSES, write_recipe

CPU = torch.device("cpu")
MIXES = {"mixup": (0.4, 0.0), "cutmix": (0.0, 1.0), "both": (0.4, 1.0)}


def settings(folder, kind, mix, *overrides):
    mixup, cutmix = MIXES[mix]
    options = ("AUGMENT.MIXUP", mixup, "AUGMENT.CUTMIX", cutmix, "DATA.EXTRA_LABELS", "[tone]", *overrides)
    return load_config(write_recipe(folder, kind), [str(item) for item in options])


def parts_of(cfg, iteration=3, world_size=1):
    """The augmented micro-batches of all ranks."""
    dataset = PackedDataset(cfg.DATA.PATH)
    triplets = "triplet" in cfg.LOSS.CRITERIA
    target = "distribution" if "soft_targets" in cfg.LOSS.CRITERIA else "label"
    labels = build_labels(cfg, dataset, (target,))
    augment = build_augment(cfg, dataset.channels)
    loaders = (
        build_loader(cfg, dataset, labels, rank=rank, world_size=world_size, device=CPU, triplets=triplets)
        for rank in range(world_size)
    )
    return [augment(batch, iteration) for loader in loaders for batch in loader.gather(iteration)], labels, dataset


def naive_view(cfg, dataset, row, key, iteration):
    """A single face, augmented alone by its key."""
    image = torch.from_numpy(np.array(dataset.faces_NHWC[row])).permute(2, 0, 1)[None]
    alone = Batch(image, torch.tensor([row]), torch.tensor([key]))
    return build_augment(cfg, dataset.channels)(alone, iteration).image_UCHW[0]


def naive_mix(cfg, own, partner, position, iteration):
    """Mixed image and share of the own targets, by the formulas of the two papers."""
    numbers = uniforms(cfg.SEED + 2**31, iteration, torch.tensor([position]), 4)[:, 0].double().tolist()
    choice, quantile, x, y = numbers
    mixup, cutmix = cfg.AUGMENT.MIXUP, cfg.AUGMENT.CUTMIX
    cuts = choice < 0.5 if mixup and cutmix else bool(cutmix)
    share = float(_beta(cutmix if cuts else mixup)(np.array([quantile]))[0])
    if not cuts:
        return share * own + (1 - share) * partner, share
    side = own.shape[-1]
    cut, mixed, pasted = int(side * (1 - share) ** 0.5), own.clone(), 0
    for row in range(side):
        for column in range(side):
            inside = [
                np.floor(np.floor(at * side) - cut / 2) <= place < np.floor(np.floor(at * side) + cut / 2)
                for at, place in ((y, row), (x, column))
            ]
            if all(inside):
                mixed[:, row, column] = partner[:, row, column]
                pasted += 1
    return mixed, 1 - pasted / side**2


@pytest.mark.parametrize("mix", MIXES)
def test_each_face_is_mixed_as_in_a_loop_over_positions(tmp_path, mix):
    cfg = settings(tmp_path, "votes", mix)
    (batch,), labels, dataset = parts_of(cfg)
    rows = ClassSampler(labels.class_M, batch_size=8, seed=cfg.SEED, balance=False).rows(3)
    others = ClassSampler(labels.class_M, batch_size=8, seed=cfg.SEED + 2**32, balance=False).rows(3)
    assert len(batch.image_UCHW) == 8 and not np.array_equal(rows, others)
    for position in range(8):
        row, other = (int(labels.rows_M[items[position]]) for items in (rows, others))
        own, partner = (naive_view(cfg, dataset, *of, 3) for of in ((row, position), (other, position + 2**31)))
        mixed, share = naive_mix(cfg, own, partner, position, 3)
        torch.testing.assert_close(batch.image_UCHW[position], mixed, rtol=0, atol=1e-6)
        assert float(batch.mix.share_N[position]) == pytest.approx(share, abs=1e-6)
        for found, face in ((batch.targets, row), (batch.mix.targets, other)):
            expected = labels.targets(torch.tensor([face]))
            for name, value in expected.items():
                torch.testing.assert_close(found[name][position], value[0], equal_nan=True)


@pytest.mark.parametrize("kind", ["classifier", "joint"])
@pytest.mark.parametrize(("world_size", "accumulate"), [(2, 1), (3, 2)])
def test_shares_of_ranks_and_micro_batches_make_the_mixed_batch(tmp_path, kind, world_size, accumulate):
    more = ("SOLVER.LABELLED_BATCH_SIZE", 2) if kind == "joint" else ()  # fewer than micro-batches: one has none
    whole = parts_of(settings(tmp_path, kind, "both", *more))[0]
    cfg = settings(tmp_path, kind, "both", "SOLVER.GRAD_ACCUM_STEPS", accumulate, *more)
    parts = parts_of(cfg, world_size=world_size)[0]

    def by_position(batches):
        found = {}
        for batch in batches:
            values = zip(batch.of_samples(batch.image_UCHW), batch.mix.share_N, batch.mix.targets["label"], strict=True)
            found |= dict(zip(batch.position_N.tolist(), values, strict=True))
        return [found[position] for position in sorted(found)]

    pairs = list(zip(by_position(whole), by_position(parts), strict=True))
    assert len(pairs) == (26 if kind == "joint" else 8)
    assert all(torch.equal(one, other) for pair in pairs for one, other in zip(*pair, strict=True))


def test_triplets_are_not_mixed(tmp_path):
    more = ("SOLVER.LABELLED_BATCH_SIZE", 30)
    (mixed,), labels, _ = parts_of(settings(tmp_path, "joint", "mixup", *more))
    (plain,), _, _ = parts_of(settings(tmp_path, "joint", "mixup", *more, "AUGMENT.MIXUP", 0))
    assert plain.mix is None and torch.equal(mixed.row_N, plain.row_N)
    one, other = mixed.of_samples(mixed.image_UCHW), plain.of_samples(plain.image_UCHW)
    assert set(mixed.row_N[:24].tolist()) & set(mixed.row_N[24:].tolist())  # else nothing was tested
    assert torch.equal(one[:24], other[:24]) and bool((mixed.mix.share_N[:24] == 1).all())
    assert bool((one[24:] != other[24:]).flatten(1).any(1).float().mean() > 0.9)
    assert (
        mixed.row_N[24:].tolist() == RoundSampler([labels.rows_M], num_items=38, batch_size=30, seed=0).rows(3).tolist()
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("votes", ()),
        ("classifier", ("LOSS.LABEL_SMOOTHING", 0.1)),
        ("joint", ("SOLVER.LABELLED_BATCH_SIZE", 6)),
        ("classifier", ("LOSS.OHEM_RATIO", 0.5)),
    ],
)
def test_the_loss_is_the_mean_over_both_targets(tmp_path, kind, options):
    cfg = settings(tmp_path, kind, "both", *options)
    (batch,), _, _ = parts_of(cfg)
    num, weights = len(batch.position_N), [0.5, 1.0, 2.0]
    out = {"logits": torch.randn(num, 3), "logits_tone": torch.randn(num, 2), "embedding": torch.randn(num, 4)}
    criterion = build_criterion(cfg, CLASSES, class_weights=None if kind == "votes" else weights)
    total, count = criterion(out, batch), criterion.count(batch)

    def naive(logits, name, smoothing=0.0, weights=None, hardest=1.0):
        items = []
        for k in range(num):
            share, log_K = float(batch.mix.share_N[k]), logits[k].double().log_softmax(0)
            loss = weight = 0.0
            for part, targets in ((share, batch.targets), (1 - share, batch.mix.targets)):
                target = targets[name][k]
                if name == "distribution":
                    if target.isnan().any():
                        continue
                    wanted, of_class = target.double(), 1.0
                else:
                    if target < 0:
                        continue
                    wanted = torch.full_like(log_K, smoothing / len(log_K))
                    wanted[target] += 1 - smoothing
                    of_class = 1.0 if weights is None else weights[target]
                loss -= part * of_class * float((wanted * log_K).sum())
                weight += part * of_class
            if weight:
                items.append((loss, weight))
        kept = sorted(items, reverse=True)[: int(hardest * len(items))]
        return sum(loss for loss, _ in kept) / sum(weight for _, weight in kept)

    found = {name: float(total[name] / count[name]) for name in total}
    if kind == "votes":
        assert found["soft_targets"] == pytest.approx(naive(out["logits"], "distribution"), rel=1e-5)
    else:
        scale = 0.5 if kind == "joint" else 1.0
        more = {"smoothing": cfg.LOSS.LABEL_SMOOTHING, "hardest": cfg.LOSS.OHEM_RATIO}
        expected = scale * naive(out["logits"], "label", weights=weights, **more)
        assert found["cross_entropy"] == pytest.approx(expected, rel=1e-5)
    assert found["cross_entropy_tone"] == pytest.approx(naive(out["logits_tone"], "label_tone"), rel=1e-5)


def test_accuracy_counts_both_labels_by_their_shares():
    batch = Batch(
        torch.zeros(3, 1, 8, 8), torch.arange(3), torch.arange(3), targets={"label": torch.tensor([0, 1, -1])}
    )
    mix = Mix(
        key_L=torch.arange(3),
        blend_L2=torch.zeros(3, 2),
        box_L4=torch.zeros(3, 4, dtype=torch.int64),
        share_N=torch.tensor([0.75, 0.5, 0.25]),
        targets={"label": torch.tensor([1, 1, 0])},
    )
    right, total = count_correct({"logits": torch.tensor([[1.0, 0], [0, 1], [1, 0]])}, replace(batch, mix=mix))
    assert (float(right), float(total)) == (0.75 + 1 + 0.75, 1 + 1 + 0.75)


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 3.0, 60.0])
def test_shares_follow_the_beta_distribution(alpha):
    uniform = (np.arange(20_000) + 0.5) / 20_000
    share, drawn = _beta(alpha)(uniform), np.random.default_rng(0).beta(alpha, alpha, 400_000)
    at = np.array([0.02, 0.1, 0.3, 0.5, 0.8, 0.97])
    assert np.abs(np.quantile(drawn, at) - _beta(alpha)(at)).max() < 6e-3
    assert share.mean() == pytest.approx(0.5) and share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=5e-3)


@pytest.mark.parametrize(
    ("kind", "mistake", "said"),
    [
        ("classifier", ("AUGMENT.MIXUP", -0.1), r"AUGMENT\.MIXUP: -0\.1; allowed: 0\.\.100"),
        ("classifier", ("AUGMENT.CUTMIX", 1000), r"AUGMENT\.CUTMIX: 1000\.0; allowed: 0\.\.100"),
        (
            "scn",
            ("AUGMENT.MIXUP", 0.2),
            r"AUGMENT\.MIXUP: 0\.2, .* has 'scn', for which .* of: triplet, .*cross_entropy",
        ),
        ("wasserstein", ("AUGMENT.CUTMIX", 1), r"CUTMIX: 1\.0, but LOSS\.CRITERIA .* has 'wasserstein', for which"),
        ("affect", ("AUGMENT.MIXUP", 0.2), r"has 'valence_arousal', for which targets are not mixed"),
        ("joint", ("AUGMENT.MIXUP", 0.2), r"AUGMENT\.MIXUP: 0\.2, .* no labelled faces join triplets; allowed here: 0"),
    ],
)
def test_what_cannot_be_mixed_is_one_line(tmp_path, kind, mistake, said):
    recipe = write_recipe(tmp_path, kind)
    with pytest.raises(ValueError, match=said) as error:
        train_run(load_config(recipe, [str(item) for item in mistake]), recipe=kind)
    assert "\n" not in str(error.value) and not (tmp_path / "result").exists()
