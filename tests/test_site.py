"""The documentation site: its navigation, links and generated references, without the packages that build it."""

import inspect
import pydoc
import re
import runpy
import shlex
import sys
from collections import Counter

import pytest

from fecnet.cli.main import build_parsers, parse
from fecnet.config.defaults import _C
from fecnet.config.node import flatten
from fecnet.utils.package import VERSION
from tests.conftest import ROOT

SECTIONS = [
    "Get started",
    "Tutorials",
    "How-to",
    "Reference",
    "Design",
    "Results",
    "Data and ethics",
    "Project",
]
INDEX = "docs/index.md"


def script(name):
    """The names of a script in ``docs/``, which is no package."""
    before = list(sys.path)
    try:
        return runpy.run_path(str(ROOT / "docs" / f"{name}.py"))
    finally:
        sys.path[:] = before


def pages():
    """All pages of the site, relative to the checkout: what docs/conf.py includes, without README.md."""
    settings = script("conf")
    found = {path for pattern in settings["include_patterns"] for path in ROOT.glob(pattern)}
    return sorted(path.relative_to(ROOT).as_posix() for path in found - {ROOT / "README.md"})


def navigation(text):
    """The pages that an index lists, by caption, relative to the checkout."""
    found = {}
    for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
        caption = re.search(r"^:caption: (.*)$", block, re.MULTILINE)[1]
        names = [line for line in block.splitlines() if line and not line.startswith(":")]
        found[caption] = [(ROOT / "docs" / f"{name}.md").resolve().relative_to(ROOT).as_posix() for name in names]
    return found


def prose(text):
    """A page without what is code."""
    return re.sub(r"`[^`\n]*`", "`code`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(text):
    """What links to the headings of a page end with, as repositories make them."""
    seen = Counter()
    for title in re.findall(r"^#+ +(.*?) *$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.M):
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        yield slug if not seen[slug] else f"{slug}-{seen[slug]}"
        seen[slug] += 1


def dead_links(page, text):
    """The links of a page that lead nowhere in the checkout; not those to other hosts."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in set(anchors(target.read_text(encoding="utf-8")))):
            yield link


def commands(text):
    """The words after ``fecnet`` in each command of ours in a page, as typed; train.py is ``fecnet train``."""
    names = {"fecnet": [], "train.py": ["train"], "inference.py": ["evaluate"]}
    for block in re.findall(r"^```(?:bash|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(re.sub(r"\$\([^)]*\)", "X", line), comments=True)
            for place, word in enumerate(words):
                name = word.removeprefix(".venv/bin/")
                if name in names:
                    yield names[name] + words[place + 1 :]
                    break


def test_navigation_has_each_page_once():
    sections = navigation((ROOT / INDEX).read_text(encoding="utf-8"))
    assert list(sections) == SECTIONS
    assert all(sections.values())
    listed = Counter(page for names in sections.values() for page in names)
    assert [page for page, times in listed.items() if times > 1] == []
    assert sorted(listed) == [page for page in pages() if page != INDEX]


def test_every_command_is_in_the_table_of_the_index():
    table = [line for line in (ROOT / INDEX).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    named = set(re.findall(r"`(\w+)`", "\n".join(table)))
    assert set(build_parsers()[1]) <= named


@pytest.mark.parametrize("page", ["README.md", *pages()])
def test_links_lead_to_files_and_headings(page):
    assert list(dead_links(page, (ROOT / page).read_text(encoding="utf-8"))) == []


def test_dead_links_are_found():
    text = "[a](install.md#versions) [b](nothere.md) [c](install.md#nowhere) [d](#own) `[e](x.md)`\n```\n[f](y)\n```\n"
    assert list(dead_links("docs/install.md", text)) == ["nothere.md", "install.md#nowhere", "#own"]


def test_every_fenced_command_has_options_and_keys_that_are_there(capsys):
    parsers = build_parsers()
    known = {key for key, _ in flatten(_C)}
    for page in ["README.md", *pages()]:
        for words in commands((ROOT / page).read_text(encoding="utf-8")):
            try:
                options = parse(list(words), *parsers)
            except SystemExit:
                pytest.fail(f"{page}: {shlex.join(words)}: {capsys.readouterr().err}")
            keys = set(getattr(options, "overrides", [])[::2])
            assert keys <= known, f"{page}: {shlex.join(words)}"


def test_fenced_commands_are_found():
    text = "```bash\n.venv/bin/fecnet odd a.jpg \\\n  b.jpg  # two\nbash train.sh x\npython train.py demo SEED 1\n```\n"
    assert list(commands(text)) == [["odd", "a.jpg", "b.jpg"], ["train", "demo", "SEED", "1"]]


def test_the_public_names_are_there_with_docstrings():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = re.findall(r"^\.\. auto(function|class|module):: (\S+)$", text, re.MULTILINE)
    assert {"fecnet.load", "fecnet.encoder.encoder.Encoder"} <= {name for _, name in names}
    for kind, name in names:
        found = pydoc.locate(name)
        assert {"function": inspect.isfunction, "class": inspect.isclass, "module": inspect.ismodule}[kind](found), name
        assert found.__doc__, name
        lists = re.findall(r"^( *)(?!- )\S.*\n\1- .*$", inspect.getdoc(found), re.MULTILINE)
        assert not lists, f"{name}: a blank line is missing before a list: make docs refuses it"


def test_the_names_that_pages_import_are_public():
    public = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for page in ("docs/using.md", "CONTRIBUTING.md"):
        for module, names in re.findall(r"^from (fecnet\.\S+) import (.*)$", (ROOT / page).read_text(), re.MULTILINE):
            for name in names.split(", "):
                assert re.search(rf"\b{module}\.{name}\b", public), f"{page} imports {module}.{name}"


def test_the_page_of_commands_has_the_help_of_each(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    helps = dict(script("commands")["helps"]())
    for name in ("fecnet train", "fecnet evaluate", "fecnet prepare", "fecnet prepare fec", "fecnet data verify"):
        assert helps[name].startswith(f"usage: {name} [-h]")
    assert "--hold-out-subjects" in helps["fecnet prepare csv"]


def test_versions_are_listed_newest_first(tmp_path):
    for name in ("0.9.0", "0.10.0", "other"):
        (tmp_path / name / "docs").mkdir(parents=True)
    for name in ("0.9.0", "0.10.0"):
        (tmp_path / name / "docs" / "index.html").touch()
    assert script("build_site")["write_versions"](tmp_path) == ["0.10.0", "0.9.0"]
    assert (tmp_path / "versions.js").read_text() == 'window.versions = ["0.10.0", "0.9.0"];\n'
    assert "url=0.10.0/docs/index.html" in (tmp_path / "index.html").read_text()
    assert "url=docs/index.html" in (tmp_path / "0.9.0" / "index.html").read_text()


def test_the_site_has_the_version_of_the_package():
    assert script("conf")["release"] == VERSION


STOPPED_READERS = (  # sentences of which a new reader said: I do not understand this
    "six or more raters a row",
    "but triplets share faces",
    "makes a split hold_out for",
    "pictures cut like those",
    "alone cut each face out",
    "ask for the nearest others",
    "beside what chance gives",
    "stand in triplets that are trained on",
    "(spread ±",
)


def test_sentences_that_stopped_readers_stay_out():
    files = [ROOT / page for page in ["README.md", *pages()]] + list((ROOT / "fecnet").rglob("*.py"))
    for path in set(files) - {ROOT / "CHANGELOG.md"}:
        text = " ".join(path.read_text(encoding="utf-8").lower().split())
        assert [words for words in STOPPED_READERS if words in text] == [], path
