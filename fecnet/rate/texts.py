"""Converts the owner's Markdown texts to safe HTML: no raw HTML, no pictures, no scripts in links."""

from __future__ import annotations

from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from markupsafe import Markup

_SCHEMES = ("http", "https", "mailto")


def as_html(text: str) -> Markup:
    """Convert paragraphs, lists, emphasis, headings and links; everything else is shown as plain text."""
    return Markup(Markdown(extensions=[_Plain()], output_format="html").convert(text))


class _Plain(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        md.preprocessors.deregister("html_block")
        for name in ("html", "entity", "image_link", "image_reference", "short_image_ref"):
            md.inlinePatterns.deregister(name)
        md.treeprocessors.register(_Links(md), "links", 0)


class _Links(Treeprocessor):
    def run(self, root: Element) -> None:
        for link in root.iter("a"):
            if _scheme(link.get("href", "")) in _SCHEMES:
                link.set("rel", "noreferrer noopener")
                link.set("target", "_blank")
            else:
                link.attrib.clear()


def _scheme(address: str) -> str:
    try:
        return urlsplit(address).scheme.lower()
    except ValueError:
        return ""
