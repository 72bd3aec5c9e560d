"""Benchmarks that a machine without a GPU cannot measure say so; the page of results tells all and invents nothing."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import boxes, ckplus, gpu, inference_cpu, packing, record, several
from benchmarks.readme import Group, readme
from fecnet.faces.detections import detections
from tests.conftest import ROOT
from tests.forked import forked  # noqa: F401  (a fixture)
from tests.net_fixtures import run  # noqa: F401  (a fixture)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_no_gpu_no_numbers(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu"])
    command.main()
    assert capsys.readouterr().out == "== gpu\nno GPU here: not measured\n"
    assert not list(tmp_path.iterdir())


QUICK = ("loss", "loop", "peers", "step", "data_path", "evaluation", "imports", "growth", "time_to")
QUICK += ("small_maps", "kept_memory")


@pytest.mark.usefixtures("forked")  # all that it starts starts torch
@pytest.mark.parametrize("name", QUICK)
def test_speed_is_measured_in_quick_runs(name):
    """They run and print; only full runs are written down."""
    command_line = [sys.executable, "-m", "benchmarks", name, "--quick"]
    before = {path: path.stat().st_mtime_ns for path in record.RESULTS.iterdir()}
    done = subprocess.run(command_line, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600)
    assert [line[3:] for line in done.stdout.splitlines() if line.startswith("== ")] == [name]
    assert {path: path.stat().st_mtime_ns for path in record.RESULTS.iterdir()} == before


def test_a_checkout_is_compared_with_itself(run):  # noqa: F811
    """Its own processes open the net; as large a memory, the embeddings of the module as it was trained."""
    sides = {"before": ROOT, "now": ROOT}
    found = inference_cpu.compare(sides, dict.fromkeys(sides, run), threads=1, faces=20, rounds=2)
    assert list(found) == ["faces_per_s", "one_face"]
    for row in found.values():
        assert row["times_before"]["runs"] == row["times_before_cpu"]["runs"] == 2
        assert 0.8 < row["peak_mb_over_before"] < 1.25 and 0 <= row["difference"] <= 1e-5
    ways = inference_cpu.means(run, faces=8, rounds=2)
    assert ways.pop("model")["times_model"]["median"] == 1 and len(ways) == 5


def test_the_bare_step_of_the_gpu_benchmark_runs_here(tmp_path):
    gpu.write_random_faces(tmp_path / "random", size=32, num_faces=20, num_triplets=30)
    plan = gpu._quick_plan(gpus=0)
    common = ["DATA.PATH", str(tmp_path / "random"), "DEVICE", "cpu", "MODEL.PRETRAINED", "", *plan.options]
    common += ["DATA.HOLD_OUT", "0", "DATA.EVAL_SPLITS", "[val]"]
    found = gpu.bare_step(plan, common, 32, "fp32", "none")
    assert found["triplets_per_s"] > 0 and found["peak_memory_mb"] is None


def test_the_gap_of_ckplus_protocols_by_hand(capsys, monkeypatch, tmp_path):
    """Without the data set a quick run passes over it, a measurement stops; the gap is one mean minus the other."""
    monkeypatch.setattr(ckplus, "ROOT", tmp_path)
    assert ckplus.run(quick=True) == {}
    assert capsys.readouterr().out == "datasets/ckplus is absent: not measured\n"
    with pytest.raises(SystemExit, match="datasets/ckplus is absent: fecnet prepare ckplus"):
        ckplus.run(quick=False)
    leaking = {"mean": {"accuracy": 96.0, "mean_class_accuracy": 92.5, "macro_f1": 93.0}}
    honest = {"mean": {"accuracy": 91.5, "mean_class_accuracy": 93.0, "macro_f1": 93.0}}
    assert ckplus.gap_to(leaking, honest) == {"accuracy": 4.5, "mean_class_accuracy": -0.5, "macro_f1": 0.0}


def test_packing_without_photos_is_not_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FECNET_FACES", str(tmp_path))
    assert packing.run(quick=True) == {}
    assert capsys.readouterr().out.endswith("is absent: not measured\n")


class Half:
    """Finds a face as wide as half the picture and three quarters as high, in its middle; on black ones none."""

    def detect(self, image_HWC):
        side = len(image_HWC) / 1.5  # without the border
        box_K4 = (np.array([[0.25, 0.125, 0.75, 0.875]]) + 0.25) * side
        num = int(image_HWC.any())
        return detections(box_K4[:num], np.ones(num), np.zeros((num, 5, 2)))


def test_where_boxes_lie_on_pictures_by_hand():
    image_NHW = np.full((3, 48, 48), 100, np.uint8)
    image_NHW[1] = 0
    found = boxes.measure(Half(), image_NHW)
    assert found == {"pictures": 3, "found": 2, "side": 0.75, "side_quartiles": [0.75, 0.75], "centre": [0.5, 0.5]}


HARDWARE = {"commit": "abc", "processor": "Some CPU", "cores": 2, "device": "cpu", "threads": 1}


def write_record(folder, name, measured, **others):
    held = {"command": f"python -m benchmarks {name}", "date": "2026-01-02", "hardware": HARDWARE, "measured": measured}
    held |= others
    (folder / f"{name}.json").write_text(json.dumps(held))


def test_the_committed_page_is_what_the_results_and_recipes_say():
    made = readme(command.GROUPS, record.RESULTS, ROOT / "config")
    assert (record.RESULTS / "README.md").read_text() == made, "write it anew: python -m benchmarks readme"


def test_every_benchmark_and_recipe_stands_on_the_page():
    """The measured ones each in its group, as the list at the top links them; the others at the end."""
    page = (record.RESULTS / "README.md").read_text()
    top, *parts = page.split("\n## ")
    sections = {part.partition("\n")[0]: part for part in parts}
    assert list(sections) == [*(group.title for group in command.GROUPS), "Recipes", "Not measured"]
    for group in command.GROUPS:
        measured = [name for name in group.names if (record.RESULTS / f"{name}.json").is_file()]
        assert re.findall(r"^### (\w+)$", sections[group.title], re.M) == measured
        row = next(line for line in top.splitlines() if line.startswith(f"| **[{group.title}]("))
        assert re.findall(r"\[(\w+)\]\(#\1\)", row) == measured
        assert all(re.search(rf"`python -m benchmarks ([^`]* )?{name}\b", sections[group.title]) for name in measured)
        for name in set(group.names) - set(measured):
            assert f"| {name} | " in sections["Not measured"]
    assert len(set(command.BENCHMARKS)) == len(command.BENCHMARKS)
    for path in (ROOT / "config").glob("*.yaml"):
        assert f"| `config/{path.name}` |" in sections["Recipes"]


def test_every_module_that_measures_is_a_benchmark():
    sources = {path.stem: path.read_text() for path in (ROOT / "benchmarks").glob("*.py")}
    modules = {name for name, source in sources.items() if re.search(r"^def run\(\s*\*,\s*quick", source, re.M)}
    assert modules == set(command.BENCHMARKS)


def test_a_page_of_known_results(tmp_path):
    spread = {"median": 2.0, "min": 1.5, "max": 123456.7, "runs": 3}
    table = {"ours": {"ALL": 50.0}, "theirs": {"ALL": None}}
    measured = {
        "speed": spread,
        "equal": True,
        "dropped": {},
        "percent": table,
        "bare_step": [{"size": 1}, {"size": 2}],
    }
    write_record(tmp_path, "loss", measured)
    write_record(tmp_path, "elsewhere", {"a|b<c": 0.95})
    (tmp_path / "x.yaml").write_text(
        "# A recipe\n# Measured:  12.3 % of\n#            some faces\nSEED: 1\n# Command: no\n"
    )
    groups = [Group("Speed", "How fast?", ("loss", "loop")), Group("Scale", "How large?", ("gpu",))]
    page = readme(groups, tmp_path, tmp_path)
    assert re.findall(r"^##+ (.*)$", page, re.M) == (
        ["Speed", "loss", "Other records", "elsewhere", "Recipes", "Not measured"]
    )
    for line in (
        "| **[Speed](#speed)**: How fast? | [loss](#loss) |",
        "| **[Other records](#other-records)**: ",
        "## Speed\n\nHow fast?\n\n### loss\n",
        "`python -m benchmarks loop` |",
        "`python -m benchmarks gpu` |",
        "`python -m benchmarks loss` · 2026-01-02 · commit abc · Some CPU, 2 cores, cpu, threads 1 · torch ?, Python ?",
        "| speed | 2 (1.5 to 123,457, 3 runs) |\n| equal | yes |\n| dropped | none |\n",
        "| percent | ALL |\n| --- | --- |\n| ours | 50 |\n| theirs | - |\n",
        "| bare step | size |\n| --- | --- |\n| 1 | 1 |\n| 2 | 2 |\n",
        "| a\\|b&lt;c | 0.95 |",
        "| `config/x.yaml` | - | - | 12.3 % of some faces |",
    ):
        assert line in page


def test_nothing_that_was_measured_is_left_off_the_page():
    from benchmarks.readme import _blocks

    measured = {
        "runs": [{"seed": 11, "percent": {"val": 22.5}}, {"seed": 33, "labels": {"wrong": 44}}],
        "confusion": [[55, 66], [77, 88]],
        "differences": [{"name": "a - b", "each": [0.125, 0.25]}, {"name": "a - c"}],
    }
    page = "\n".join(_blocks(measured))
    for value in (11, 22.5, 33, 44, 55, 66, 77, 88, "a - b", 0.125, 0.25, "a - c"):
        assert str(value) in page, value
    with pytest.raises(ValueError, match="mixed 2: 3 among records"):
        list(_blocks({"mixed": [{"a": 1}, 3]}))


@pytest.mark.parametrize(
    ("text", "said"), [("{", "loss.json: not JSON"), ('{"date": 1}', "not a record of a measurement: lacks command")]
)
def test_a_damaged_result_is_named(tmp_path, text, said):
    (tmp_path / "loss.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        readme([Group("Speed", "How fast?", ("loss",))], tmp_path, tmp_path)


def test_a_new_measurement_renews_the_page(monkeypatch, tmp_path):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "run", lambda *, quick: {"triplets_per_s": 7})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu"])
    assert command.main() == 0
    assert "| triplets per s | 7 |" in (tmp_path / "README.md").read_text()
    assert 0 <= record.read(tmp_path / "gpu.json")["wall_s"] < 60


def test_the_time_of_several_is_estimated_from_their_records(tmp_path):
    write_record(tmp_path, "loop", {}, wall_s=31.4)
    write_record(tmp_path, "peers", {}, wall_s=5400.0)
    write_record(tmp_path, "loss", {})  # made before the time was kept
    printed = several.estimate(["loop", "peers", "loss", "gpu"], tmp_path).splitlines()
    assert [line.split(maxsplit=1) for line in printed[1:-1]] == [
        ["loop", "31 s"],
        ["peers", "1 h 30 min"],
        ["loss", "unknown"],
        ["gpu", "unknown"],
    ]
    assert printed[-1] == "in all: 1 h 31 min, and 2 of unknown time"
    assert several.estimate(["loop"], tmp_path).endswith("in all: 31 s")
    assert several.estimate(["loss", "gpu"], tmp_path).endswith("in all: unknown")


def test_all_are_run_after_the_list_of_their_times(monkeypatch, capfd):
    started = []
    monkeypatch.setattr(command, "run_each", lambda names, options: started.append((names, options)) or 0)
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    assert command.main() == 0
    assert started == [(command.BENCHMARKS, [])]
    printed = capfd.readouterr().out.splitlines()
    assert printed[0].startswith(f"{len(command.BENCHMARKS)} benchmarks")
    assert [line.split()[0] for line in printed[1:-1]] == list(command.BENCHMARKS)


PROGRAM = """
import sys
print("ran", *sys.argv[1:], flush=True)
if sys.argv[1] == "loop":
    sys.exit("datasets/x is absent")
if sys.argv[1] == "peers":
    1 / 0
"""


def test_a_benchmark_that_fails_ends_no_other_and_is_named(monkeypatch, tmp_path, capfd):
    """In place of the benchmarks stands a program that refuses one, fails at another and runs the rest."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").touch()
    (tmp_path / "benchmarks" / "__main__.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "loop", "peers", "gpu", "--epochs", "2", "--quick"])
    assert command.main() == 1
    out, err = capfd.readouterr()
    assert out.splitlines() == [f"ran {name} --epochs 2 --quick" for name in ("loop", "peers", "gpu")]
    assert "datasets/x is absent" in err and "ZeroDivisionError" in err
    assert err.splitlines()[-1] == "failed, see above: loop, peers"
    assert several.run_each(["gpu", "loss"], []) == 0
