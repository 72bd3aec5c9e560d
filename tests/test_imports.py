"""Who may import whom: the rooms of docs/architecture.md, read from the code itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "fecnet"
ALLOWED = {
    "utils": set(),
    "structures": set(),
    "config": {"utils"},
    "layers": {"utils"},
    "faces": {"utils"},
    "prepare": {"faces", "structures", "utils"},
    "data": {"structures", "utils"},
    "evaluation": {"structures", "utils"},
    "solver": {"structures", "utils"},
    "modeling": {"layers", "structures", "utils"},
    "engine": {"structures", "evaluation", "utils"},
    "run_page": {"config", "data", "engine", "evaluation", "structures", "utils"},  # reads what all of these write
    "deploy": {
        "config",
        "layers",
        "faces",
        "data",
        "evaluation",
        "solver",
        "modeling",
        "engine",
        "structures",
        "utils",
    },
    "search": {"data", "deploy", "evaluation", "utils"},
}
ENTRIES = {
    "cli",
    "commands",
    "training",
    "inference",
    "tasks",
    "run_folders",
    "pretraining",
    "pruning",
    "costs",
    "profiling",
    "exporting",
    "reports",
    "compared_runs",
    "comparing",
    "many_runs",
    "cross_validation",
}  # put rooms together, so they may import everything
HEAVY = {
    "matplotlib",
    "sklearn",
    "scipy",
    "tensorboard",
    "faiss",
    "apex",
    "facenet_pytorch",
    "cv2",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "torchvision",
}  # optional, or slow to import: inside functions only


def room_of(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def imported(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "fecnet":
                yield from (f"fecnet.{alias.name}" for alias in node.names)


def sources():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_room_imports_only_what_it_may(path):
    room = room_of(path)
    if room in ENTRIES:
        return
    assert room in ALLOWED, f"{room} is a room nobody drew; add it to docs/architecture.md and here"
    names = [name.split(".") for name in imported(ast.parse(path.read_text()))]
    rooms = {name[1] for name in names if name[0] == "fecnet" and len(name) > 1}
    assert rooms <= ALLOWED[room] | {room}


def test_torch_distributed_has_two_users():
    # launch starts processes and joins none
    allowed = {PACKAGE / "utils" / name for name in ("comm.py", "rendezvous.py", "launch.py")}
    for path in sources():
        if path not in allowed:
            assert "torch.distributed" not in path.read_text().replace("torch.distributed.run", ""), path


def test_optional_packages_are_imported_inside_functions():
    for path in sources():
        top = [node for node in ast.parse(path.read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))]
        for node in top:
            assert not {name.split(".")[0] for name in imported(node)} & HEAVY, path


def test_help_imports_no_torch():
    code = "import sys, fecnet.cli; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_package_imports_no_torch_before_it_is_used():
    code = "import sys, fecnet; fecnet.load; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
