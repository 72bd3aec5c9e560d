"""What is installed and shipped: the lock of CI, the audit of its packages, and the bill of materials of the wheel."""

import json
import re
import runpy
import subprocess
import tomllib
import zipfile
from importlib.util import find_spec

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.conftest import ROOT

LOCK = ROOT / ".ci" / "lock.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
ENTRY = re.compile(r"^([\w.-]+)==(\S+)(?: ; .+?)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def entries():
    """Name, version and hashes of each entry."""
    return ENTRY.findall(LOCK.read_text())


def test_every_line_of_the_lock_is_a_version_with_its_hashes():
    """So it names no address, and pip has no reason to look elsewhere."""
    assert ENTRY.sub("", LOCK.read_text()) == "" and len(entries()) > 100


def test_the_lock_has_what_the_tests_install():
    extras = re.search(r"^EXTRAS := (.*)$", MAKEFILE, re.MULTILINE)[1].split(",")
    wanted = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    locked = {}
    for name, version, _ in entries():
        locked.setdefault(name, []).append(version)
    for requirement in map(Requirement, wanted):
        versions = locked[requirement.name.lower().replace("_", "-")]
        assert all(SpecifierSet(str(requirement.specifier)).contains(version) for version in versions), requirement
    assert {"hatchling", "editables"} <= locked.keys()  # what builds the checkout without a download


def test_ci_installs_the_lock_and_nothing_else():
    assert re.search(r"^export LOCK=\.ci/lock\.txt\b", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    command = ["make", "-n", "-B", "LOCK=.ci/lock.txt", ".venv/.installed-dev"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    installs = [line.split(" install ")[1] for line in done.stdout.splitlines() if " install " in line]
    assert len(installs) == 2 and all("--no-deps" in line for line in installs)
    assert "--require-hashes --requirement .ci/lock.txt" in installs[0]
    assert installs[1].endswith("--no-build-isolation -e .")


@pytest.fixture
def audit():
    return runpy.run_path(str(ROOT / ".ci" / "audit.py"))


KNOWN = {"id": "PYSEC-1", "fix_versions": ["2.1"]}


@pytest.mark.parametrize(
    ("packages", "code", "out", "err"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 of 1 packages looked up, 0 with known", ""),
        ([{"name": "a", "version": "1", "vulns": [KNOWN]}], 1, "a 1: PYSEC-1; fixed in 2.1\n", ""),
        ([{"name": "a", "skip_reason": "not found"}], 2, "0 of 1 packages looked up", "1 packages not looked up"),
        ([], 2, "0 of 0 packages looked up", ""),
    ],
)
def test_an_audit_that_looked_nothing_up_does_not_end_well(audit, capsys, packages, code, out, err):
    assert audit["report"]("lock", packages) == code
    said = capsys.readouterr()
    assert out in said.out and err in said.err


@pytest.mark.parametrize("answer", ["", "[]", '{"fixes": []}'])
def test_without_a_network_the_audit_says_so(audit, monkeypatch, capsys, answer):
    done = subprocess.CompletedProcess([], 1, answer, "Traceback\nConnectionError: no route\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert audit["main"]("lock") == 2
    assert capsys.readouterr().err == "lock: not audited; is there a network? ConnectionError: no route\n"


@pytest.mark.skipif(find_spec("cyclonedx") is None, reason="cyclonedx-bom is not installed")
def test_the_bill_of_a_wheel(tmp_path):
    wheel = tmp_path / "fecnet-0.1.0-py3-none-any.whl"
    needs = ["torch>=2.11", "av>=15; extra == 'video'", "fecnet[video]; extra == 'use'", "pytest>=8; extra == 'dev'"]
    metadata = [
        "Metadata-Version: 2.4",
        "Name: fecnet",
        "Version: 0.1.0",
        *(f"Requires-Dist: {line}" for line in needs),
    ]
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("fecnet-0.1.0.dist-info/METADATA", "\n".join(metadata) + "\n")
        archive.writestr("fecnet/nets/small/model.safetensors", b"weights")
    assert runpy.run_path(str(ROOT / ".ci" / "sbom.py"))["main"](str(LOCK), str(wheel)) == 0
    bill = json.loads((tmp_path / f"{wheel.name}.cdx.json").read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["version"]) == ("CycloneDX", "0.1.0")
    parts = {part["name"]: part for part in bill["components"]}
    assert parts.keys() == {"torch", "av", "small"}
    assert (parts["av"]["scope"], parts["torch"]["scope"]) == ("optional", "required")
    locked = {name: version for name, version, _ in entries()}
    assert parts["torch"]["version"] == locked["torch"] and parts["av"]["purl"].startswith("pkg:pypi/av@")
    assert parts["small"]["type"] == "machine-learning-model" and len(parts["small"]["hashes"]) == 1
