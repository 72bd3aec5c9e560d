"""Settings of the documentation site, for Sphinx; ``make docs`` builds it.

Pages are the Markdown files where they lie in the repository, so that their links are the same in both places.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.append(str(ROOT / "docs"))

from fecnet.utils.package import VERSION  # noqa: E402

project = "fecnet"
author = "The fecnet authors"
copyright = f"2026, {author}"
version = release = VERSION

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "commands"]
root_doc = "docs/index"  # its lists are the navigation
include_patterns = [
    "docs/*.md",
    "docs/tutorials/*.md",
    "*.md",
    "benchmarks/results/README.md",
    "findings/README.md",
    "fecnet/nets/*/README.md",
]
# README.md is the front page of the repository, as docs/index.md is that of the site; other folders are not even read.
exclude_patterns = ["README.md"] + [
    path.name
    for path in ROOT.iterdir()
    if path.is_dir() and path.name not in ("docs", "benchmarks", "findings", "fecnet")
]

myst_heading_anchors = 4  # links to headings, as a plain view of the repository makes them

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # attributes are told by their class, not a second time each

templates_path = ["_templates"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_title = f"fecnet {VERSION}"
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "versions.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
