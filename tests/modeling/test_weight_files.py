"""State dicts under any key, beside anything: the tensors are read, and nothing of the file is executed."""

import argparse
import collections
import contextlib
import enum
import functools
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from easydict import EasyDict
from safetensors.torch import save_file
from torch import nn

from fecnet.modeling.backbone.resnet import ResNet18
from fecnet.modeling.pretrained import load_pretrained
from fecnet.modeling.weight_files import read_state_dicts
from fecnet.utils.errors import UserError

KEYS = ("model_state_dict", "state_dict", "model", "net", "ema", "teacher", "model_ema", "weights", "student", "G")


def make(seed=2):
    torch.manual_seed(seed)
    return ResNet18(width=0.125, blocks=(1,))


def read(tmp_path, content, **options):
    torch.save(content, tmp_path / "file.pth.tar", **options)
    net = make()
    return net, load_pretrained(net, tmp_path / "file.pth.tar")


def assert_is(net, other):
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("key", KEYS)
def test_any_key(tmp_path, key):
    net, report = read(tmp_path, {"epoch": 3, key: make(1).state_dict(), "best_acc": torch.tensor(0.5)})
    assert_is(net, make(1))
    assert report.place == key
    assert f"tensors loaded, of '{key}'" in str(report)


def test_nested_and_in_sequences(tmp_path):
    net, report = read(tmp_path, {"checkpoint": {"nets": [{"bias": torch.ones(1)}, {"net": make(1).state_dict()}]}})
    assert_is(net, make(1))
    assert report.place == "checkpoint.nets.1.net"


def test_the_one_that_covers_the_backbone_is_taken(tmp_path):
    other = ResNet18(width=0.25, blocks=(1,)).state_dict()
    net, report = read(
        tmp_path, {"state_dict": other, "model": {"head.weight": torch.ones(2)}, "x": make(1).state_dict()}
    )
    assert_is(net, make(1))
    assert (report.place, report.others) == ("x", ())


def test_of_several_the_report_says_which_was_taken(tmp_path):
    first = make(1).state_dict()
    content = {"model": first, "ema": make(3).state_dict(), "copy": dict(first)}
    net, report = read(tmp_path, content)
    assert_is(net, make(1))
    assert (report.place, report.others) == ("model", ("ema",))
    assert "\n  fit too, not loaded: ema\n" in str(report)
    both = {f"encoder_q.{name}": value for name, value in first.items()}
    both |= {f"encoder_k.{name}": value for name, value in make(3).state_dict().items()}
    _, report = read(tmp_path, both)
    assert (report.prefix, report.others) == ("encoder_q.", ("encoder_k.",))


class Meter:  # at module level, so that pickle finds it; as the classes of training programs
    def __init__(self):
        self.average, self.values = np.float64(3), [np.ones(2)]


class Settings(dict):
    pass


class Rows(list):
    pass


class Slots:
    __slots__ = ("rate",)

    def __init__(self):
        self.rate = 1


class Kind(enum.Enum):
    FIRST = 1


def beside():
    """What training programs save beside the weights."""
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.ones(8, 3, 7, 7), "exp_avg_sq": torch.ones(8, 3, 7, 7)}
    return {
        "best": np.float64(71.5),
        "curve": np.ones((3, 2)),
        "rows": np.array(["a"]),
        "args": argparse.Namespace(lr=0.1, folder=Path("data"), dtype=torch.float32),
        "recorder": Meter(),
        "settings": EasyDict(a={"b": 1}),
        "own": Settings(x=1),
        "list": Rows([1, 2]),
        "counts": collections.defaultdict(list, {1: [2]}),
        "slots": Slots(),
        "kind": Kind.FIRST,
        "call": functools.partial(int, base=2),
        "classes": {int, Meter},
        "optimizer": {"state": {0: moments, 1: moments}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999)}]},
        "scheduler": {"milestones": collections.Counter([3, 4])},
    }


@pytest.mark.parametrize("is_new", [True, False])
def test_objects_beside_the_tensors_are_left_out(tmp_path, is_new):
    content = {**beside(), "net": {f"module.{name}": value for name, value in make(1).state_dict().items()}}
    net, report = read(tmp_path, content, _use_new_zipfile_serialization=is_new)
    assert_is(net, make(1))
    assert (report.place, report.prefix) == ("net", "module.")


def test_a_mapping_of_another_class_is_read_as_one(tmp_path):
    net, report = read(tmp_path, {"state": EasyDict({"net": Settings(make(1).state_dict())})})
    assert_is(net, make(1))
    assert report.place == "state.net"


class Writes:
    """Would write a file, were what is pickled of it called."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")

    def __eq__(self, other):
        raise AssertionError


def test_nothing_is_executed(tmp_path):
    net, _ = read(tmp_path, {"net": make(1).state_dict(), "x": Writes(tmp_path / "written")})
    assert_is(net, make(1))
    assert not (tmp_path / "written").exists()


# --- refused, or damaged


def refused(path):
    with pytest.raises(ValueError) as error:
        load_pretrained(make(), path)
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith(f"{path}: refused, not damaged: ")
    return said.removeprefix(f"{path}: refused, not damaged: ")


def execute(said, monkeypatch, folder):
    """Run the lines that the message gives, and return what they saved."""
    monkeypatch.chdir(folder)
    lines = said.partition("save only its tensors: ")[2]
    exec(lines, {"torch": torch, "pickle": pickle})
    return torch.load(folder / "weights.pt", weights_only=True)


@pytest.mark.parametrize("place", ["", "['model']", "['nets'][1]"])
def test_a_whole_module_is_refused_with_its_class_and_what_to_do(tmp_path, place, monkeypatch):
    net = make(1)
    torch.save({"": net, "['model']": {"model": net}, "['nets'][1]": {"nets": [1, net]}}[place], tmp_path / "file.pt")
    said = refused(tmp_path / "file.pt")
    assert said.startswith("fecnet.modeling.backbone.resnet.ResNet18 is in the way, and reading it would execute code")
    assert f"content = torch.load('file.pt', weights_only=False); torch.save(content{place}.state_dict()" in said
    assert execute(said, monkeypatch, tmp_path).keys() == net.state_dict().keys()
    load_pretrained(make(), tmp_path / "weights.pt")


class Holder:
    def __init__(self, state):
        self.state = state


def test_tensors_in_an_object_are_refused_with_its_class(tmp_path):
    torch.save({"args": argparse.Namespace(), "holder": Holder(make(1).state_dict())}, tmp_path / "file.pt")
    said = refused(tmp_path / "file.pt")
    assert said.startswith(f"{__name__}.Holder is in the way")
    assert said.endswith("torch.save(content[...], 'weights.pt'), with the key of the state dict for ...")


class Blocked:
    def __reduce__(self):
        return os.getcwd, ()


def test_what_torch_does_not_read_is_refused(tmp_path):
    torch.save({"net": make(1).state_dict(), "folder": Blocked()}, tmp_path / "file.pt")
    assert refused(tmp_path / "file.pt").startswith(f"{os.getcwd.__module__}.getcwd is in the way")
    torch.save({"net": make(1).state_dict()}, tmp_path / "four.pt", pickle_protocol=4)
    assert refused(tmp_path / "four.pt").startswith("pickle protocol 4 is in the way")


def test_other_formats_are_refused_with_their_own_lines(tmp_path, monkeypatch):
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"conv1.weight": np.ones(2, np.float32)}))
    said = refused(tmp_path / "plain.pkl")
    assert said.startswith("a plain pickle is in the way")
    assert torch.equal(execute(said, monkeypatch, tmp_path)["conv1.weight"], torch.ones(2))
    with zipfile.ZipFile(tmp_path / "program.pt", "w") as archive:
        archive.writestr("program/data.pkl", pickle.dumps(1))
        archive.writestr("program/constants.pkl", pickle.dumps(()))
    said = refused(tmp_path / "program.pt")
    assert said.startswith("a TorchScript program is in the way")
    assert "torch.jit.load('program.pt'); torch.save(content.state_dict()" in said


@pytest.mark.parametrize("is_new", [True, False])
def test_cut_files_are_damaged(tmp_path, is_new):
    torch.save({"net": make(1).state_dict(), "args": argparse.Namespace()}, tmp_path / "whole.pt",
               _use_new_zipfile_serialization=is_new)  # fmt: skip
    whole = (tmp_path / "whole.pt").read_bytes()
    for length in (0, 1, 2, 300, len(whole) // 2, len(whole) - 10):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(ValueError) as error:
            load_pretrained(make(), tmp_path / "cut.pt")
        said = str(error.value)
        assert said.startswith(f"{tmp_path / 'cut.pt'}: damaged") and "refused" not in said and "\n" not in said, length


def test_a_content_that_holds_itself_ends(tmp_path):
    content = {"net": make(1).state_dict()}
    content["self"] = [content]
    assert_is(read(tmp_path, content)[0], make(1))


def test_a_module_of_parallel_ones_is_told_as_such(tmp_path):
    torch.save(nn.DataParallel(make(1)), tmp_path / "file.pt")
    assert "DataParallel is in the way" in refused(tmp_path / "file.pt")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda tensor: (100 * tensor).to(torch.int8), "is int8"),
        (lambda tensor: tensor > 0, "is bool"),
        (lambda tensor: tensor.to(torch.float8_e4m3fn), "is float8_e4m3fn"),
        (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), "is qint8"),
        (lambda tensor: tensor.to_sparse(), "is sparse float32"),
        (lambda tensor: tensor.to("meta"), "is without values"),
        (lambda tensor: tensor / 0, "has values that are not finite"),
    ],
)
def test_numbers_that_are_no_weights_are_refused(tmp_path, change, seen):
    """Integers and booleans fit by name and shape, and were copied as they are, a hundred times too large."""
    state = make(1).state_dict()
    state["layer1.0.conv1.weight"] = change(state["layer1.0.conv1.weight"])
    with pytest.raises(UserError, match=rf"file.pth.tar: net.layer1.0.conv1.weight {seen}"):
        read(tmp_path, {"net": state})


def test_any_width_of_floats_is_a_weight_beside_copies_of_another(tmp_path):
    state = make(1).state_dict()
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    net, report = read(tmp_path, {"model": half, "ema": state, "low": {n: v.to(torch.int8) for n, v in state.items()}})
    assert torch.equal(net.conv1.weight, state["conv1.weight"].half().float())
    assert (report.place, report.others) == ("model", ("ema", "low"))


def test_what_holds_no_weights_says_so(tmp_path):
    save_file({}, tmp_path / "none.safetensors")
    with pytest.raises(UserError, match=r"none\.safetensors: holds no state dict"):
        load_pretrained(make(), tmp_path / "none.safetensors")


@pytest.mark.parametrize("form", ["zip", "deflated", "before 1.6"])
def test_changed_bytes_are_damage_or_change_nothing_else(tmp_path, form):
    """Other names, versions and flags of an archive's members, broken compression, NUL in the name of a class."""
    content = {"net": {"a": torch.ones(3)}, "args": argparse.Namespace(x=1)}
    torch.save(content, tmp_path / "whole.pt", _use_new_zipfile_serialization=form != "before 1.6")
    if form == "deflated":
        with zipfile.ZipFile(tmp_path / "whole.pt") as old, zipfile.ZipFile(tmp_path / "new.pt", "w", 8) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name))
        (tmp_path / "new.pt").replace(tmp_path / "whole.pt")
    whole, rng = (tmp_path / "whole.pt").read_bytes(), np.random.default_rng(0)
    for place in rng.permutation(len(whole))[:250]:
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.integers(8)
        (tmp_path / "file.pt").write_bytes(changed)
        with contextlib.suppress(UserError):
            read_state_dicts(tmp_path / "file.pt")
