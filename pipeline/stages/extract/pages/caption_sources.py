"""Texts that say what an image shows, besides its alt: each is a candidate of its own with its ``caption_source``.

    figcaption       the caption of the ``<figure>`` around the image
    title            its title, which browsers show as a tooltip
    aria-label       its name for screen readers
    enclosing_link   the text of the link around it, else the link's own title
    og               for the image that a page offers to those who share it: og:image:alt, else og:title

Very large pages are skimmed, and give only their titles, labels and og (`skim.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.stages.extract.pages.lazy import Attributes

FIGURE_LEVELS = 8  # from an image up to its figure or link; pages put wrappers for layout between them
_BEFORE_SIGN = re.compile(" (?=[,.;:!?)])")
_NOT_TEXT = frozenset({"script", "style", "noscript", "template"})
_OG_IMAGES = frozenset({"og:image", "og:image:url", "og:image:secure_url"})


class Shared(NamedTuple):
    """An image that the page names for sharing, and its text, if it has one."""

    url: str
    text: str | None


def texts_of(image: LexborNode, attributes: Attributes, sources: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Source and text of each chosen source but ``alt`` and ``og``, where there is a text."""
    for source in sources:
        text = None
        if source in ("title", "aria-label"):
            text = attributes.get(source)
        elif source == "figcaption" and (figure := _around(image, "figure")):
            caption = figure.css_first("figcaption")
            text = _text_of(caption) if caption else None
        elif source == "enclosing_link" and (link := _around(image, "a")):
            text = _text_of(link) or link.attributes.get("title")
        if text and text.strip():
            yield source, text


def shared_images(tree: LexborHTMLParser) -> list[Shared]:
    """The og images of a page, each URL once, in their order. An og:image:alt belongs to the image before it."""
    title: str | None = None
    found: dict[str, str | None] = {}
    last = ""
    for meta in tree.css("meta[property], meta[name]"):
        attributes = meta.attributes
        name = (attributes.get("property") or attributes.get("name") or "").strip().lower()
        content = (attributes.get("content") or "").strip()
        if not content:
            continue
        if name in _OG_IMAGES:
            if name == "og:image" or not found:
                last = content
                found.setdefault(content, None)
        elif name == "og:image:alt" and last:
            found[last] = found[last] or content
        elif name == "og:title":
            title = title or content
    return [Shared(url, text or title) for url, text in found.items()]


def _around(image: LexborNode, tag: str) -> LexborNode | None:
    node = image.parent
    for _ in range(FIGURE_LEVELS):
        if node is None:
            return None
        if node.tag == tag:
            return node
        node = node.parent
    return None


def _text_of(element: LexborNode) -> str:
    """The text in an element, white space collapsed."""
    pieces = [
        node.text_content or ""
        for node in element.traverse(include_text=True)
        if node.tag == "-text" and (node.parent is None or node.parent.tag not in _NOT_TEXT)
    ]
    return _BEFORE_SIGN.sub("", " ".join(" ".join(pieces).split()))
