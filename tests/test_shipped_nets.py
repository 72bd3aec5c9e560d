"""Nets in the package: found by name, verified, listed, used by every command, and as accurate as their cards say."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from PIL import Image

import fecnet
from benchmarks import card, ship
from benchmarks.card_text import card_text
from benchmarks.sample import count_right, read_sample
from fecnet.cli import net_options
from fecnet.cli.main import main
from fecnet.config.node import load_config, plain
from fecnet.data.packed import PackedDataset
from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.nets import shipped
from fecnet.prepare.labelled.fer2013 import read_fer2013
from fecnet.prepare.writer import PackedWriter
from fecnet.runs.training import train_run
from tests.checkpoints import describe
from tests.classes import RECIPE, SPLITS, labels_of
from tests.conftest import ROOT

FER = ROOT.parent / "shared" / "data" / "fer2013"
WORDS = ("neutral", "happiness", "anger")


def write_set(path):
    """Faces whose brightness tells the class; ``few`` has other words for two of the classes, ``own`` its own."""
    rng = np.random.default_rng(0)
    num = max(rows.stop for rows in SPLITS.values())
    level = 60 + 60 * (np.arange(num) % 3)[:, None, None, None]
    image = np.clip(level + rng.integers(-30, 30, (num, 48, 48, 1)), 0, 255).astype(np.uint8)
    records = [
        {"key": f"{k:03d}", "source": f"x#{k}", "flags": "duplicate_in_train" * (k % 4 == 0)} for k in range(num)
    ]
    with PackedWriter(path, num_faces=num, height=48, width=48, channels=["grey"]) as writer:
        writer.add_faces(image, records)
        for split, rows in SPLITS.items():
            faces = np.stack([rng.permutation(rows)[:3] for _ in range(20)])
            votes = rng.integers(1, 4, (20, 3))
            writer.add_triplets(
                split, faces_T3=faces, odd_T=rng.integers(0, 3, 20), type_T=np.arange(20) % 3, votes_T3=votes
            )
            label_M = labels_of(rows)
            writer.add_labels("mood", split, classes=WORDS, faces_M=np.array(rows), label_M=label_M)
            two_M = np.where(label_M < 1, -1, label_M - 1)
            for name, classes in (("few", ("happy", "angry")), ("own", ("mild", "wild"))):
                writer.add_labels(name, split, classes=classes, faces_M=np.array(rows), label_M=two_M)
        writer.set_sources({"pictures": "abc"})
        writer.set_coverage({"faces": {"read": num, "kept": num}})
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run, and a package with its net shipped twice by the command, under the names of the real ones."""
    folder = tmp_path_factory.mktemp("shipped")
    write_set(folder / "moods")
    (folder / "net.yaml").write_text(
        RECIPE % (folder / "moods", "joint, FEATURE_DIM: 16", "triplet, cross_entropy", "[1.0, 0.5]", folder / "result")
    )
    assert (
        train_run(
            load_config(folder / "net.yaml", ["SOLVER.LENGTH", "4", "NAME", "net", "DATA.EXTRA_LABELS", "[own]"]),
            recipe="net",
        )
        == 0
    )
    (folder / "nets").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "NETS", folder / "nets")
        patch.setitem(ship.ABOUT, "abc", ("moods", "free", "All about moods."))
        patch.setattr(ship, "POINTS", 100.0)  # of a dozen faces
        assert ship.main([str(folder / "result" / "net"), "fecnet-base"]) == 0
    shutil.copytree(folder / "nets" / "fecnet-base", folder / "nets" / "fecnet-small")
    return folder


@pytest.fixture
def nets(place, tmp_path, monkeypatch):
    """That package, and a folder of its own to be in."""
    shutil.copytree(place / "nets", tmp_path / "nets")
    monkeypatch.setattr(shipped, "NETS", tmp_path / "nets")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "nets"


@pytest.fixture
def photo(nets):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)).save("a.png")
    return "a.png"


def refused(capsys, *words):
    assert main(list(map(str, words))) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def test_a_name_loads_a_half_precision_net_that_says_what_the_run_says(place, nets):
    ours, theirs = fecnet.load(place / "result" / "net", device="cpu"), fecnet.load("fecnet-base", device="cpu")
    faces = np.array(PackedDataset(place / "moods").faces_NHWC[:20])
    assert theirs.name == "fecnet-base" and next(theirs.net.model.parameters()).dtype.itemsize == 4
    assert np.allclose(ours.embed(faces), theirs.embed(faces), atol=2e-3)
    state = safetensors.torch.load_file(nets / "fecnet-base" / "model.safetensors")
    assert {value.dtype.itemsize for value in state.values() if value.ndim > 1} == {2}
    full = find_checkpoint(place / "result" / "net", "best") / "model.safetensors"
    assert (nets / "fecnet-base" / "model.safetensors").stat().st_size < 0.65 * full.stat().st_size


def test_a_weight_beyond_half_precision_is_one_line(place, tmp_path, capsys):
    source = tmp_path / "net"
    shutil.copytree(find_checkpoint(place / "result" / "net", "best"), source)
    state = safetensors.torch.load_file(source / "model.safetensors")
    name = next(name for name, value in state.items() if value.ndim > 1)
    state[name][0] = 7e4
    safetensors.torch.save_file(state, source / "model.safetensors")
    said = refused(capsys, "export", source, "--format", "half", "--output", tmp_path / "half")
    assert f"model.safetensors: {name} holds 70000; allowed in half: up to 65504" in said
    assert not (tmp_path / "half").exists()


def test_unknown_names_tell_the_nearest(nets, photo, capsys):
    for name, near in (("fecnet-bsae", "fecnet-base, fecnet-small"), ("fecnet-smal", "fecnet-small, fecnet-base")):
        with pytest.raises(
            ValueError, match=rf"^{name}: no checkpoint here, and no shipped .*; the nearest names: {near}$"
        ):
            fecnet.load(name)
    assert "the nearest names: fecnet-base" in refused(capsys, "embed", "fecnet-bse", "a.png")
    assert "expected a run folder" in refused(capsys, "embed", "result/gone", "a.png")


def test_a_folder_of_that_name_here_is_meant_first(nets, place, tmp_path):
    shutil.copytree(place / "result" / "net", "fecnet-base")
    assert fecnet.load("fecnet-base", device="cpu").name.startswith("fecnet-base/checkpoints/")


@pytest.mark.parametrize("file", ["model.safetensors", "meta.json", "card.json", "sample.npz"])
def test_truncated_and_altered_files_are_told_with_their_checksums(nets, file):
    path = nets / "fecnet-base" / file
    data, expected = path.read_bytes(), hashlib.sha256(path.read_bytes()).hexdigest()
    for damaged in (data[:-5], data[:-1] + b"~"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="truncated or altered") as caught:
            fecnet.load("fecnet-base")
        assert str(caught.value) == (
            f"{path}: truncated or altered: {len(damaged):,} bytes with sha256 {hashlib.sha256(damaged).hexdigest()}; "
            f"shipped with {expected}; install fecnet again"
        )
    path.unlink()
    with pytest.raises(ValueError, match=rf"{file}: no such file, of a shipped net; install fecnet again$"):
        fecnet.load("fecnet-base")
    (nets / "fecnet-base" / "SHA256SUMS").write_text("one word\n \n")
    with pytest.raises(ValueError, match="SHA256SUMS: the checksums of a shipped net cannot be read"):
        fecnet.load("fecnet-base")


def test_a_package_without_nets_says_so(nets, photo, capsys):
    shutil.rmtree(nets / "fecnet-base")
    shutil.rmtree(nets / "fecnet-small")
    (nets / "__pycache__").mkdir()
    with pytest.raises(
        ValueError, match=r"^fecnet-base: no checkpoint here, and this fecnet was built without nets of its"
    ):
        fecnet.load("fecnet-base")
    assert "this fecnet was built without nets" in refused(capsys, "embed", photo)
    assert "this fecnet was built without nets; give commands a run" in refused(capsys, "models")


def test_models_lists_what_the_cards_say(nets, capsys):
    record = json.loads((nets / "fecnet-small" / "card.json").read_text())
    record["name"], record["licence"] = "fecnet-small", "other"
    (nets / "fecnet-small" / "card.json").write_text(json.dumps(record))
    shipped.write_sums(nets / "fecnet-small", ["model.safetensors", "meta.json", "card.json", "sample.npz"])
    assert main(["models"]) == 0
    header, base, small, note = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "MB", "triplets", "classes", "split", "faces/s", "data", "licence"]
    accuracy = record["accuracy"]
    figures = [f"{accuracy[key]:.1f}" for key in ("triplets", "classes")]
    speed = f"{record['faces_per_s']:.0f}"
    assert base.split() == ["fecnet-base", "0.0", *figures, "test", speed, "moods", "free"]
    assert small.split()[0] == "fecnet-small" and small.endswith("other")
    assert note.endswith("without a net, commands use fecnet-base") and record["speed_on"] in note
    assert main(["models", "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["default"] == "fecnet-base" and [net["name"] for net in told["nets"]] == ["fecnet-base", "fecnet-small"]
    keys = {"name", "megabytes", "accuracy", "faces_per_s", "speed_on", "data", "licence"}
    assert all(net.keys() == keys for net in told["nets"])


def test_which_words_are_a_net(nets, place, photo, tmp_path):
    run, onnx = str(place / "result" / "net"), "net.onnx"
    cases = [
        ([photo], "fecnet-base", [photo]),
        ([photo, photo], "fecnet-base", [photo, photo]),
        (["fecnet-small", photo], "fecnet-small", [photo]),
        ([run, photo], run, [photo]),
        ([onnx, photo], onnx, [photo]),
        ([str(place / "moods")], "fecnet-base", [str(place / "moods")]),
        (["0"], "fecnet-base", ["0"]),
        (["gone", photo], "gone", [photo]),
        (["gone.jpg", photo], "fecnet-base", ["gone.jpg", photo]),
    ]
    for words, net, sources in cases:
        options = net_options.argparse.Namespace(words=words)
        assert ([str(path) for path in net_options.take_net(options)], options.net) == (sources, net), words
    with pytest.raises(ValueError, match=r"^fecnet-small: a net; give the pictures too: NET SOURCE$"):
        net_options.take_net(net_options.argparse.Namespace(words=["fecnet-small"]))


def test_commands_without_a_net_use_the_shipped_one(nets, photo, monkeypatch, capsys):
    monkeypatch.setattr("fecnet.watch.watch.why_no_window", lambda: "a test")
    whole = ["--faces", "whole"]
    assert main(["embed", photo, "--device", "cpu", *whole]) == 0
    assert np.allclose(np.load("embeddings.npy"), fecnet.load("fecnet-base", device="cpu").embed(photo, faces="whole"))
    assert main(["search", "build", photo, "--output", "index", "--kind", "flat", *whole]) == 0
    assert json.loads(Path("index/index.json").read_text())["model"]["name"] == "fecnet-base"
    assert main(["search", "query", "index", photo, "--json", "-", *whole]) == 0
    capsys.readouterr()
    assert main(["watch", photo, *whole]) == 0
    assert main(["odd", photo, photo, photo, *whole]) == 0
    assert main(["analyze", photo, *whole]) == 0
    capsys.readouterr()
    assert main(["watch", "fecnet-small", photo, *whole, "--overwrite"]) == 0
    assert "b.png: one source at a time; given: a.png, b.png" in refused(capsys, "watch", photo, "b.png")


def test_what_is_made_of_a_shipped_net_is_not_in_the_package(nets, place):
    before = sorted(nets.rglob("*"))
    assert main(["export", "fecnet-base", "--format", "bundle", "--check", str(place / "moods")]) == 0
    assert fecnet.load("result/fecnet-base-bundle", device="cpu").identity == fecnet.load("fecnet-base").identity
    assert main(["evaluate", "fecnet-base", "DATA.PATH", str(place / "moods"), "--split", "test"]) == 0
    assert json.loads(shipped.results_folder(nets / "fecnet-base").joinpath("evaluation/triplets.json").read_text())
    assert main(["prune", "fecnet-base", "--ratio", "0.3"]) == 0
    assert (shipped.results_folder(nets / "fecnet-base-pruned") / "config.yaml").is_file()
    assert sorted(nets.rglob("*")) == before


def test_the_card_says_what_was_measured_and_nothing_of_this_machine(nets, place):
    folder = nets / "fecnet-base"
    record, info = json.loads((folder / "card.json").read_text()), load_info(folder)
    text = (folder / "README.md").read_text()
    assert text == card_text(record, info)
    for part in ("must not be used for", "All about moods.", "Half precision", "eyes covered", "brightest third"):
        assert part in text
    percent = record["measured"]["test"]["conditions"]["shrunk to 24 pixels"]["mood"]["percent"]
    assert re.search(rf"\| shrunk to 24 pixels \|.*\| {percent:.1f} of ", text)
    written = "".join((folder / name).read_text() for name in ("meta.json", "card.json", "README.md"))
    assert str(place) not in written and "/tmp" not in written
    assert info.settings().DATA.PATH == "datasets/moods"
    (folder / "README.md").write_text("")
    ship.write_cards()
    assert (folder / "README.md").read_text() == text


def test_the_measurement_by_hand(nets, place):
    dataset, info = PackedDataset(place / "moods"), load_info(nets / "fecnet-base")
    encoder = fecnet.load("fecnet-base", device="cpu")
    split = card.read_split(dataset, info, "test")
    measured = card.measure(encoder, split)
    outputs = encoder.encode(np.array(dataset.faces_NHWC[52:64])).outputs
    logits = outputs["logits"]
    label = labels_of(range(52, 64))
    kept = [k for k in range(12) if label[k] >= 0 and (52 + k) % 4]
    right = sum(logits[k].argmax() == label[k] for k in kept)
    told = measured["conditions"]["without copies of training faces"]["mood"]
    assert told == {"percent": pytest.approx(100 * right / len(kept), abs=1e-3), "of": len(kept)}
    two = [k for k in range(12) if label[k] > 0]  # of the label set with two of the classes
    right = sum(logits[k][1:].argmax() == label[k] - 1 for k in two)
    assert measured["conditions"]["all faces"]["few"] == {
        "percent": pytest.approx(100 * right / len(two), abs=1e-3),
        "of": len(two),
    }
    right = sum(
        outputs["logits_own"][k].argmax() == label[k] - 1 for k in two
    )  # of the label set with logits of its own
    assert measured["conditions"]["all faces"]["own"]["percent"] == pytest.approx(100 * right / len(two), abs=1e-3)
    thirds = [measured["conditions"][f"{part} third"]["mood"]["of"] for part in ("darkest", "middle", "brightest")]
    assert sum(thirds) == (label >= 0).sum()


def test_a_run_and_a_shipped_net_are_measured_by_the_command(nets, place, capsys):
    for net in (str(place / "result" / "net"), "fecnet-base"):
        assert card.main([net, "--data", str(place / "moods"), "--json", "measured.json"]) == 0
        measured = json.loads(Path("measured.json").read_text())
        assert f"{'all faces':<32}" in capsys.readouterr().out and measured.keys() == {"val", "test"}
    assert measured == json.loads((nets / "fecnet-base" / "card.json").read_text())["measured"]


def test_paths_of_this_machine_are_not_shipped():
    config = plain(
        load_config(overrides=["DATA.PATH", "/a/b/moods", "OUTPUT_DIR", "/a/runs", "MODEL.PRETRAINED", "/x/y.pt"])
    )
    info = describe(config=config, command="fecnet train demo DATA.PATH /a/b/moods OUTPUT_DIR /a/runs X /c/d 1 / 2")
    cleaned = ship._without_paths(info, Path("/a/b/moods"))
    assert cleaned.command == "fecnet train demo DATA.PATH datasets/moods OUTPUT_DIR result X d 1 / 2"
    settings = cleaned.settings()
    found = (settings.DATA.PATH, settings.OUTPUT_DIR, settings.MODEL.PRETRAINED)
    assert found == ("datasets/moods", "result", "y.pt")


def test_changed_faces_by_hand():
    faces = np.full((1, 48, 48, 1), 200, np.uint8)
    covered = card.cover(faces, *card.COVERED["mouth"])
    assert (covered == card.GREY).sum() == 14 * 26 and covered[0, 31, 11, 0] == card.GREY
    assert (card.cover(np.zeros((1, 96, 96, 1), np.uint8), *card.COVERED["eyes"]) == card.GREY).sum() == 4 * 11 * 38
    assert faces.min() == 200 and (card.shrink(faces, 24) == 200).all()
    faces[:, ::2] = 0  # stripes of a pixel vanish at half the size
    assert card.shrink(faces, 24)[0, 8:-8].std() < 5 < faces.std()


def test_what_cannot_be_shipped_is_one_line(place, nets, monkeypatch):
    run = str(place / "result" / "net")
    with pytest.raises(ValueError, match="fecnet-base: exists already; use --overwrite"):
        ship.ship(run, "fecnet-base")
    with pytest.raises(ValueError, match=r"trained on abc; allowed: data whose licence this command states"):
        ship.ship(run, "other")
    monkeypatch.setitem(ship.ABOUT, "abc", ("moods", "free", "All about moods."))
    monkeypatch.setattr(ship, "POINTS", -1.0)
    with pytest.raises(ValueError, match=r"other: half precision changes an accuracy by .* points; allowed: -1"):
        ship.ship(run, "other")
    assert not (nets / "other").exists()


def test_the_package_has_both_nets_or_none():
    assert shipped.shipped_names() in ([], ["fecnet-base", "fecnet-small"])


@pytest.mark.skipif(not FER.is_dir(), reason="shared/data/fer2013 is absent")
def test_shipped_files_score_what_their_cards_say():
    names = shipped.shipped_names()
    faces_NHWC = read_fer2013(FER).image_NHW[..., None] if names else np.empty(0)
    for name in names:
        folder, encoder = shipped.shipped_net(name), fecnet.load(name, device="cpu")
        assert (folder / "README.md").read_text() == card_text(shipped.read_card(name), load_info(folder))
        found = count_right(encoder, read_sample(folder / shipped.SAMPLE), faces_NHWC)._asdict()
        expected = shipped.read_card(name)["sample"]
        assert all(abs(found[key] - expected[key]) <= 1 for key in expected), (
            name,
            found,
            expected,
        )  # other processors
