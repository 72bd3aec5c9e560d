"""``fecnet export``: every format says of a face what the net says, or is not there."""

import json
import zipfile

import numpy as np
import pytest
import torch

import fecnet
from fecnet.cli.main import main
from fecnet.config.node import load_config
from fecnet.data.packed import PackedDataset
from fecnet.encoder.exported_files import META
from fecnet.engine.checkpoint import find_checkpoint
from fecnet.export import export as exporting
from fecnet.export.agreement import largest_differences, prediction_agreement
from fecnet.runs.training import train_run
from tests.classes import write_recipe
from tests.conftest import ROOT
from tests.nets import train_on

pytest.importorskip("onnx", reason="the extra 'export' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'export' is not installed")
pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
from tests.traced_once import traced_once  # noqa: F401  (a fixture)

pytestmark = pytest.mark.usefixtures("traced_once")

ENDINGS = {"bundle": "", "onnx": ".onnx", "torch": ".pt2", "int8": ".onnx"}
CASES = [("bundle", False), ("onnx", False), ("onnx", True), ("torch", False), ("torch", True), ("int8", True)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def run(place):
    """A joint net that sees each face from two sides, cut and shrunk."""
    recipe = write_recipe(place, "joint")
    options = ["SOLVER.LENGTH", "2", "DATA.CROP", "0.9", "DATA.INPUT_SIZE", "40", "EVAL.TTA", "flip"]
    assert train_run(load_config(recipe, options), recipe="joint") == 0
    return place / "result" / "joint"


@pytest.fixture(scope="module")
def faces(place, run):
    return np.array(PackedDataset(place / "moods").faces_NHWC[:20])


def export(run, kind, output, *arguments):
    return main(["export", str(run), "--format", kind, "--output", str(output), *map(str, arguments)])


@pytest.fixture(scope="module")
def exported(place, run):
    """Each format, written once; what the command printed beside it."""
    made = {}

    def make(kind, raw, capsys):
        if (kind, raw) not in made:
            output = place / "files" / f"{kind}-{raw}{ENDINGS[kind]}"
            code = export(run, kind, output, *(["--raw"] if raw else []))
            captured = capsys.readouterr()
            assert code == 0, captured.err
            made[kind, raw] = output, captured.out
        return made[kind, raw]

    return make


@pytest.mark.parametrize(("kind", "raw"), CASES)
def test_each_format_is_used_like_the_run(kind, raw, exported, run, faces, capsys, tmp_path):
    path, said = exported(kind, raw, capsys)
    ours, theirs = fecnet.load(run, batch_size=7), exporting.FORMATS[kind].open(path)
    assert theirs.classes == ours.classes and theirs.face_shape == ours.face_shape and theirs.channels == ours.channels
    assert (theirs.identity == ours.identity) == (kind == "bundle")
    outputs, status = theirs.encode([faces[0], tmp_path / "gone.png", *faces[1:]])[:2]
    assert status == ["ok", "missing_file", *["ok"] * 19]
    expected = ours.encode([faces[0], tmp_path / "gone.png", *faces[1:]]).outputs
    assert outputs.keys() == expected.keys()
    for name, value in expected.items():
        assert np.isnan(outputs[name][1]).all()
        difference = np.nanmax(np.abs(outputs[name] - value))
        assert difference <= (0.2 if kind == "int8" else 1e-5) and outputs[name].dtype == np.float32
        assert kind != "int8" or difference > 1e-4  # it does compute in fewer bits
    for number in (1, 3):  # any number of faces
        assert np.allclose(theirs.embed(faces[:number]), outputs["embedding"][[0, 2, 3][:number]], atol=1e-5)
    if kind != "int8":
        assert theirs.odd_one_out(*faces[:3]) == ours.odd_one_out(*faces[:3])
        assert theirs.classify(faces).names == ours.classify(faces).names
    assert "verified on 12 faces of" in said and "split test" in said
    assert kind == "int8" or "triplets 100.00 % of 20, classes 100.00 % of 12" in said
    assert "points lost" in said and "faces/s" in said


def test_files_say_what_they_are_and_nothing_of_this_machine(exported, capsys):
    import onnx

    bundle, onnx_file, program = (exported(kind, False, capsys)[0] for kind in ("bundle", "onnx", "torch"))
    metas = [
        json.loads((bundle / "meta.json").read_text()),
        json.loads({entry.key: entry.value for entry in onnx.load(onnx_file).metadata_props}[META]),
        json.loads(zipfile.ZipFile(program).read(f"archive/extra/{META}")),
    ]
    for meta in metas:
        checked = meta["export"]["checked"]
        assert checked["largest_difference"]["embedding"] <= 1e-5 and checked["percent_alike"]["triplets"] >= 99.9
        assert "12 faces of" in checked["faces"] and meta["config"]["EVAL"]["TTA"] == "flip"
    assert [path.name for path in onnx_file.parent.iterdir() if path.name.startswith(onnx_file.name)] == [
        onnx_file.name
    ]
    assert not list(onnx_file.parent.glob(".*"))
    for data in (onnx_file.read_bytes(), program.read_bytes()):
        assert str(ROOT / "fecnet").encode() not in data and b"models.py" not in data
    card = (bundle / "README.md").read_text()
    for section in (
        "## Data",
        "## Metrics",
        "## Preprocessing",
        "## This export",
        "## Licences",
        "read 64",
        "| val |",
    ):
        assert section in card


def test_torch_opens_the_program_too(exported, run, faces, capsys):
    path, _ = exported("torch", True, capsys)
    with torch.no_grad():
        found = torch.export.load(path).module()(torch.from_numpy(faces))
    assert np.abs(found["embedding"].numpy() - fecnet.load(run).embed(faces)).max() <= 1e-5


def test_the_command_line_embeds_with_a_file(exported, place, run, capsys, tmp_path, monkeypatch):
    path, _ = exported("onnx", False, capsys)
    monkeypatch.chdir(tmp_path)
    assert main(["embed", str(path), str(place / "moods"), "--output", "v.npy"]) == 0
    dataset = PackedDataset(place / "moods")
    assert np.abs(np.load("v.npy") - fecnet.load(run).embed(dataset.faces_NHWC)).max() <= 1e-5


@pytest.mark.parametrize(("kind", "raw"), [("onnx", False), ("torch", False), ("bundle", False)])
def test_a_file_that_sees_otherwise_is_not_left(kind, raw, run, tmp_path, capsys, monkeypatch):
    """As the exporter of torch 2.15 did with Inception's pooling."""
    form = exporting.FORMATS[kind]

    def wrong(path):
        encoder = form.open(path)
        net = encoder.net.model
        encoder.net.model = lambda image: {
            name: value + 2e-5 * (name == "embedding") for name, value in net(image).items()
        }
        return encoder

    monkeypatch.setitem(exporting.FORMATS, kind, form._replace(open=wrong))
    assert export(run, kind, tmp_path / f"net{ENDINGS[kind]}") == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "not written: 'embedding' differs from the net's by more than 1e-05" in line
    assert not list(tmp_path.iterdir())


def test_without_its_data_rendered_faces_are_used_and_told(place, run, tmp_path, capsys, monkeypatch):
    checkpoint = find_checkpoint(run, "best")
    meta = json.loads((checkpoint / "meta.json").read_text())
    meta["config"]["DATA"]["PATH"] = str(tmp_path / "elsewhere")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "alone" / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes())
    assert export(tmp_path / "alone", "bundle", tmp_path / "bundle") == 0
    said = capsys.readouterr().out
    assert "elsewhere: not here, so the file is verified on synthetic faces" in said
    assert "verified on 300 SYNTHETIC faces, no real ones" in said
    assert export(tmp_path / "alone", "int8", tmp_path / "int8.onnx") == 2
    assert "elsewhere: not here, but int8 is calibrated on training faces; give --calibrate" in capsys.readouterr().err
    assert export(tmp_path / "alone", "bundle", tmp_path / "bundle", "--overwrite", "--check", place / "moods") == 0
    assert "verified on 12 faces of" in capsys.readouterr().out


def refused(capsys, *arguments):
    assert main(["export", *map(str, arguments)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    return lines[0]


def test_what_cannot_be_exported_is_one_line(run, exported, tmp_path, capsys):
    onnx_file, _ = exported("onnx", False, capsys)
    meta = json.loads((find_checkpoint(run, "best") / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps({**meta, "format": 99}))
    for kind in ENDINGS:
        said = refused(capsys, tmp_path, "--format", kind)
        assert said.endswith("meta.json: made by a newer fecnet: format 99, this one reads up to 1; upgrade fecnet")
    assert "no checkpoint here" in refused(capsys, tmp_path / "nothing", "--format", "onnx")
    assert "an exported file; allowed: the run" in refused(capsys, onnx_file, "--format", "torch")
    assert "exists already; use --overwrite" in refused(capsys, run, "--format", "onnx", "--output", onnx_file)
    said = refused(capsys, run, "--format", "bundle", "--output", run / "checkpoints" / "2", "--overwrite")
    assert "a folder with files that this command did not make" in said
    assert main(["export", str(run), "--format", "bundle", "--output", str(tmp_path / "mine")]) == 0
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    said = refused(capsys, run, "--format", "bundle", "--output", tmp_path / "mine", "--overwrite")
    assert (
        "a folder with files that this command did not make; it is not replaced" in said
        and (tmp_path / "mine" / "notes.txt").is_file()
    )
    assert "allowed for this format: a file *.pt2" in refused(capsys, run, "--format", "torch", "--output", "a.onnx")
    assert "--raw: a bundle has weights and no graph" in refused(capsys, run, "--format", "bundle", "--raw")


def test_damaged_files_are_one_line(exported, tmp_path, capsys):
    path, _ = exported("onnx", False, capsys)
    whole = path.read_bytes()
    for number, data in enumerate((b"", whole[:-4000], whole[: len(whole) // 2], b"\x80\x04K\x01.")):
        file = tmp_path / f"{number}.onnx"
        file.write_bytes(data)
        with pytest.raises(ValueError, match=rf"{number}\.onnx: ") as caught:
            fecnet.load(file)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"gone\.onnx: no such file"):
        fecnet.load(tmp_path / "gone.onnx")


@pytest.mark.parametrize("name", ["net.pt2", "net.pth", "gone.pt2"])
def test_other_files_are_not_opened_and_the_line_says_what_is(name, tmp_path, monkeypatch):
    """Nothing of a file that ``torch.export.load`` would run is run."""
    monkeypatch.setattr(torch.export, "load", lambda *_, **__: pytest.fail("opened"))
    if not name.startswith("gone"):
        (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=rf"{name}: allowed here: a run or .* with torch\.export\.load") as caught:
        fecnet.load(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_other_onnx_files_and_other_versions_are_told_apart(exported, tmp_path, capsys):
    import onnx

    path, _ = exported("onnx", False, capsys)
    proto = onnx.load(path)
    (entry,) = proto.metadata_props
    onnx.helper.set_model_props(proto, {META: json.dumps({**json.loads(entry.value), "format": 99})})
    onnx.save(proto, tmp_path / "new.onnx")
    with pytest.raises(ValueError, match=r"new\.onnx: made by a newer fecnet: format 99, "):
        fecnet.load(tmp_path / "new.onnx")
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "bare.onnx")
    with pytest.raises(ValueError, match=r"bare\.onnx: has no description of its preprocessing"):
        fecnet.load(tmp_path / "bare.onnx")
    with pytest.raises(ValueError, match="ONNX files run on the CPU here; allowed: auto, cpu"):
        fecnet.load(path, device="cuda")


def test_a_graph_and_a_description_of_two_files_are_told(exported, tmp_path, capsys):
    import onnx

    path, _ = exported("onnx", False, capsys)
    proto = onnx.load(path)
    (entry,) = proto.metadata_props
    info = json.loads(entry.value)
    seen = info["preprocessing"] | {"channels": ["R", "G", "B"]}
    changes = {
        "other": {"kind": "joint", "classes": [*info["classes"], "more"]},
        "grey": {"preprocessing": seen},
    }
    for name, change in changes.items():
        onnx.helper.set_model_props(proto, {META: json.dumps(info | change)})
        onnx.save(proto, tmp_path / f"{name}.onnx")
        with pytest.raises(ValueError, match=rf"{name}\.onnx: its graph (gives|fails)") as error:
            fecnet.load(tmp_path / f"{name}.onnx")
        assert "\n" not in str(error.value)


def test_agreement_by_hand():
    ours = {"embedding": np.array([[0.0], [1.0], [3.0]], np.float32), "logits": np.array([[0, 2], [8, 0.0]])}
    theirs = {"embedding": np.array([[0.0], [1.0], [1.5]], np.float32), "logits": np.array([[1, 2], [7, 7.5]])}
    assert largest_differences(ours, theirs) == {"embedding": 0.5, "logits": 7.5 / 8}  # shares of 3 and of 8
    alike = prediction_agreement(ours, theirs, np.array([[0, 1, 2], [0, 0, 1]]))
    assert (alike["triplets"].same, alike["triplets"].total) == (1, 2)  # of the first, 2 is odd, then 0
    assert (alike["classes"].same, alike["classes"].percent) == (1, 50.0)
    assert largest_differences(ours, {**theirs, "embedding": np.full((3, 1), np.nan)})["embedding"] == float("inf")
    with pytest.raises(ValueError, match="outputs"):
        largest_differences(ours, {"embedding": theirs["embedding"]})


def test_aligned_photos_are_aligned_for_a_file_too(aligned, tmp_path):
    run, _, pictures, _ = aligned
    assert export(run, "onnx", tmp_path / "net.onnx") == 0
    found, status = fecnet.load(tmp_path / "net.onnx").embed(pictures, return_status=True)
    assert status == ["ok"] * 5 and np.abs(found - fecnet.load(run).embed(pictures)).max() <= 1e-5


def test_a_run_of_another_set_is_checked_on_its_faces_alone(place, run, tmp_path, capsys):
    """Where a set lacks the splits, nothing says what is right, and triplets are taken at random."""
    dataset = place / "moods"
    trained = train_on(dataset, tmp_path, "DATA.REPORT_SPLITS", "[train]")
    other = tmp_path / "other"
    other.mkdir()
    for file in dataset.iterdir():
        if file.is_file():
            (other / file.name).write_bytes(file.read_bytes())
    assert export(trained, "bundle", tmp_path / "bundle", "--check", other) == 0
    said = capsys.readouterr().out
    assert "no triplet split 'train'" in said and "so metrics are not computed" in said
    assert "verified on 64 faces of" in said and "triplets 100.00 %" in said and "points lost" not in said
