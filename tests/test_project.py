"""What a project promises beside its code: one version, citation, changelog, supported versions, templates."""

import os
import re
import subprocess
import tomllib

import pytest
import yaml

from fecnet.utils.package import VERSION
from tests.conftest import ROOT

KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}  # of Keep a Changelog
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MATRIX = ROOT / ".ci" / "matrix"


def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def releases():
    """What the headings of the changelog name, the newest first: version (or Unreleased) and date (or none)."""
    headings = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    return [
        re.fullmatch(r"\[(Unreleased|\d+\.\d+\.\d+)\](?: - (\d{4}-\d\d-\d\d))?", text).groups() for text in headings
    ]


def number(version):
    return [int(part) for part in version.split(".")]


def test_the_version_is_defined_once():
    assert "version" not in PROJECT["project"]
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "fecnet/utils/package.py"
    assert citation()["version"] == VERSION


def test_the_citation_has_what_the_format_wants():
    cited = citation()
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()
    assert cited["license"] == PROJECT["project"]["license"]
    assert "1811.11283" in str(cited["references"])


def test_the_changelog_keeps_its_form():
    found = releases()
    for version, date in found:
        assert bool(date) == (version != "Unreleased")
    assert "Unreleased" not in [version for version, _ in found[1:]]
    released = [(number(version), date) for version, date in found if date]
    assert released == sorted(released, reverse=True)
    assert set(re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE)) <= KINDS
    assert re.search(r"^## .*\n\n### ", CHANGELOG, re.MULTILINE)  # entries stand under a kind
    if released:  # where nothing waits for a release, the newest is this version, and cited with its date
        newest, date = released[0]
        assert number(VERSION) >= newest
        if number(VERSION) == newest:
            assert str(citation()["date-released"]) == date
    else:
        assert "date-released" not in citation()


def test_the_page_of_versions_has_the_pairs_of_the_matrix():
    pairs = re.search(r'^supported="(.*)"$', MATRIX.read_text(), re.MULTILINE)[1].split()
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    torches = re.search(r"^\| Python((?: \| torch \d+\.\d+\.\d+)+) \|$", page, re.MULTILINE)[1]
    torches = re.findall(r"torch (\S+)", torches)
    pythons = re.findall(rf"^\| (3\.\d+) \|(?: [^|]+ \|){{{len(torches)}}}$", page, re.MULTILINE)
    assert pairs == [f"{python}/{torch}" for python in pythons for torch in torches]
    floor = re.search(r"torch>=(\d+\.\d+)", " ".join(PROJECT["project"]["dependencies"]))[1]
    assert PROJECT["project"]["requires-python"] == f">={pythons[0]}"
    assert torches[0].startswith(f"{floor}.")


@pytest.fixture
def matrix(tmp_path):
    """Run .ci/matrix with a stand-in for uv, whose Pythons pass all tests but beside torch 9.9."""
    uv = tmp_path / "uv"
    uv.write_text(
        "#!/bin/bash\n"
        'echo "$*" >>"$LOG"\n'
        'if [ "$1" = venv ]; then [ "$5" != 2.7 ] && mkdir -p "${@: -1}/bin"; exit; fi\n'
        'code=0; [[ "$*" = *torch==9.9* ]] && code=1\n'
        'printf "#!/bin/bash\\necho tests \\"\\$*\\" >>\\"$LOG\\"; exit $code\\n" >"$5"; chmod +x "$5"\n'
    )
    uv.chmod(0o755)

    def run(*pairs, **environment):
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(tmp_path / "log"), "EXTRAS": "dev,viz"}
        done = subprocess.run(
            ["bash", str(MATRIX), *pairs],
            env=os.environ | path | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, (tmp_path / "log").read_text().splitlines()

    return run


def test_the_matrix_goes_on_after_a_pair_that_fails_and_names_it(matrix):
    done, log = matrix("3.11/9.9", "2.7/2.15.0", "3.12/2.15.0", PYTEST_FLAGS="tests/engine")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "failed: 3.11/9.9 2.7/2.15.0"
    assert [line for line in log if line.startswith("tests")] == ["tests -m pytest -m not slow tests/engine"] * 2
    assert sum(".[dev,viz] torch==2.15.0" in line for line in log) == 1


def test_the_matrix_checks_all_supported_pairs(matrix):
    done, log = matrix()
    assert done.returncode == 0, done.stderr
    assert sum(line.startswith("tests") for line in log) == done.stdout.count("Python") == 6


def test_before_a_commit_stands_the_gate_of_ci():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = repository["hooks"]
    assert (repository["repo"], hook["language"], hook["pass_filenames"]) == ("local", "system", False)
    assert hook["entry"] == "make lint"
    assert re.search(r"^make lint\b", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_templates_say_what_they_are_for():
    found = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md"))
    assert [path.stem for path in found] == ["bug", "wish"]
    for path in found:
        header = yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])
        assert header.keys() == {"name", "about"}
    change = (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")
    assert "`make test` and `make lint`" in change


def test_no_address_of_a_person_stands_in_what_people_write_to():
    for name in ("SECURITY.md", "CODE_OF_CONDUCT.md", "CITATION.cff", "docs/releasing.md"):
        assert not re.search(r"[\w.]+@[\w.]+", (ROOT / name).read_text(encoding="utf-8")), name
    assert "private vulnerability report" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")


TARGETS = {"docs": "docs/build_site.py", "matrix": ".ci/matrix", "audit": ".ci/audit.py", "sbom": ".ci/sbom.py"}


@pytest.mark.parametrize(("target", "command"), TARGETS.items())
def test_make_knows_it(target, command):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    assert command in done.stdout
