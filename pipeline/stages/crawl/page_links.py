"""The links of a page, found in a guarded child: a page that crashes the parser or never ends costs its links alone.

The native HTML parser is imported here only, and this module in the child only: in the event loop of a lane such a page
would hold up all other hosts, which then miss their deadlines.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import msgspec
from selectolax.lexbor import LexborHTMLParser

from pipeline.core.children import serve
from pipeline.stages.crawl.config import Config
from pipeline.stages.crawl.link_child import CPU_S, MAX_BYTES, Page
from pipeline.stages.crawl.links import Found, LinkJudge
from pipeline.web.config import PRODUCT_TOKEN
from pipeline.web.urls import UrlError, join

MAX_PAGE_LINKS = 10_000  # entries of one page; what a longer list adds is a link farm's (Heritrix stops at 6,000)
MAX_JUDGED = 20_000  # links of a page, those out of scope and repeated ones included

_NO_LINKS = frozenset({"nofollow", "none"})
_TOKEN = re.compile(r"[^\s,;:]+")
_CHARSET = re.compile(  # not any codec that Python knows: some are slow, some unpack
    r"charset\s*+=\s*+[\"']?\s*+(iso-8859-\d+|windows-125\d|koi8-[ru]|gbk|gb2312|gb18030|big5|shift_jis|euc-jp|euc-kr)\b",
    re.IGNORECASE,
)
_STRIPPED = "".join(map(chr, range(0x21)))  # C0 controls and space, as the URL standard strips them


def links_of_page(judge: LinkJudge, page: Page) -> Found:
    """Links of an HTML page.

    A directive for another bot counts as ours here: not following is never wrong.
    """
    found = Found()
    tree = LexborHTMLParser(_text(page.body, page.content_type))
    if _forbids_links(page.robots) or any(map(_forbids_links, _robots_metas(tree))):
        found.nofollow = len(tree.css("a[href], area[href]"))
        return found
    base = _base(tree, page.url)
    seen: set[tuple[str, str]] = set()
    for number, (href, rel) in enumerate(_hrefs(tree)):
        if number >= MAX_JUDGED or len(seen) == MAX_PAGE_LINKS:
            found.over_limit += 1
            continue
        if "nofollow" in rel.lower().split():
            found.nofollow += 1
            continue
        link = judge.judge(base, href)
        if link.host and link.host not in judge.scope:
            found.out_of_scope += 1
        elif (link.page_id, link.url) not in seen:
            seen.add((link.page_id, link.url))
            found.links.append(link)
    return found


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


def main() -> None:
    """The child's program: the config as its argument, then pages in, links out."""
    judge = LinkJudge(Config.model_validate_json(sys.argv[1]))

    def answer(message: bytes) -> bytes:
        return msgspec.msgpack.encode(links_of_page(judge, msgspec.msgpack.decode(message, type=Page)))

    serve(answer, CPU_S, MAX_BYTES)


if __name__ == "__main__":
    main()
