"""Imports go down only: the layers of docs/architecture.md, read from the code itself."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.conftest import ROOT

# From the lowest to the highest. A module imports its own package and lower layers, never a neighbour of its layer.
LAYERS = (
    {"fecnet.utils"},
    {"fecnet.structures", "fecnet.config", "fecnet.layers", "fecnet.faces", "fecnet.nets"},
    {"fecnet.synthetic", "fecnet.data", "fecnet.evaluation", "fecnet.modeling", "fecnet.solver"},
    {"fecnet.engine", "fecnet.prepare"},
    {"fecnet.encoder"},
    {"fecnet.embed", "fecnet.pruning", "fecnet.web"},
    {"fecnet.runs"},
    {"fecnet.run_page", "fecnet.search", "fecnet.watch", "fecnet.analysis", "fecnet.export", "fecnet.studies"},
    {"fecnet.serve", "fecnet.rate"},
    {"fecnet.cli"},
    {"fecnet", "fecnet.__main__", "benchmarks", "train", "inference"},
)
HEAVY = {
    "matplotlib",
    "pyarrow",
    "sklearn",
    "scipy",
    "tensorboard",
    "faiss",
    "apex",
    "facenet_pytorch",
    "av",
    "cv2",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "pillow_heif",
    "torchvision",
}  # optional, or slow to import: inside functions only


# Imported at the top of their own packages alone, which commands import inside functions.
WEB = {"fastapi", "starlette", "uvicorn", "jinja2", "python_multipart", "pydantic"}
WEB_PACKAGES = {"web", "serve", "rate"}


def module_name(path, root):
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def modules(root):
    """All modules of the package, the benchmarks and the entry points: path by dotted name."""
    paths = [*root.glob("fecnet/**/*.py"), *root.glob("benchmarks/**/*.py"), root / "train.py", root / "inference.py"]
    return {module_name(path, root): path for path in sorted(paths) if path.exists()}


def imported(tree):
    """What is imported anywhere in a module, inside functions too, as dotted names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_graph(root):
    """The modules that each module imports."""
    known = modules(root)
    return {
        name: {module for module in (_module_of(found, known) for found in imported(_parse(path))) if module} - {name}
        for name, path in known.items()
    }


def _parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def _module_of(name, known):
    """The module of ours that ``package.module.attribute`` lies in, or None."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def layer_of(module):
    """The place in LAYERS and the package: ``fecnet.data.labels`` is of ``fecnet.data``."""
    for number, packages in enumerate(LAYERS):
        for package in packages:
            if module == package or (package != "fecnet" and module.startswith(f"{package}.")):
                return number, package
    raise AssertionError(f"{module} is of no layer; add its package to docs/architecture.md and here")


def upward_imports(graph):
    found = []
    for module, targets in graph.items():
        number, package = layer_of(module)
        for target in targets:
            lower, other = layer_of(target)
            if other != package and lower >= number:
                found.append(f"{module} imports {target}")
    return found


def circle(graph):
    """The modules of an import circle, in order; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_every_module_has_a_layer_and_imports_only_lower_ones():
    graph = import_graph(ROOT)
    assert len(graph) > 200  # all of them were read
    assert upward_imports(graph) == []


def test_no_circle():
    assert circle(import_graph(ROOT)) == []


@pytest.fixture
def planted(tmp_path):
    """A small tree with the layout of the checkout."""

    def plant(**sources):
        for name, source in sources.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return import_graph(tmp_path)

    return plant


def test_an_upward_import_is_found_inside_a_function_too(planted):
    graph = planted(
        fecnet__data__labels="def f():\n    from fecnet.engine import trainer\n", fecnet__engine__trainer=""
    )
    assert upward_imports(graph) == ["fecnet.data.labels imports fecnet.engine.trainer"]


def test_a_neighbour_of_the_same_layer_is_found(planted):
    graph = planted(fecnet__data__labels="import fecnet.solver.build\n", fecnet__solver__build="")
    assert upward_imports(graph) == ["fecnet.data.labels imports fecnet.solver.build"]


def test_a_circle_inside_a_package_is_found(planted):
    graph = planted(fecnet__data__a="from fecnet.data.b import x\n", fecnet__data__b="import fecnet.data.a\n")
    assert upward_imports(graph) == []
    assert set(circle(graph)) == {"fecnet.data.a", "fecnet.data.b"}


def test_a_module_of_no_layer_is_found(planted):
    with pytest.raises(AssertionError, match=r"fecnet\.misc is of no layer"):
        upward_imports(planted(fecnet__misc=""))


def package_sources():
    return [path for path in sorted((ROOT / "fecnet").rglob("*.py"))]


def test_torch_distributed_has_two_users():
    # launch starts processes and joins none
    allowed = {ROOT / "fecnet" / "utils" / name for name in ("comm.py", "rendezvous.py", "launch.py")}
    for path in package_sources():
        if path not in allowed:
            assert "torch.distributed" not in path.read_text().replace("torch.distributed.run", ""), path


def test_optional_packages_are_imported_inside_functions():
    for path in package_sources():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                assert not {name.split(".")[0] for name in imported(node)} & HEAVY, path


def test_pages_alone_import_the_packages_of_the_web():
    for path in package_sources():
        parts = path.relative_to(ROOT / "fecnet").parts
        if parts[0] not in WEB_PACKAGES:
            tree = _parse(path)
            assert not {name.split(".")[0] for name in imported(tree)} & WEB, path
            top = {
                ".".join(name.split(".")[1:2])
                for node in tree.body
                for name in imported(ast.Module([node], []))
                if isinstance(node, (ast.Import, ast.ImportFrom)) and name.startswith("fecnet.")
            }
            assert not top & WEB_PACKAGES, path


def test_help_imports_no_torch():
    code = "import sys, fecnet.cli.main; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_package_imports_no_torch_before_it_is_used():
    code = "import sys, fecnet; fecnet.load; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("words", [["train", "demos"], ["train", "SOLVER.BASE_RL", "1"]])
def test_a_mistyped_recipe_or_key_is_told_without_torch(words):
    code = f"import sys, fecnet.cli.main as cli; assert cli.main({words}) == 2 and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
