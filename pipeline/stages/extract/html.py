"""The images of a page with their alt texts, as a browser without scripts finds them, lazy loading undone.

Which of its URLs is an image's, `image_urls.py` decides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.stages.extract import skim
from pipeline.stages.extract.candidates import Page, Row, beyond_limit, candidate
from pipeline.stages.extract.charset import decode
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.image_urls import Found, find
from pipeline.stages.extract.lazy import Attributes, is_placeholder
from pipeline.web.optouts import from_meta
from pipeline.web.urls import UrlError, clean, join

URN_PREFIX = "urn:html:"  # page URL of an HTML file of unknown address

_AMP = ("amp-img", "amp-anim")
_IMAGES = "img, amp-img, amp-anim"
_TWIN_LEVELS = 3
_SIZE = re.compile(r"[-_](\d{2,4})(?:x(\d{2,4})|w)$")
_STEM_CHARS = 5

_LANG = re.compile(r"[a-zA-Z]{2,8}(?:[-_][a-zA-Z0-9]{1,8})*")


def candidates_of_page(
    html: bytes,
    page_url: str,
    page_date: str | None,
    http_charset: str | None,
    http_optouts: Iterable[str],
    config: Config,
) -> list[Row]:
    """One row for each image, in document order; one more with the count of those beyond ``max_page_images``.

    An image that is repeated in the ``<noscript>`` beside it is one row with ``count`` 2. In AMP, ``<amp-img>`` and
    ``<amp-anim>`` stand for ``<img>``. The alt of ``<input type=image>`` names what the button does, not what it
    shows, and an ``<image>`` of SVG has no alt: neither is read.
    """
    text, max_replaced = decode(html, http_charset, page_url)
    tree = LexborHTMLParser(skim.skim(text) if skim.is_too_large(text) else text)
    page = replace(_page(tree, page_url, page_date, http_optouts, config), max_replaced=max_replaced)
    images = tree.css(_IMAGES)
    rows: list[Row] = []
    last: _Seen | None = None
    for place, image in enumerate(images[: config.max_page_images]):
        seen = _seen(image)
        row = candidate(page, place, seen.found.url, seen.alt, config, seen.found.alternate)
        if last and rows and (twin := _twin(last, rows[-1], seen, row)):
            rows[-1] = twin
        else:
            rows.append(row)
        last = seen
    if len(images) > config.max_page_images:
        rows.append(beyond_limit(page, len(images) - config.max_page_images))
    return rows


@dataclass(frozen=True, slots=True)
class _Seen:
    """An image element, as far as the next one has to know it."""

    alt: str | None
    found: Found
    in_noscript: bool
    is_stand_in: bool  # of the AMP image around it, for browsers that cannot show that one or until it is there


def _seen(image: LexborNode) -> _Seen:
    attributes = image.attributes
    alt = (attributes["alt"] or "") if "alt" in attributes else None
    is_stand_in = image.tag != "img" and ("fallback" in attributes or "placeholder" in attributes)
    found = find(attributes, _sources_of_picture(image))
    return _Seen(alt, found, _is_in_noscript(image), is_stand_in and _is_in(image, _AMP))


def _twin(last: _Seen, last_row: Row, this: _Seen, row: Row) -> Row | None:
    """One row for an image and the one before it, if one repeats the other; None if they are two images.

    In ``<noscript>`` stands the image for browsers without scripts, beside its lazy twin. Of both, the one whose URL
    is real is kept.
    """
    if not (last.in_noscript or this.in_noscript or this.is_stand_in):
        return None
    if _same_image(last_row, row):
        return last_row | {"count": last_row["count"] + 1}
    if not this.is_stand_in and not (this.alt and this.alt == last.alt):
        return None
    if is_placeholder(last.found.url) and not is_placeholder(this.found.url):
        return row | {"count": last_row["count"] + 1} if this.alt == last.alt else None
    (stem, size), (this_stem, this_size) = _stem_and_size(last.found.url), _stem_and_size(this.found.url)
    if this.is_stand_in or is_placeholder(this.found.url):
        return last_row | {"count": last_row["count"] + 1}
    return (row if this_size > size else last_row) | {"count": last_row["count"] + 1} if stem == this_stem else None


def _stem_and_size(url: str) -> tuple[str, float]:
    """What the name of an image has in common with other sizes of it, and how many pixels its name claims.

    A short stem says little: then it is the whole URL. A name without a size is the original, the largest.
    """
    name = url.partition("?")[0].rpartition("/")[2].rpartition(".")[0]
    size = _SIZE.search(name)
    stem = name[: size.start()] if size else name
    return (stem if len(stem) >= _STEM_CHARS else url), int(size[1]) * int(size[2] or 1) if size else math.inf


def _page(
    tree: LexborHTMLParser, page_url: str, page_date: str | None, http_optouts: Iterable[str], config: Config
) -> Page:
    address = None if page_url.startswith(URN_PREFIX) else page_url
    optouts = set(http_optouts)
    for meta in tree.css("meta[name]"):
        optouts.update(from_meta(meta.attributes["name"] or "", meta.attributes.get("content") or ""))
    base = base_of(_base_references(tree), address, config)
    return Page(page_url, page_date, base, _lang(tree), tuple(sorted(optouts)))


def base_of(references: Iterable[str], page_url: str | None, config: Config) -> str | None:
    """The base of relative URLs: the first usable http(s) base, else the page; None if neither is an address."""
    address = page_url if page_url is not None and _is_address(page_url, config) else None
    for reference in references:
        try:
            return join(address or reference, reference, config.max_url_bytes)
        except UrlError:
            continue
    return address


def _is_address(url: str, config: Config) -> bool:
    try:
        clean(url, config.max_url_bytes)
    except UrlError:
        return False
    return True


def _base_references(tree: LexborHTMLParser) -> Iterator[str]:
    for base in tree.css("base[href]"):
        yield base.attributes["href"] or ""


def _lang(tree: LexborHTMLParser) -> str | None:
    root = tree.root
    declared = ((root.attributes.get("lang") or root.attributes.get("xml:lang")) if root else None) or ""
    return declared.strip() if _LANG.fullmatch(declared.strip()) else None


def _sources_of_picture(image: LexborNode) -> list[Attributes]:
    """Attributes of the ``<source>`` elements before the image in its ``<picture>``, in document order."""
    parent = image.parent
    if parent is None or parent.tag != "picture":
        return []
    sources: list[Attributes] = []
    sibling = image.prev
    while sibling is not None:
        if sibling.tag == "source":
            sources.append(sibling.attributes)
        sibling = sibling.prev
    return sources[::-1]


def _is_in_noscript(image: LexborNode) -> bool:
    """Within three levels, because the twin of a lazy image often has a ``<picture>`` or ``<figure>`` around it."""
    return _is_in(image, ("noscript",))


def _is_in(image: LexborNode, tags: Collection[str]) -> bool:
    node = image.parent
    for _ in range(_TWIN_LEVELS):
        if node is None:
            return False
        if node.tag in tags:
            return True
        node = node.parent
    return False


def _same_image(one: Row, other: Row) -> bool:
    return one["url_id"] is not None and (one["url_id"], one["alt_text"]) == (other["url_id"], other["alt_text"])
