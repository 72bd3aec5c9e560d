"""Network slimming on this machine: costs and accuracy at several ratios, before and after pruning and fine-tuning.

Two nets: VGG19 on FER2013 (config/fer2013_vgg19_cpu.yaml: an eighth of the training faces for 16 epochs, then 20 of
fine-tuning) and the embedding net on FERPlus triplets (config/ferplus.yaml with 1,500 of its 11,000 iterations, then
1,500). The unpruned net is fine-tuned in the same way, so that both have the same budget. Accuracy is that on the
held-out seven eighths of FER2013's training faces, and on FERPlus's PrivateTest. No checkpoint is selected on it, but
VGG19's λ, lengths and fraction of the faces were tuned on these held-out faces at ratio 0.5, which biases that accuracy
upwards. PublicTest and PrivateTest, on which nothing was tuned, are reported too.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.demo import ROOT, run_commands
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.evaluation.drawing import new_figure, save_figure
from fecnet.prepare.synthetic import prepare_synthetic
from fecnet.studies.costs import format_costs, measure_costs

RATIOS = (0.3, 0.5, 0.7)
PICTURE = ROOT / "docs" / "images" / "pruning.png"
_SHORT = ["SOLVER.UNIT", "iteration", "SOLVER.LENGTH", "2", "SOLVER.WARMUP", "0", "SOLVER.BATCH_SIZE", "24"]
_LAST = ("EVAL.PERIOD", "0", "EVAL.BEST_METRIC", "last", "CHECKPOINT.PERIOD", "0")


@dataclass(frozen=True)
class Plan:
    """One net.

    Attributes:
        recipe: in config/.
        data: packed data set, and how it is made.
        train: settings of the sparse training.
        tune: settings of the fine-tuning.
        splits: accuracy on the first is reported, on the others recorded besides.
    """

    recipe: str
    data: tuple[str, str]
    train: tuple[str, ...]
    tune: tuple[str, ...]
    splits: tuple[str, ...] = ("private_test",)


PLANS = {
    "vgg19": Plan(
        "config/fer2013_vgg19_cpu.yaml",
        ("datasets/fer2013", "fecnet prepare fer2013 FER2013_FOLDER datasets/fer2013"),
        (),
        ("SOLVER.LENGTH", "20"),
        ("hold_out", "public_test", "private_test"),
    ),
    "embedding": Plan(
        "config/ferplus.yaml",
        ("datasets/ferplus", "fecnet prepare ferplus FER2013_FOLDER datasets/ferplus"),
        ("SOLVER.LENGTH", "1500", "SOLVER.BN_L1", "5e-3"),
        ("SOLVER.LENGTH", "1500"),
    ),
}


def run(*, quick: bool) -> dict[str, Any]:
    """Both nets; a quick run takes two iterations of a narrow VGG19 on drawn faces, one ratio, and draws nothing."""
    for plan in PLANS.values() if not quick else ():
        if not (ROOT / plan.data[0] / "dataset.json").is_file():
            raise SystemExit(f"{plan.data[0]} is absent: {plan.data[1]}")
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data: list[str] = []
        if quick:
            prepare_synthetic(
                folder / "drawn",
                num_train_identities=20,
                num_val_identities=20,
                num_test_identities=20,
                num_train_triplets=300,
                num_val_triplets=60,
                num_test_triplets=60,
                progress=False,
            )
            data = ["DATA.PATH", str(folder / "drawn"), "DATA.REPORT_SPLITS", "[test]"]
        for name, plan in PLANS.items():
            found[name] = _measure(name, plan, folder, data, ratios=(0.5,) if quick else RATIOS)
    if not quick:
        _plot(found, PICTURE)
    return found


def _measure(name: str, plan: Plan, folder: Path, data: list[str], *, ratios: tuple[float, ...]) -> dict[str, Any]:
    """Train sparse; prune at each ratio; fine-tune each net and the one that is not pruned; compare."""
    splits = ("test",) if data else plan.splits
    split = splits[0]
    short = _SHORT if data else []
    if data and name == "vgg19":
        data = [*data, "DATA.LABELS", "synthetic", "DATA.HOLD_OUT", "0", "MODEL.LAYER_CHANNELS", str([8] * 16)]
    where = ["OUTPUT_DIR", str(folder), "DATA.EVAL_SPLITS", f"[{','.join(splits)}]", *_LAST, *data]
    base = folder / name
    wall, _ = run_commands([["train.py", plan.recipe, *where, *plan.train, *short, "NAME", name]])
    whole = str(find_checkpoint(base, "last") / "model.safetensors")
    start = ["MODEL.PRETRAINED", whole, "MODEL.PRETRAINED_PARTS", "all", "MODEL.PRETRAINED_ON", "the same"]
    tune = [*plan.tune, *short, "SOLVER.BN_L1", "0"]
    wall += run_commands([["train.py", plan.recipe, *where, *start, *tune, "NAME", f"{name}-tuned"]])[0]
    runs = [base, folder / f"{name}-tuned"]
    for ratio in ratios:
        pruned = folder / f"{name}-{ratio}"
        wall += run_commands(
            [
                ["-m", "fecnet", "prune", str(base), "--ratio", str(ratio), "--output", str(pruned)],
                ["inference.py", str(pruned), "--split", split],
                ["train.py", f"{pruned}/config.yaml", *tune],
            ]
        )[0]
        runs += [pruned, folder / f"{name}-{ratio}-tuned"]
    costs = measure_costs([str(path) for path in runs])
    for each, path in zip(costs, runs, strict=True):
        each["run"] = path.name
    print(format_costs(costs))
    table = {
        str(ratio): {
            **{key: costs[2 * k + 3][key] for key in ("parameters", "macs", "file_bytes", "ms", "times_faster")},
            "times_fewer_parameters": costs[0]["parameters"] / costs[2 * k + 3]["parameters"],
            "percent_pruned": costs[2 * k + 2]["percent"][split],
            "percent_tuned": costs[2 * k + 3]["percent"][split],
            "widths": list(load_info(find_checkpoint(runs[2 * k + 3], "last")).settings().MODEL.LAYER_CHANNELS),
        }
        for k, ratio in enumerate(ratios)
    }
    half = table["0.5"]
    lost = costs[1]["percent"][split] - half["percent_tuned"]
    print(
        f"{name} at 0.5: {half['times_fewer_parameters']:.2f} times fewer parameters, {half['times_faster']:.2f} times "
        f"faster, {lost:+.2f} points lost against {costs[1]['percent'][split]:.2f} % of the net that is not pruned"
    )
    return {
        "recipe": plan.recipe,
        "split": split,
        "train": list(plan.train),
        "tune": tune,
        "wall_s": round(wall, 1),
        "whole": {key: costs[0][key] for key in ("parameters", "macs", "file_bytes", "ms")}
        | {"percent_sparse": costs[0]["percent"][split], "percent_tuned": costs[1]["percent"][split]},
        "ratios": table,
        "percent_tuned": {
            name: tuned["percent"] for name, tuned in zip(["not pruned", *table], costs[1::2], strict=True)
        },
    }


def _plot(found: dict[str, Any], path: Path) -> None:
    """Accuracy over parameters, a picture of each net; needs the viz extra."""
    figure, every_axes = new_figure(5 * len(found), 4, ncols=len(found), squeeze=False)
    for axes, (name, measured) in zip(every_axes[0], found.items(), strict=True):
        whole, ratios = measured["whole"], measured["ratios"]
        left = [100 / ratio["times_fewer_parameters"] for ratio in ratios.values()]
        axes.axhline(whole["percent_tuned"], color="grey", linestyle=":", label="not pruned, same budget")
        for key, label in (("percent_tuned", "pruned, fine-tuned (ratio: times faster)"), ("percent_pruned", "pruned")):
            axes.plot(left, [ratio[key] for ratio in ratios.values()], marker="o", label=label)
        for x, (ratio, cell) in zip(left, ratios.items(), strict=True):
            said = f"{ratio}: {cell['times_faster']:.1f}×"
            axes.annotate(said, (x, cell["percent_tuned"]), (0, -14), textcoords="offset points", fontsize=8)
        axes.plot(100, whole["percent_tuned"], marker="s", color="grey")
        axes.set(xlabel="parameters left, per cent", ylabel=f"{measured['split']}, per cent", title=name)
        axes.legend()
    save_figure(figure, path)


def main(results: Path = ROOT / "benchmarks" / "results" / "pruning.json") -> None:
    """Draw the picture again from what was recorded."""
    _plot(json.loads(results.read_text())["measured"], PICTURE)


if __name__ == "__main__":
    main()
