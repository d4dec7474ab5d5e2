"""Links: resolved, and judged by what the URL alone shows. Pure: no network, no Spark, no parser (`page_links.py`).

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
from dataclasses import dataclass, field
from functools import cached_property

from pipeline.core.ids import key_of
from pipeline.stages.crawl.config import Config
from pipeline.stages.crawl.reasons import CrawlReason
from pipeline.web.reasons import NetReason, WebReason
from pipeline.web.urls import UrlError, join, redact, split, url_id

MAX_SPELLING_CHARS = 2048  # of a spelling as it is stored

_ABSOLUTE = re.compile(r"https?://", re.IGNORECASE)


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
    lost: bool = False  # the parser died on the page


@dataclass(frozen=True)
class LinkJudge:
    """The config's rules for links."""

    config: Config

    @cached_property
    def scope(self) -> frozenset[str]:
        """Host names that may be requested."""
        return self.config.scope()

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


def _spelling(page_url: str, href: str) -> str:
    """``href`` as written where it is absolute, else as resolved, with its fragment."""
    if _ABSOLUTE.match(href):
        return _storable(redact(href))
    _, mark, fragment = href.partition("#")
    return _storable(page_url + mark + fragment)


def _storable(url: str) -> str:
    """Valid UTF-8 of bounded length."""
    return url[:MAX_SPELLING_CHARS].encode("utf-8", "replace").decode()
