"""The images of a page with their alt texts, as a browser without scripts finds them, lazy loading undone.

Which of its URLs is an image's, `image_urls.py` decides; which texts besides its alt are candidates too,
`caption_sources.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.stages.extract.candidates import ALT, Page, Row, beyond_limit, candidate
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages import skim
from pipeline.stages.extract.pages.caption_sources import shared_images, texts_of
from pipeline.stages.extract.pages.charset import decode
from pipeline.stages.extract.pages.twins import seen, twin
from pipeline.web.optouts import from_meta
from pipeline.web.urls import UrlError, clean, join

URN_PREFIX = "urn:html:"  # page URL of an HTML file of unknown address

_READ = "img, amp-img, amp-anim, base[href], meta[name]"  # one walk over the tree for all
ONLY_ALT = (ALT,)
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
    shows, and an ``<image>`` of SVG has no alt: neither is read. With further ``caption_sources`` the rows of an
    image stand together.
    """
    text, max_replaced, utf8 = decode(html, http_charset, page_url)
    tree = LexborHTMLParser(skim.skim(text) if skim.is_too_large(text) else utf8 or text)
    images: list[LexborNode] = []
    others: list[LexborNode] = []
    for node in tree.css(_READ):
        (others if node.tag in ("meta", "base") else images).append(node)
    page = _page(tree, others, page_url, page_date, http_optouts, max_replaced, config)
    rows = _rows_of_images(page, images[: config.max_page_images], config)
    if "og" in config.caption_sources:
        rows += (candidate(page, None, url, text, config, source="og") for url, text in shared_images(tree))
    if len(images) > config.max_page_images:
        rows.append(beyond_limit(page, len(images) - config.max_page_images))
    return rows


def _rows_of_images(page: Page, images: list[LexborNode], config: Config) -> list[Row]:
    """The rows of each image: its alt, then its texts from other sources; one without any text if it has none."""
    sources = tuple(dict.fromkeys(config.caption_sources))
    of_alt: list[Row] = []
    further: list[list[Row]] = []
    last = None
    for place, image in enumerate(images):
        this = seen(image)
        url, alternate = this.found
        row = candidate(page, place, url, this.alt, config, alternate)
        if last and (last.in_noscript or this.may_repeat) and (joined := twin(last, of_alt[-1], this, row)):
            of_alt[-1] = joined
        else:
            of_alt.append(row)
            if sources != ONLY_ALT:
                texts = list(texts_of(image, this.attributes, sources))
                rows = [candidate(page, place, url, text, config, alternate, source) for source, text in texts]
                further.append(rows if rows or ALT in sources else [candidate(page, place, url, None, config)])
        last = this
    return of_alt if sources == ONLY_ALT else list(_together(of_alt, further, ALT in sources))


def _together(of_alt: list[Row], further: list[list[Row]], with_alt: bool) -> Iterator[Row]:
    """All rows of each image, with the count of its twins."""
    for first, rows in zip(of_alt, further, strict=True):
        if with_alt:
            yield first
        yield from (row | {"count": first["count"]} for row in rows)


def _page(
    tree: LexborHTMLParser,
    elements: list[LexborNode],
    page_url: str,
    page_date: str | None,
    http_optouts: Iterable[str],
    max_replaced: float,
    config: Config,
) -> Page:
    """``elements``: the meta elements with a name and the base elements with a href."""
    address = None if page_url.startswith(URN_PREFIX) else page_url
    optouts = set(http_optouts)
    bases: list[str] = []
    for element in elements:
        attributes = element.attributes
        if element.tag == "base":
            bases.append(attributes["href"] or "")
        else:
            optouts.update(from_meta(attributes["name"] or "", attributes.get("content") or ""))
    base = base_of(bases, address, config)
    return Page(page_url, page_date, base, _lang(tree), tuple(sorted(optouts)), max_replaced)


def base_of(references: Iterable[str], page_url: str | None, config: Config) -> str | None:
    """The base of relative URLs: the first of ``references``, else the page; None if neither is an http(s) address.

    As in the standard, a first base that is none is not mended by a second one.
    """
    address = page_url if page_url is not None and _is_address(page_url, config) else None
    reference = next(iter(references), None)
    try:
        return address if reference is None else join(address or reference, reference, config.max_url_bytes)
    except UrlError:
        return address


def _is_address(url: str, config: Config) -> bool:
    try:
        clean(url, config.max_url_bytes)
    except UrlError:
        return False
    return True


def _lang(tree: LexborHTMLParser) -> str | None:
    root = tree.root
    declared = ((root.attributes.get("lang") or root.attributes.get("xml:lang")) if root else None) or ""
    return declared.strip() if _LANG.fullmatch(declared.strip()) else None
