"""What `pip install` gives: sdist and wheel are built, and the wheel trains and measures where no checkout is seen."""

import email
import ensurepip
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from fecnet.engine.checkpoint import find_checkpoint, load_info
from fecnet.nets.shipped import shipped_names
from fecnet.utils.package import VERSION
from tests.conftest import ROOT, write_tiny

OF_A_NET = ("model.safetensors", "meta.json", "card.json", "sample.npz", "README.md", "SHA256SUMS")
NEW_RUN = [
    "SOLVER.LENGTH",
    "2",
    "LOG.PERIOD",
    "1",
    "LOG.TENSORBOARD",
    "false",
    "DEVICE",
    "cpu",
    "SOLVER.BATCH_SIZE",
    "8",
]


@dataclass
class Installed:
    """The wheel in an environment of its own, inside the repository of another project.

    Attributes:
        sdist: the source distribution.
        wheel: the wheel, built from the unpacked sdist.
        folder: where commands run; ``demo`` in it is a tiny data set.
        programs: the environment's folder of programs.
    """

    sdist: Path
    wheel: Path
    folder: Path
    programs: Path

    def run(self, *command, code=0):
        """The output of a command, the errors after it, seen to end with ``code``."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [self.programs / command[0], *map(str, command[1:])],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def call(*command, cwd):
    subprocess.run(list(map(str, command)), cwd=cwd, check=True, capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Third-party packages are those of the tests: their folder is searched after that of the environment."""
    folder = tmp_path_factory.mktemp("installed")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", ROOT, cwd=folder)
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    project = folder / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text("[project]\nname = 'other'\nversion = '1'\n")
    call("git", "init", "--quiet", cwd=project)
    call("git", "add", ".", cwd=project)
    call("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "-m", "One", cwd=project)
    builder = venv.EnvBuilder()
    builder.create(project / ".venv")
    programs = Path(builder.ensure_directories(project / ".venv").bin_path)
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob(
        "pip-*.whl"
    )  # runs as it is: installing it takes seconds
    call(programs / "python", pip / "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=project)
    (packages,) = (project / ".venv").glob("lib/python*/site-packages")
    (packages / "of_the_tests.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    write_tiny(project / "demo")
    return Installed(sdist, wheel, project, programs)


def test_the_checkout_is_not_seen(installed):
    where = installed.run("python", "-c", "import fecnet, numpy; print(fecnet.__file__)").strip()
    assert where.startswith(str(installed.folder))
    installed.run("python", "-c", "import benchmarks", code=1)


def test_sdist_and_wheel_hold_what_they_must(installed):
    with tarfile.open(installed.sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert inside >= {"LICENSE", "README.md", "train.py", "config/demo.yaml", "fecnet/py.typed", "pyproject.toml"}
    with zipfile.ZipFile(installed.wheel) as archive:
        inside = set(archive.namelist())
        (described,) = (name for name in inside if name.endswith("/METADATA"))
        told = email.message_from_bytes(archive.read(described))
    assert inside >= {"fecnet/py.typed", "fecnet/run_page/page.css", "fecnet/run_page/page.js"}
    pages = [path for name in ("static", "templates") for path in (ROOT / "fecnet").glob(f"*/{name}/*")]
    assert len(pages) > 10 and inside >= {str(path.relative_to(ROOT)) for path in pages}
    shipped = {name for name in inside if name.startswith("fecnet/recipes/")}
    assert shipped == {f"fecnet/recipes/{path.name}" for path in (ROOT / "config").glob("*.yaml")}
    assert any(name.endswith("licenses/LICENSE") for name in inside)
    assert {name.partition("/")[0] for name in inside} == {"fecnet", described.partition("/")[0]}
    assert inside >= {f"fecnet/nets/{name}/{file}" for name in shipped_names() for file in OF_A_NET}
    needed = [line for line in told.get_all("Requires-Dist") if re.search(r"extra == .use.", line)]
    for package in ("facenet-pytorch", "pillow-heif", "av", "opencv-python-headless", "faiss-cpu"):
        assert any(line.startswith(package) for line in needed), needed
    assert (told["Version"], told["License-Expression"]) == (VERSION, "MIT")
    assert installed.run("fecnet", "--version") == f"fecnet {VERSION}\n"


def test_the_nets_are_listed_or_said_to_be_absent(installed):
    names = shipped_names()
    listed = installed.run("fecnet", "models", code=0 if names else 2)
    assert all(name in listed for name in names or ["this fecnet was built without nets"])
    misspelt = installed.run("fecnet", "embed", "fecnet-bas", "demo", code=2)
    assert misspelt.startswith("error: fecnet-bas: no checkpoint here, and ") and misspelt.count("\n") == 1


def test_recipes_are_listed_and_copied(installed):
    listed = installed.run("fecnet", "recipes").splitlines()
    assert len(listed) == len(list((ROOT / "config").glob("*.yaml")))
    assert "demo " in "\n".join(listed) and all(len(line.split(maxsplit=1)) == 2 for line in listed)
    installed.run("fecnet", "recipes", "copy", "demo", "mine.yaml")
    assert (installed.folder / "mine.yaml").read_text() == (ROOT / "config" / "demo.yaml").read_text()
    again = installed.run("fecnet", "recipes", "copy", "demo", "mine.yaml", code=2)
    assert again == "error: mine.yaml: exists already; give another PATH\n"
    refused = installed.run("fecnet", "train", "demos", code=2)
    assert refused.startswith("error: demos: no such file, and no recipe of that name; shipped: ")
    assert refused.count("\n") == 1


def test_the_demo_trains_and_is_measured(installed):
    told = installed.run("fecnet", "train", "demo", "DATA.PATH", "demo", *NEW_RUN, "--nproc", "2")
    assert "2 process(es)" in told
    assert "evaluate it with: fecnet evaluate result/demo\n" in told
    info = load_info(find_checkpoint(installed.folder / "result" / "demo", "last"))
    assert info.iteration == 2
    assert info.command.startswith("fecnet train demo DATA.PATH demo SOLVER.LENGTH 2 ")
    assert info.provenance.commit is None  # that of the project around it says nothing of fecnet
    launcher = ["python", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1", "-m", "fecnet"]
    assert "fecnet " in installed.run(*launcher, "evaluate", "result/demo")
