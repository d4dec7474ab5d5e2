"""The images of a page with their alt texts, as a browser without scripts finds them, lazy loading undone.

The URL of an image is searched in this order: the largest image of its ``srcset`` and of the ``<source>``
elements beside it in a ``<picture>``, the attributes that lazy loaders use, ``src``. A ``data:`` URL, used by lazy
loaders as a placeholder, is taken only if there is no other URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.stages.extract import skim, srcset
from pipeline.stages.extract.candidates import Page, Row, beyond_limit, candidate, is_data_uri
from pipeline.stages.extract.charset import decode
from pipeline.stages.extract.config import Config
from pipeline.web.optouts import from_meta
from pipeline.web.urls import UrlError, clean, join

URN_PREFIX = "urn:html:"  # page URL of an HTML file of unknown address

_LANG = re.compile(r"[a-zA-Z]{2,8}(?:[-_][a-zA-Z0-9]{1,8})*")
_LAZY_BEFORE_SRCSET, _LAZY_AFTER_SRCSET = ("data-src",), ("data-original", "data-lazy-src")


def candidates_of_page(
    html: bytes,
    page_url: str,
    page_date: str | None,
    http_charset: str | None,
    http_optouts: Iterable[str],
    config: Config,
) -> list[Row]:
    """One row for each image, in document order; one more with the count of those beyond ``max_page_images``.

    An image that is repeated in the ``<noscript>`` beside it is one row with ``count`` 2.
    """
    text, max_replaced = decode(html, http_charset, page_url)
    tree = LexborHTMLParser(skim.skim(text) if skim.is_too_large(text) else text)
    page = replace(_page(tree, page_url, page_date, http_optouts, config), max_replaced=max_replaced)
    images = tree.css("img")
    rows: list[Row] = []
    twin_possible = False
    for place, image in enumerate(images[: config.max_page_images]):
        attributes = image.attributes
        alt = (attributes["alt"] or "") if "alt" in attributes else None
        row = candidate(page, place, _reference(image, attributes), alt, config)
        in_noscript = _is_in_noscript(image)
        if rows and (in_noscript or twin_possible) and _same_image(rows[-1], row):
            rows[-1]["count"] += 1
        else:
            rows.append(row)
        twin_possible = in_noscript
    if len(images) > config.max_page_images:
        rows.append(beyond_limit(page, len(images) - config.max_page_images))
    return rows


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


def _reference(image: LexborNode, attributes: dict[str, str | None]) -> str:
    """Raw URL of the image; empty if it has none."""
    placeholder = ""
    for url in _references(image, attributes):
        if url and url.strip() and not is_data_uri(url):
            return url
        placeholder = placeholder or url or ""
    return placeholder


def _references(image: LexborNode, attributes: dict[str, str | None]) -> Iterator[str | None]:
    sources = _sources_of_picture(image)
    yield _largest_real([attributes.get("srcset"), *(source.get("srcset") for source in sources)])
    yield from map(attributes.get, _LAZY_BEFORE_SRCSET)
    yield _largest_real([attributes.get("data-srcset"), *(source.get("data-srcset") for source in sources)])
    yield from map(attributes.get, _LAZY_AFTER_SRCSET)
    yield attributes.get("src")


def _largest_real(srcsets: list[str | None]) -> str | None:
    """The largest image; a ``data:`` URL only if all are."""
    sources = [source for text in srcsets if text for source in srcset.parse(text)]
    return srcset.largest_of([source for source in sources if not is_data_uri(source.url)] or sources)


def _sources_of_picture(image: LexborNode) -> list[dict[str, str | None]]:
    """Attributes of the ``<source>`` elements before the image in its ``<picture>``, in document order."""
    parent = image.parent
    if parent is None or parent.tag != "picture":
        return []
    sources, sibling = [], image.prev
    while sibling is not None:
        if sibling.tag == "source":
            sources.append(sibling.attributes)
        sibling = sibling.prev
    return sources[::-1]


def _is_in_noscript(image: LexborNode) -> bool:
    """Within three levels, because the twin of a lazy image often has a ``<picture>`` or ``<figure>`` around it."""
    node = image.parent
    for _ in range(3):
        if node is None:
            return False
        if node.tag == "noscript":
            return True
        node = node.parent
    return False


def _same_image(one: Row, other: Row) -> bool:
    return one["url_id"] is not None and (one["url_id"], one["alt_text"]) == (other["url_id"], other["alt_text"])
