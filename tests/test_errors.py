"""A mistake of the user's is one line and exit code 2; a fault of ours has its traceback, one line, exit code 1."""

import ast
import logging
import signal
import subprocess
import sys

import pytest
import torch

from fecnet.utils import comm
from fecnet.utils.errors import DataError
from fecnet.utils.files import open_array
from fecnet.utils.program import run_program
from fecnet.utils.terminal import log_to_terminal
from tests.conftest import ROOT
from tests.distributed.ranks import run_ranks
from tests.forked import forked  # noqa: F401  (a fixture)

BROAD = {"ValueError", "Exception", "BaseException"}
# Where more than one parse is tried, by function: what is caught there, and why no narrower class will do.
ALLOWED = {
    "fecnet.encoder.onnx_net.OnnxNet.__call__": "onnxruntime's errors share no class",
    "fecnet.encoder.onnx_net.OnnxNet.__init__": "onnxruntime's errors share no class",
    "fecnet.engine.checkpointer.restore_trainer": "the loaders of a state raise nearly anything for another one",
    "fecnet.engine.checkpointer.load_trainer": "torch.load of a damaged file raises nearly anything",
    "fecnet.export.graph.export_graph": "torch.export raises whatever it met",
    "fecnet.export.int8.make_int8": "onnxruntime's errors share no class",
    "fecnet.export.onnx.onnx_graph": "torch's exporter raises whatever it met",
    "fecnet.faces.decode._decode": "Pillow's readers raise nearly anything",
    "fecnet.faces.decode._open": "Pillow's readers raise nearly anything",
    "fecnet.faces.decode._upright": "Pillow's readers raise nearly anything",
    "fecnet.faces.decode.count_pictures": "Pillow's readers raise nearly anything",
    "fecnet.modeling.backbone.timm_net.TimmNet.__init__": "nets of fixed input size raise various classes",
    "fecnet.modeling.fast_inference._rewritten": "torch.fx traces code of any kind; what fails is called as it is",
    "fecnet.modeling.plain_pickle.load_plain": "torch.load of a damaged file raises nearly anything",
    "fecnet.prepare.web.download._Download._work": "raised again in the main thread",
    "fecnet.prepare.web.pictures._pixels_fault": "Pillow's readers raise nearly anything",
    "fecnet.prepare.web.pictures._image_fault": "Pillow's readers raise nearly anything",
    "fecnet.prepare.web.request._network_faults": "http.client's errors of answers that are none",
    "fecnet.utils.comm.from_main": "raised again once the other ranks know",
    "fecnet.utils.env.why_no_compile": "the compiler's errors share no class",
    "fecnet.utils.files.read_arrays": "numpy raises nearly anything for a damaged file",
    "fecnet.utils.program._run": "says that it is a fault",
}


def names_of(kind):
    """The classes that a handler or ``suppress`` catches."""
    parts = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return {part.attr if isinstance(part, ast.Attribute) else part.id for part in parts}


def is_broad(kind):
    """A tuple that has a name of its own, such as ``_DAMAGES``, counts as broad."""
    return kind is None or any(name in BROAD or name.isupper() for name in names_of(kind))


def own_names(tree):
    """What a module defines, or imports from this package."""
    found = {"self", "cls"}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fecnet"):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def root_of(node):
    while isinstance(node, (ast.Attribute, ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", "")


def is_one_parse(body, own):
    """One statement that calls nothing of this package: no fault of ours can hide in it."""
    simple = len(body) == 1 and isinstance(body[0], (ast.Assign, ast.AnnAssign, ast.Return))
    return simple and not any(isinstance(node, ast.Call) and root_of(node.func) in own for node in ast.walk(body[0]))


def is_raised_again(handler):
    return isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None


def swallowing(module, tree):
    """The functions that catch broadly around more than one parse."""
    own = own_names(tree)

    def visit(node, name):
        for child in ast.iter_child_nodes(node):
            here = f"{name}.{child.name}" if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else name
            if isinstance(child, ast.Try):
                for handler in child.handlers:
                    narrow = not is_broad(handler.type) or is_raised_again(handler)
                    one_parse = handler.type is not None and not names_of(handler.type) & {"Exception", "BaseException"}
                    if not narrow and not (one_parse and is_one_parse(child.body, own)):
                        yield here
            is_suppress = isinstance(child, ast.Call) and ast.unparse(child.func).endswith("suppress")
            if is_suppress and any(is_broad(kind) for kind in child.args):
                yield here
            yield from visit(child, here)

    yield from visit(tree, module)


def sources():
    for path in sorted((ROOT / "fecnet").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_package_raises_no_bare_value_error_and_swallows_none():
    found = set()
    for module, tree in sources():
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.Raise) and node.exc and root_of(node.exc) in BROAD), (module, node.lineno)
        found |= set(swallowing(module, tree))
    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    ("body", "is_found"),
    [
        ("try:\n        x = int(t)\n    except ValueError:\n        x = 0", False),
        ("try:\n        x = int(t)\n        y = x\n    except ValueError:\n        x = 0", True),
        ("try:\n        x = ours(t)\n    except (OSError, ValueError):\n        x = 0", True),
        ("try:\n        x = int(t)\n    except Exception:\n        x = 0", True),
        ("try:\n        x = int(t)\n    except:\n        x = 0", True),
        ("try:\n        x = ours(t)\n    except BaseException:\n        close()\n        raise", False),
        ("with suppress(ValueError):\n        ours(t)", True),
    ],
)
def test_what_swallows_is_found(body, is_found):
    tree = ast.parse(f"from fecnet.x import ours\ndef f(t):\n    {body}\n")
    assert list(swallowing("m", tree)) == (["m.f"] if is_found else [])


FAULT = "fault: this is a fault of fecnet, please report it with the lines above: fecnet 0."


@pytest.mark.parametrize(
    ("broken", "raised"),
    [
        (lambda: dict(zip("ab", [1], strict=True)), "ValueError: zip()"),
        (lambda: torch.ones(2, 3) @ torch.ones(2, 3), "RuntimeError: "),
    ],
)
def test_a_fault_shows_its_traceback_and_one_line(capsys, broken, raised):
    assert run_program(broken) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2].startswith(raised)
    assert lines[-1].startswith(FAULT)
    assert f"torch {torch.__version__}, Python 3." in lines[-1]


def test_sigterm_ends_a_program_that_has_returned_without_a_traceback():
    """Once it has returned, an exception of a handler would be one of the interpreter's exit."""
    during, before = [], signal.getsignal(signal.SIGTERM)
    assert run_program(lambda: during.append(signal.getsignal(signal.SIGTERM)) or 3) == 3
    with pytest.raises(SystemExit) as ended:
        during[0](signal.SIGTERM, None)
    assert ended.value.code == 143 and signal.getsignal(signal.SIGTERM) is before


def test_the_log_is_on_standard_output_again_after_a_program(capsys):
    run_program(lambda: log_to_terminal(sys.stderr) or 0)
    logging.getLogger("fecnet.test").info("said")
    assert capsys.readouterr() == ("said\n", "")


def test_too_little_memory_is_no_fault(capsys):
    assert run_program(lambda: torch.empty(2**55)) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: out of memory: ")


CHILD = """
import sys
from fecnet.utils.errors import DataError
from fecnet.utils.program import run_program

def run():
    match sys.argv[1]:
        case "key": {}["absent"]
        case "user": raise DataError("x.csv: line 3: 7 columns; allowed: 5")
        case "pipe":
            while True: print("y" * 1000)
    return 0

sys.exit(run_program(run))
"""


def run_child(what):
    command = [sys.executable, "-c", CHILD, what]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_fault_before_torch_is_imported(monkeypatch):
    monkeypatch.delenv("FECNET_COMMAND", raising=False)
    done = run_child("key")
    *traceback, raised, said = done.stderr.splitlines()
    assert (done.returncode, traceback[0], raised) == (1, "Traceback (most recent call last):", "KeyError: 'absent'")
    assert said.startswith(FAULT)
    assert "torch" not in said
    assert said.endswith("; command: python -c key")


def test_a_mistake_is_one_line_and_its_traceback_on_request(monkeypatch):
    done = run_child("user")
    assert (done.returncode, done.stderr) == (2, "error: x.csv: line 3: 7 columns; allowed: 5\n")
    monkeypatch.setenv("FECNET_DEBUG", "1")
    done = run_child("user")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "Traceback (most recent call last):")
    assert done.stderr.endswith("\nerror: x.csv: line 3: 7 columns; allowed: 5\n")


def test_a_reader_that_leaves_ends_the_program_without_a_word():
    command = f"{sys.executable} -c '{CHILD.replace(chr(39), chr(34))}' pipe | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("141", "")


def break_on_main(kind):
    """What each rank meets where rank 0 alone raises."""

    def raising():
        raise {"key": KeyError("absent"), "data": DataError("x: absent"), "disk": OSError(28, "No space left", "x")}[
            kind
        ]

    try:
        comm.from_main(raising)
    except Exception as error:
        return type(error).__name__, str(error)


def break_in_turn():
    return [break_on_main(kind) for kind in ("key", "data", "disk")]


def test_what_goes_wrong_on_rank_0_is_raised_on_all():
    mistakes = [("DataError", "x: absent"), ("UserError", "[Errno 28] No space left: 'x'")]
    first, second = run_ranks(2, break_in_turn)
    assert first == [("KeyError", "'absent'"), *mistakes]
    told = "rank 0 failed, see its output: KeyError: 'absent'"
    assert second == [("FaultElsewhereError", told), *mistakes]


RANK = """
import sys
import torch
from fecnet.utils import comm
from fecnet.utils.program import run_program

def run():
    comm.start(torch.device("cpu"), {})
    try:
        comm.from_main(lambda: {}["absent"])
    finally:
        comm.stop()

code = run_program(run)
print("exit", code, flush=True)
sys.exit(code)
"""


@pytest.mark.usefixtures("forked")
def test_a_fault_on_rank_0_ends_all_ranks_with_1(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(RANK)
    command = [sys.executable, "-m", "fecnet.utils.launch", "2", str(script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "exit 1\n" in done.stdout
    assert done.stderr.count("Traceback (most recent call last):") == 1
    assert done.stderr.count(f"KeyError: 'absent'\n{FAULT}") == 1


def test_a_damaged_array_is_an_error_of_the_data(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00damaged")
    with pytest.raises(DataError, match=r"x\.npy: unreadable or truncated"):
        open_array(tmp_path / "x.npy")
