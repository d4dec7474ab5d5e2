"""Links of a page: found, resolved, and judged by what the URL alone shows. Pure: no network, no Spark.

A link is an ``<a href>`` or ``<area href>`` to another document; ``#part`` of the same page and links marked
``nofollow`` do not count; a page whose robots directives say ``nofollow`` or ``none`` has no links. What is out of
scope is counted and forgotten. What is in scope is one row per frontier entry, also if it is rejected:

    spelling  http://Site.example:80/./a?b#part   as written on the page, made absolute
    page_url  http://site.example/a?b             what is requested
    page_id   hash of the normalised URL          what counts as one page

A link that cannot be requested has no host and so no scope: it is kept with its fault
(``mailto:`` as the scheme alone, so that no address of a person is stored).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from selectolax.lexbor import LexborHTMLParser

from pipeline.core.ids import key_of
from pipeline.stages.crawl.config import Config
from pipeline.stages.crawl.reasons import CrawlReason
from pipeline.web.config import PRODUCT_TOKEN
from pipeline.web.reasons import NetReason, WebReason
from pipeline.web.urls import UrlError, join, redact, split, url_id

MAX_PAGE_LINKS = 10_000  # entries of one page; what a longer list adds is a link farm's (Heritrix stops at 6,000)
MAX_SPELLING_CHARS = 2048  # of a spelling as it is stored

_NO_LINKS = frozenset({"nofollow", "none"})
_TOKEN = re.compile(r"[^\s,;:]+")
_CHARSET = re.compile(  # not any codec that Python knows: some are slow, some unpack
    r"charset\s*=\s*[\"']?\s*(iso-8859-\d+|windows-125\d|koi8-[ru]|gbk|gb2312|gb18030|big5|shift_jis|euc-jp|euc-kr)\b",
    re.IGNORECASE,
)
_ABSOLUTE = re.compile(r"https?://", re.IGNORECASE)
_STRIPPED = "".join(map(chr, range(0x21)))  # C0 controls and space, as the URL standard strips them


@dataclass(frozen=True, slots=True)
class Link:
    """One entry of the frontier. ``outcome`` None: it may be requested."""

    page_id: str
    page_url: str
    url: str  # the spelling
    host: str  # lower-case ASCII; empty if the URL cannot be requested
    outcome: str | None = None
    detail: str | None = None


@dataclass(slots=True)
class Found:
    """The links of one page: distinct entries in order, and how many were left out."""

    links: list[Link] = field(default_factory=list)
    out_of_scope: int = 0
    nofollow: int = 0
    over_limit: int = 0


@dataclass(frozen=True)
class LinkFinder:
    """The config's rules for links. Picklable; one serves a whole lane."""

    config: Config

    @cached_property
    def scope(self) -> frozenset[str]:
        """Host names that may be requested."""
        return self.config.scope()

    def find(self, body: bytes, url: str, content_type: str = "", robots_headers: str = "") -> Found:
        """Links of the HTML page ``body`` at ``url``. ``robots_headers``: its X-Robots-Tag values, joined with commas.

        A directive for another bot counts as ours here: not following is never wrong.
        """
        found = Found()
        tree = LexborHTMLParser(_text(body, content_type))
        if _forbids_links(robots_headers) or any(map(_forbids_links, _robots_metas(tree))):
            found.nofollow = len(tree.css("a[href], area[href]"))
            return found
        base = _base(tree, url)
        seen: set[tuple[str, str]] = set()
        for href, rel in _hrefs(tree):
            if "nofollow" in rel.lower().split():
                found.nofollow += 1
                continue
            link = self.judge(base, href)
            if link.host and link.host not in self.scope:
                found.out_of_scope += 1
            elif (link.page_id, link.url) not in seen:
                if len(seen) == MAX_PAGE_LINKS:
                    found.over_limit += 1
                    continue
                seen.add((link.page_id, link.url))
                found.links.append(link)
        return found

    def judge(self, base: str, href: str) -> Link:
        """The frontier entry that a link (or a seed, with itself as base) makes."""
        try:
            page_url = join(base, href)
            parts = split(page_url)
            page_id = url_id(page_url)
        except UrlError as error:
            return self._refused(href, error)
        link = Link(page_id, page_url, _spelling(page_url, href), parts.host)
        trap = self._trap(page_url, parts.path)
        if trap is None:
            return link
        return Link(link.page_id, page_url, link.url, link.host, CrawlReason.TRAP_SUSPECTED.value, trap)

    def _trap(self, page_url: str, path: str) -> str | None:
        """Why a URL looks like a site that makes up endless pages (C26); None if it does not."""
        longest, most = self.config.max_url_bytes, self.config.max_segment_repeats
        if len(page_url) > longest:  # a clean URL is ASCII
            return f"{len(page_url)} bytes (limit {longest})"
        segments = [segment for segment in path.split("/") if segment]
        for segment in dict.fromkeys(segments):
            if segments.count(segment) > most:
                return f"segment {segment[:64]} {segments.count(segment)} times (limit {most})"
        return None

    def _refused(self, href: str, error: UrlError) -> Link:
        if error.reason is NetReason.SCHEME_NOT_ALLOWED:
            url = f"{error.detail}:"
        else:
            url = _storable(redact(href))
        outcome: WebReason = error.reason
        if error.reason is NetReason.URL_TOO_LONG:
            outcome = CrawlReason.TRAP_SUSPECTED
        return Link(key_of("no request", outcome, url), url, url, "", outcome.value, error.detail)


def looks_like_html(start: bytes) -> bool:
    """Whether a body of no declared type is HTML, by its first bytes (WHATWG MIME Sniffing, section 7.1).

    >>> looks_like_html(b"  <!doctype HTML><title>x</title>"), looks_like_html(b"%PDF-1.7")
    (True, False)
    """
    return _HTML_START.match(start) is not None


_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf)?[\t\n\f\r ]*<(?:!--|\?xml[^>]*>[\t\n\f\r ]*<(?:!doctype html|html)|(?:!doctype html|html|head|"
    rb"script|iframe|h1|div|font|table|a|style|title|b|body|br|p|meta|link)[ \t\n\f\r/>])",
    re.IGNORECASE,
)


def _hrefs(tree: LexborHTMLParser) -> Iterator[tuple[str, str]]:
    """(href, rel) of the links to other documents, in document order."""
    for node in tree.css("a[href], area[href]"):
        href = (node.attributes.get("href") or "").strip(_STRIPPED)
        if href and not href.startswith("#"):  # RFC 3986, 4.4: a same-document reference requests nothing
            yield href, node.attributes.get("rel") or ""


def _base(tree: LexborHTMLParser, url: str) -> str:
    """What links are relative to: the first ``<base href>`` that is usable, else the page itself."""
    for node in tree.css("base[href]"):
        try:
            return join(url, node.attributes.get("href") or "")
        except UrlError:
            return url  # HTML standard: only the first one counts, and a broken one falls back
    return url


def _robots_metas(tree: LexborHTMLParser) -> Iterator[str]:
    for node in tree.css("meta[name][content]"):
        if (node.attributes.get("name") or "").strip().lower() in ("robots", PRODUCT_TOKEN):
            yield node.attributes.get("content") or ""


def _forbids_links(directives: str) -> bool:
    return not _NO_LINKS.isdisjoint(_TOKEN.findall(directives.lower()))


def _text(body: bytes, content_type: str) -> str:
    """The page as text; the charset matters here only for letters beyond ASCII in a link."""
    named = _CHARSET.search(content_type) or _CHARSET.search(body[:1024].decode("latin-1"))
    try:
        return body.decode(named[1] if named else "utf-8", "replace")
    except LookupError:  # iso-8859-12
        return body.decode("utf-8", "replace")


def _spelling(page_url: str, href: str) -> str:
    """``href`` as written where it is absolute, else as resolved, with its fragment."""
    if _ABSOLUTE.match(href):
        return _storable(redact(href))
    _, mark, fragment = href.partition("#")
    return _storable(page_url + mark + fragment)


def _storable(url: str) -> str:
    """Valid UTF-8 of bounded length."""
    return url[:MAX_SPELLING_CHARS].encode("utf-8", "replace").decode()
