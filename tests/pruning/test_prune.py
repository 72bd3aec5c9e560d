"""From a run trained sparse to a smaller one that is measured, trained on, resumed and pruned again."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from fecnet.config.node import load_config
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.modeling.build import build_model
from fecnet.modeling.cost import count_parameters
from fecnet.pruning import prune
from fecnet.pruning.prune import Goal, prune_run
from fecnet.runs.inference import infer_run
from fecnet.runs.listing import find_runs
from fecnet.runs.training import train_run
from tests.classes import write_recipe
from tests.runs.test_train_run import assert_same_run

NO_NECK = ("MODEL.NECK", "none", "MODEL.NECK_CHANNELS", 512)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a tiny classifier trained sparse, and its recipe; not to be changed."""
    folder = tmp_path_factory.mktemp("slim")
    recipe = write_recipe(folder, "classifier")
    assert train(recipe, "SOLVER.BN_L1", "0.01", "LOG.TENSORBOARD", "true") == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """The run in a folder of this test's own."""
    shutil.copytree(trained / "result" / "classifier", tmp_path / "result" / "classifier")
    return tmp_path / "result" / "classifier"


def train(recipe, *overrides, resume=""):
    base = None if not resume else load_info(find_checkpoint(resume, "last")).config
    cfg = load_config(None if resume else recipe, [str(item) for item in overrides], base)
    return train_run(cfg, recipe=recipe.stem if not resume else "", resume=str(resume))


def parameters(run):
    info = load_info(find_checkpoint(run, "last"))
    return count_parameters(build_model(info.settings(), 1, 3))


def test_scales_are_logged(trained):
    lines = [json.loads(line) for line in (trained / "result/classifier/metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if "scales/mean" in line]
    assert [line["iteration"] for line in logged] == [3, 6]
    weights = load_file(find_checkpoint(trained / "result/classifier", "last") / "model.safetensors")
    scales = torch.cat(
        [
            value.abs()
            for name, value in weights.items()
            if name.removesuffix(".weight") + ".running_mean" in weights and name.endswith(".weight")
        ]
    )
    assert logged[-1]["scales/mean"] == pytest.approx(float(scales.mean()), abs=1e-5)
    assert sum(logged[-1]["scales/histogram"]) == len(scales)
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = event_accumulator.EventAccumulator(str(trained / "result/classifier/tensorboard"), {"histograms": 0})
    events.Reload()
    assert [event.step for event in events.Histograms("scales")] == [3, 6]


def test_sparsity_shrinks_the_scales(trained, tmp_path):
    recipe = trained / "classifier.yaml"
    for name, sparsity in (("plain", 0), ("sparse", 1.0)):
        where = ("OUTPUT_DIR", tmp_path, "NAME", name, "SOLVER.OPTIMIZER", "sgd", "SOLVER.BASE_LR", 0.02)
        train(recipe, *where, "SOLVER.BN_L1", sparsity, "SOLVER.SCHEDULE", "constant")
    weights = [
        load_file(find_checkpoint(tmp_path / name, "last") / "model.safetensors")["backbone.bn1.weight"]
        for name in ("plain", "sparse")
    ]
    # six iterations, momentum 0.9: 0.02 · Σ (1 − 0.9^k) / 0.1
    assert float((weights[0] - weights[1]).mean()) == pytest.approx(0.02 * 15.35, rel=0.3)


def test_a_pruned_run_is_measured_trained_on_and_resumed(run, tmp_path, capsys):
    pruned = prune_run(str(run), Goal(ratio=0.5))
    assert pruned == run.with_name("classifier-pruned") and "BN_L1 0," not in capsys.readouterr().out
    info = load_info(find_checkpoint(pruned, "best"))
    assert info.config["MODEL"]["LAYER_CHANNELS"] and info.pruned["after"]["parameters"] == parameters(pruned)
    assert info.pruned["before"]["parameters"] == parameters(run) > parameters(pruned)
    assert (pruned / "scales.png").stat().st_size > 1000
    assert infer_run(str(pruned))["classes"]["splits"].keys() == {"val", "test"}
    assert {found.name: found.state for found in find_runs(run.parent)} == {
        "classifier": "finished",
        "classifier-pruned": "pruned",
    }
    recipe, tuned = pruned / "config.yaml", run.with_name("classifier-pruned-tuned")
    with pytest.raises(ValueError, match=r"classifier-pruned: pruned and not trained since: nothing to resume; .*yaml"):
        train(recipe, resume=pruned)
    assert train(recipe, "SOLVER.LENGTH", 4, "SOLVER.SCHEDULE", "constant") == 0
    assert train(recipe, "SOLVER.LENGTH", 6, resume=tuned) == 0
    whole = ("NAME", "whole", "SOLVER.SCHEDULE", "constant", "CHECKPOINT.PERIOD", 2)
    assert train(recipe, *whole) == 0
    assert parameters(tuned) == parameters(pruned)
    # stopped at 4 it was measured there too; weights and optimizer are what counts
    states = [
        load_file(find_checkpoint(folder, "last") / "model.safetensors") for folder in (tuned, run.parent / "whole")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    said = load_info(find_checkpoint(tuned, "last")).pretraining
    assert said.startswith("moods, iteration ") and "channels removed" in said
    infer_run(str(tuned))


def test_training_on_starts_from_every_pruned_weight(run):
    pruned = prune_run(str(run), Goal(ratio=0.3))
    still = ("SOLVER.LENGTH", 1, "SOLVER.OPTIMIZER", "sgd", "SOLVER.BASE_LR", 1e-12, "SOLVER.WEIGHT_DECAY", 0)
    assert train(pruned / "config.yaml", *still, "SOLVER.BN_L1", 0) == 0
    start, after = (
        load_file(find_checkpoint(run.with_name(name), "last") / "model.safetensors")
        for name in ("classifier-pruned", "classifier-pruned-tuned")
    )
    for name in start:
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(after[name], start[name])
    assert "head.classifier.weight" in start


def test_faces_that_the_pretrained_net_was_trained_on_are_not_held_out(run, trained, tmp_path):
    """A smaller hold-out, or none before, and its metrics would be on training faces."""
    held = ("DATA.HOLD_OUT", 0.4, "DATA.EVAL_SPLITS", "[hold_out]", "OUTPUT_DIR", tmp_path, "SOLVER.LENGTH", 1)
    assert train(trained / "classifier.yaml", *held, "NAME", "held", "SOLVER.BN_L1", 0.01) == 0
    recipe = prune_run(str(tmp_path / "held"), Goal(ratio=0.3)) / "config.yaml"
    assert train(recipe, "SOLVER.LENGTH", 1) == 0
    said = r"^DATA\.HOLD_OUT: 0\.2; .*safetensors was trained on the same faces with 0\.4 and possibly on .*'hold_out'"
    with pytest.raises(ValueError, match=said):
        train(recipe, "SOLVER.LENGTH", 1, "DATA.HOLD_OUT", 0.2)
    whole = find_checkpoint(run, "last") / "model.safetensors"
    start = ("MODEL.PRETRAINED", whole, "MODEL.PRETRAINED_ON", "moods", "MODEL.PRETRAINED_PARTS", "backbone")
    with pytest.raises(ValueError, match=r"^DATA\.HOLD_OUT: 0\.4; .* with 0\.0 and"):
        train(trained / "classifier.yaml", *held, *start)
    assert train(trained / "classifier.yaml", *start, "OUTPUT_DIR", tmp_path, "NAME", "none", "SOLVER.LENGTH", 1) == 0


def test_the_documented_loop_of_two_commands(run, monkeypatch):
    """Prune, fine-tune, repeat: each round removes a share of what is left."""
    from fecnet.cli.main import main

    monkeypatch.chdir(run.parents[1])
    name, sizes = "result/classifier", [parameters(run)]
    for number in (1, 2):
        assert main(["prune", name, "--ratio", "0.25", "--output", f"result/slim-{number}"]) == 0
        assert main(["train", f"result/slim-{number}/config.yaml", "SOLVER.LENGTH", "2"]) == 0
        name = f"result/slim-{number}-tuned"
        sizes.append(parameters(run.parent / f"slim-{number}-tuned"))
    assert sizes[0] > sizes[1] > sizes[2]
    chain = load_info(find_checkpoint(run.parent / "slim-2-tuned", "last")).pretraining
    assert chain.count("channels removed") == 2


def test_a_pruned_run_is_written_whole_or_not_at_all(run, monkeypatch):
    target = run.with_name("small")

    def full(*_, **__):
        assert not target.exists()  # weights and settings are written, beside it
        raise OSError(28, "no room")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="no room"):
        patched.setattr(prune, "plot_scales", full)
        prune_run(str(run), Goal(ratio=0.5), output=str(target))
    assert sorted(path.name for path in run.parent.iterdir()) == ["classifier"]
    prune_run(str(run), Goal(ratio=0.5), output=str(target))  # and is not in its own way
    assert parameters(target) < parameters(run)


@pytest.mark.parametrize(("goal", "key"), [("parameters", "parameters"), ("macs", "macs")])
def test_targets_are_met(run, goal, key):
    before = load_info(find_checkpoint(prune_run(str(run), Goal(ratio=0.1), output=str(run.with_name("a"))), "last"))
    target = before.pruned["before"][key] // 2
    pruned = prune_run(str(run), Goal(**{goal: target}), output=str(run.with_name("b")))
    after = load_info(find_checkpoint(pruned, "last")).pruned["after"][key]
    assert 0.8 * target < after <= target


def test_costs_and_accuracy_side_by_side(run, tmp_path, capsys):
    from fecnet.cli.main import main

    pruned = prune_run(str(run), Goal(ratio=0.5))
    capsys.readouterr()
    assert main(["costs", str(run), str(pruned), "--seconds", "0", "--json", str(tmp_path / "costs.json")]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 3 and table[2].split()[-1] == "-"  # not measured yet
    whole, half = json.loads((tmp_path / "costs.json").read_text())["runs"]
    assert (whole["parameters"], half["parameters"]) == (parameters(run), parameters(pruned))
    assert whole["times_faster"] == 1 and half["ms"] > 0 and half["file_bytes"] < whole["file_bytes"]
    percent = infer_run(str(pruned))["classes"]["splits"]["val"]["accuracy"]
    assert main(["costs", str(run), str(pruned), "--seconds", "0", "--json", str(tmp_path / "costs.json")]) == 0
    whole, half = json.loads((tmp_path / "costs.json").read_text())["runs"]
    assert half["percent"]["val"] == percent and whole["percent"].keys() == {"val"}
    capsys.readouterr()
    assert main(["costs", str(run), "--seconds", "0", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["parameters"] == whole["parameters"]  # nothing else is there
    assert main(["costs", str(run), "--batch-size", "0"]) == 2
    pytest.importorskip("matplotlib")
    draw = ["costs", str(run), str(pruned), "--seconds", "0", "--plot"]
    assert main([*draw, str(tmp_path / "costs.png")]) == 0
    assert (tmp_path / "costs.png").read_bytes().startswith(b"\x89PNG")
    assert main([*draw, str(tmp_path / "costs.jpg")]) == 2 and "--plot writes a file *.png" in capsys.readouterr().err


def test_costs_compare_nets_not_how_they_were_measured(tmp_path):
    from fecnet.studies.costs import measure_costs

    recipe = write_recipe(tmp_path, "joint")
    assert train(recipe) == 0
    run = tmp_path / "result" / "joint"

    def percent():
        return measure_costs([str(run)], seconds=0)[0]["percent"]

    while_trained = percent()["val"]
    measured = infer_run(str(run))
    assert while_trained == pytest.approx(measured["classes"]["splits"]["val"]["accuracy"], abs=1e-3)  # not triplets
    whole = percent()
    assert whole == {split: found["accuracy"] for split, found in measured["classes"]["splits"].items()}
    infer_run(str(run), overrides=["EVAL.TTA", "flip"])
    assert percent() == {"val": while_trained}


def test_what_was_frozen_stays_whole(trained, tmp_path, capsys):
    """Its scales are those it began with: they say nothing."""
    frozen = ("MODEL.FREEZE_BACKBONE", "true", "SOLVER.BN_L1", 0.01, "SOLVER.LENGTH", 1)
    assert train(trained / "classifier.yaml", *frozen, "OUTPUT_DIR", tmp_path, "NAME", "frozen") == 0
    info = load_info(find_checkpoint(prune_run(str(tmp_path / "frozen"), Goal(ratio=0.5)), "last"))
    assert info.pruned["of"] == 16 and info.pruned["removed"] == 8  # of the neck
    assert info.config["MODEL"]["LAYER_CHANNELS"] == [*info.pruned["widths_before"][:-1], 8]


def test_pruned_twice_all_of_it_is_told(run):
    once = prune_run(str(run), Goal(ratio=0.3))
    twice = prune_run(str(once), Goal(ratio=0.3))
    assert train(twice / "config.yaml", "SOLVER.LENGTH", 1) == 0
    said = load_info(find_checkpoint(run.with_name("classifier-pruned-pruned-tuned"), "last")).pretraining
    assert said.count("channels removed") == 2 and "of classifier-pruned; " in said and "of classifier; " in said


def test_a_checkpoint_that_lies_alone_is_pruned_to_a_place_that_is_named(run, tmp_path):
    alone = shutil.copytree(find_checkpoint(run, "best"), tmp_path / "alone")
    with pytest.raises(ValueError, match="not inside a run"):
        prune_run(str(alone), Goal(ratio=0.5))
    pruned = prune_run(str(alone), Goal(ratio=0.5), output=str(tmp_path / "small"))
    assert "of alone; " in load_config(str(pruned / "config.yaml")).MODEL.PRETRAINED_ON
    with pytest.raises(ValueError, match=r"^MODEL\.LAYER_CHANNELS: \[5\]; .* is not of a pruned net; allowed: empty$"):
        infer_run(str(run), overrides=["MODEL.LAYER_CHANNELS", "[5]"])


def test_inner_leaves_the_sums_of_blocks_whole(run):
    pruned = prune_run(str(run), Goal(ratio=0.5), inner=True)
    assert load_info(find_checkpoint(pruned, "last")).config["MODEL"]["LAYER_CHANNELS"][:4:2] == [8, 16]


def test_what_is_wrong_is_one_line(run, trained, capsys):
    from fecnet.cli.main import main

    for arguments, said in (
        (["--ratio", "0"], "ratio 0; allowed: above 0 and below 1"),
        (["--ratio", "1"], "ratio 1; allowed: above 0 and below 1"),
        (["--ratio", "0.5", "--min-keep", "1"], "least share of a layer 1; allowed: 0 or more, below 1"),
        (["--target-parameters", "3"], "3 target parameters; allowed: "),
        (["--target-macs", "999999999999"], "999,999,999,999 target MACs; allowed: "),
    ):
        assert main(["prune", str(run), *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
        assert not run.with_name("classifier-pruned").exists()
    prune_run(str(run), Goal(ratio=0.5))
    with pytest.raises(ValueError, match=r"classifier-pruned: exists already; give another with --output"):
        prune_run(str(run), Goal(ratio=0.5))
    train(
        trained / "classifier.yaml", "OUTPUT_DIR", run.parent, "NAME", "free", "MODEL.BACKBONE", "inception_nn2",
        "MODEL.BATCH_NORM", "false", *NO_NECK, "MODEL.WIDTH_MULT", 1.0, "MODEL.BLOCKS", [2, 2, 2, 2],
        "SOLVER.LENGTH", 1,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"^MODEL\.BACKBONE: 'inception_nn2' cannot be pruned: it has no batch norm"):
        prune_run(str(run.with_name("free")), Goal(ratio=0.5))
    train(trained / "classifier.yaml", "MODEL.FREEZE_BACKBONE", "true", *NO_NECK, "SOLVER.LENGTH", 1,
          "OUTPUT_DIR", run.parent, "NAME", "stiff")  # fmt: skip
    capsys.readouterr()
    assert main(["prune", str(run.with_name("stiff")), "--ratio", "0.5"]) == 2
    assert re.fullmatch(r"error: no channel may be removed: all are frozen .*\n", capsys.readouterr().err)
    with pytest.raises(ValueError, match=r"SOLVER\.BN_L1: 0\.1; allowed: 0, since no batch norm"):
        train(trained / "classifier.yaml", "SOLVER.BN_L1", 0.1, "MODEL.FREEZE_BACKBONE", "true",
              *NO_NECK, "OUTPUT_DIR", run.parent / "frozen")  # fmt: skip


def test_a_run_that_was_not_trained_sparse_warns_with_the_switch(trained, tmp_path, capsys):
    train(trained / "classifier.yaml", "OUTPUT_DIR", tmp_path, "NAME", "dense", "SOLVER.LENGTH", 1)
    prune_run(str(tmp_path / "dense"), Goal(ratio=0.5))
    assert "trained with SOLVER.BN_L1 0, so its scales do not show which channels" in capsys.readouterr().out


def test_scales_that_hardly_differ_and_layers_nearly_emptied_are_told(run, trained, tmp_path, capsys):
    train(trained / "classifier.yaml", "OUTPUT_DIR", tmp_path, "NAME", "alike", "SOLVER.LENGTH", 1,
          "SOLVER.BN_L1", 1e-4)  # fmt: skip
    prune_run(str(tmp_path / "alike"), Goal(ratio=0.5))
    assert re.search(r"its scales hardly differ \(1 ± 0.0\d+\), .* SOLVER.BN_L1 above 0.0001", capsys.readouterr().out)
    weights = find_checkpoint(run, "best") / "model.safetensors"
    state = load_file(weights)
    for name, value in state.items():
        if name.removesuffix("weight") + "running_mean" in state:
            state[name] = torch.linspace(0.1, 1, len(value)) / (100 if name == "backbone.layer2.0.bn1.weight" else 1)
    save_file(state, weights)
    prune_run(str(run), Goal(ratio=0.5))
    said = capsys.readouterr().out
    assert "hardly differ" not in said and "nearly emptied: backbone.layer2.0.conv1 (1 of 16); " in said


def test_a_pruned_net_opened_with_other_widths_is_refused_with_its_own(run, trained):
    pruned = prune_run(str(run), Goal(ratio=0.5))
    widths = load_info(find_checkpoint(pruned, "last")).config["MODEL"]["LAYER_CHANNELS"]
    shown = str(widths).replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(
        ValueError, match=rf"^MODEL\.LAYER_CHANNELS: empty; .*checkpoints/0 is a net with {shown}; give th"
    ):
        infer_run(str(pruned), overrides=["MODEL.LAYER_CHANNELS", "[]"])
    weights = str(find_checkpoint(pruned, "last") / "model.safetensors")
    start = ("MODEL.PRETRAINED", weights, "MODEL.PRETRAINED_ON", "moods", "OUTPUT_DIR", run.parent, "NAME", "other")
    for parts in ("all", "backbone"):
        with pytest.raises(ValueError, match=r"^MODEL\.LAYER_CHANNELS: \[\]; .* is of a net with \["):
            train(trained / "classifier.yaml", *start, "MODEL.PRETRAINED_PARTS", parts)
    assert train(pruned / "config.yaml", "SOLVER.LENGTH", 1) == 0
    tuned = run.with_name("classifier-pruned-tuned")
    cfg = load_config(base=load_info(find_checkpoint(tuned, "last")).config, overrides=["MODEL.LAYER_CHANNELS", "[]"])
    with pytest.raises(ValueError, match=rf"another 'MODEL\.LAYER_CHANNELS': {shown} there, \[\] given"):
        train_run(cfg, recipe="", resume=str(tuned))


def test_all_parts_must_fit(run, trained):
    weights = find_checkpoint(run, "last") / "model.safetensors"
    start = ("MODEL.PRETRAINED", weights, "MODEL.PRETRAINED_ON", "moods", "MODEL.PRETRAINED_PARTS", "all")
    where = ("OUTPUT_DIR", run.parent, "NAME", "other")
    with pytest.raises(ValueError, match=r"MODEL\.PRETRAINED_PARTS: all, but .* does not fit this net: "):
        train(trained / "classifier.yaml", *start, *where, "MODEL.NECK_CHANNELS", 8)
    with pytest.raises(ValueError, match=r"MODEL\.MEAN: \[0\.25\]; .* has \[0\.5\]"):
        train(trained / "classifier.yaml", *start, *where, "MODEL.MEAN", "[0.25]")
    assert train(trained / "classifier.yaml", *start, *where, "SOLVER.LENGTH", 1) == 0


def test_a_classifier_is_loaded_by_the_names_of_its_classes(run, trained, tmp_path):
    """As many classes in another order have the same shapes: every logit would be another class's."""
    folder = find_checkpoint(run, "last")
    start = ("MODEL.PRETRAINED_ON", "moods", "MODEL.PRETRAINED_PARTS", "all", "OUTPUT_DIR", tmp_path, "NAME", "other")
    shutil.copy(folder / "model.safetensors", tmp_path)
    file = ("MODEL.PRETRAINED", tmp_path / "model.safetensors", "SOLVER.LENGTH", 1)
    with pytest.raises(
        ValueError, match=r"PARTS: all, but no meta\.json beside .* says which classes its classifier has"
    ):
        train(trained / "classifier.yaml", *start, *file)
    info = json.loads((folder / "meta.json").read_text())
    classes = info["classes"]
    (tmp_path / "meta.json").write_text(json.dumps({**info, "classes": classes[::-1]}))
    said = rf"PARTS: all, but the classes of .* are {', '.join(classes[::-1])}; here they are {', '.join(classes)}; "
    with pytest.raises(ValueError, match=said):
        train(trained / "classifier.yaml", *start, *file)
    assert train(trained / "classifier.yaml", *start, *file, "MODEL.PRETRAINED_PARTS", "backbone") == 0


def test_a_sparse_run_resumes_to_the_bit(trained, tmp_path):
    recipe = trained / "classifier.yaml"
    options = ("SOLVER.BN_L1", 0.01, "SOLVER.SCHEDULE", "constant", "EVAL.PERIOD", 2)
    train(recipe, *options, "OUTPUT_DIR", tmp_path, "NAME", "whole")
    train(recipe, *options, "OUTPUT_DIR", tmp_path, "NAME", "parts", "SOLVER.LENGTH", 4)
    train(recipe, "SOLVER.LENGTH", 6, resume=tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_an_averaged_embedding_net_is_pruned_and_trained_on(recipe):
    """Dense block, triplets, and the average of the weights, which is what is pruned."""
    options = (
        "MODEL.NECK",
        "dense_block",
        "SOLVER.EMA_DECAY",
        0.5,
        "SOLVER.BN_L1",
        0.01,
        "LOG.TENSORBOARD",
        "false",
    )
    assert train(recipe, *options) == 0
    run = recipe.parent / "result" / "tiny"
    pruned = prune_run(str(run), Goal(ratio=0.4))
    widths = load_info(find_checkpoint(pruned, "last")).config["MODEL"]["LAYER_CHANNELS"]
    assert len(widths) == 4 + 11
    whole, less = (infer_run(str(path))["triplets"]["splits"]["test"]["fecnet"] for path in (run, pruned))
    assert whole["ALL"]["total"] == less["ALL"]["total"] == 40
    assert train(pruned / "config.yaml", "SOLVER.BN_L1", 0) == 0
    infer_run(str(run.with_name("tiny-pruned-tuned")))
