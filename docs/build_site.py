"""Builds the documentation site, where each warning is an error: ``python docs/build_site.py [SITE]``, ``make docs``.

SITE, ``build/site`` unless given, has a folder for each version; those of other versions stay.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fecnet.utils.package import VERSION  # noqa: E402

_REDIRECT = '<!doctype html><title>fecnet</title><meta http-equiv="refresh" content="0; url={}">\n'
_FIRST = "docs/index.html"


def write_versions(site: Path) -> list[str]:
    """Write what readers find the versions with: ``versions.js``, and an ``index.html`` that leads to the newest.

    Returns:
        The versions that have a folder in ``site``, the newest first.
    """
    names = [path.parents[1].name for path in site.glob(f"*/{_FIRST}")]
    names.sort(key=lambda name: [int(number) for number in name.split(".")], reverse=True)
    (site / "versions.js").write_text(f"window.versions = {json.dumps(names)};\n", encoding="utf-8")
    for name in names:
        (site / name / "index.html").write_text(_REDIRECT.format(_FIRST), encoding="utf-8")
    (site / "index.html").write_text(_REDIRECT.format(f"{names[0]}/{_FIRST}"), encoding="utf-8")
    return names


def main(arguments: list[str]) -> int:
    """Build this version's folder, then the list of versions."""
    lacking = [name for name in ("sphinx", "myst_parser", "furo") if find_spec(name) is None]
    if lacking:
        print(f"the site needs {', '.join(lacking)}; install with: pip install 'fecnet[docs]'", file=sys.stderr)
        return 2
    from sphinx.cmd.build import build_main  # here, so that the tests do not need it

    site = Path(arguments[0]) if arguments else ROOT / "build" / "site"
    options = ["--fail-on-warning", "--keep-going", "--quiet", "--fresh-env", "--conf-dir", str(ROOT / "docs")]
    options += ["--doctree-dir", str(ROOT / "build" / "doctrees")]  # what it remembers is no part of the site
    code = build_main([*options, str(ROOT), str(site / VERSION)])
    if code == 0:
        write_versions(site)
        print(f"{site / 'index.html'}: {VERSION}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
