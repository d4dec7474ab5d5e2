"""WARC files (ISO 28500): which records are pages, and the HTML in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.core.boundary import attempted, said
from pipeline.stages.extract.archives.records import Lost, Record, open_file, read_records
from pipeline.stages.extract.archives.wacz import is_wacz, read_wacz
from pipeline.stages.extract.candidates import Page, Row, lost, summary
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages.page_parser import Item, PageParser, PageTask
from pipeline.stages.extract.raw.bodies import BodyTooLarge, body_of
from pipeline.stages.extract.raw.heads import MAX_HEADER_BYTES, Head, head_of, text_of
from pipeline.stages.extract.raw.media_types import is_binary, is_html, may_be_html, media_type_of
from pipeline.stages.extract.raw.places import is_url
from pipeline.stages.extract.reasons import Reason
from pipeline.web.optouts import from_headers

_PAGES_IN = frozenset({"response", "resource", "conversion"})  # types of records
_BLANK_LINES = re.compile(rb"(?:\r?\n)*+")
_STATUS = re.compile(rb"HTTP/\S+[ \t]+(\d{3})(?!\d)", re.IGNORECASE)


def read_warc(
    path: str | Path,
    fingerprint: str,
    config: Config,
    offsets: set[int] | None = None,
    opened: Callable[[str], BinaryIO] = open_file,
) -> Iterator[Row]:
    """Rows of all pages of a file: responses with status 200, resources and conversions that hold HTML.

    The other records are counted in one summary row. With ``offsets`` only the records there are read (the pages
    that a crawl kept), nothing else is counted, and an offset without a record gives a row. ``opened`` opens the file.
    """
    with PageParser(config) as parser:
        yield from parser.in_order(_items(path, fingerprint, config, offsets, opened))


def _items(
    path: str | Path,
    fingerprint: str,
    config: Config,
    offsets: set[int] | None,
    opened: Callable[[str], BinaryIO],
) -> Iterator[Item]:
    """The pages of a file, and the rows of what is none."""
    name = Path(path).name
    max_block_bytes = config.max_page_bytes + MAX_HEADER_BYTES
    is_zip = offsets is None and not is_url(str(path)) and is_wacz(Path(path))
    items = read_wacz(Path(path), max_block_bytes) if is_zip else read_records(path, max_block_bytes, opened)
    n_no_page = 0
    unseen = set(offsets or ())
    for item in items:
        if offsets is not None and item.offset not in offsets:
            continue
        unseen.discard(item.offset)
        if isinstance(item, Lost):
            yield [lost(fingerprint, item.place, item.reason, _where(name, item.place))]
            continue
        found = _items_or_lost(item, name, fingerprint, config)
        if found is None:
            n_no_page += 1
        else:
            yield from found
    for offset in sorted(unseen):
        yield [lost(fingerprint, offset, Reason.RECORD_MALFORMED, f"no record at {_where(name, offset)}")]
    if n_no_page:
        yield [summary(fingerprint, Reason.RECORD_NOT_PAGE, name, n_no_page)]


def _items_or_lost(item: Record, name: str, fingerprint: str, config: Config) -> list[Item] | None:
    def broken(error: Exception) -> list[Item]:
        where = f"{_where(name, item.place)}: {said(error)}"
        return [[lost(fingerprint, item.place, Reason.RECORD_MALFORMED, where)]]

    return attempted(lambda: _items_of_record(item, name, fingerprint, config), broken)


def _items_of_record(item: Record, name: str, fingerprint: str, config: Config) -> list[Item] | None:
    """The page of one record, the rows of what is lost of it; None if it is not a page."""
    head = head_of(item.data)
    answer = _answer_of(head, item.data)
    if answer is None:
        return None
    declared = media_type_of(map(text_of, answer.all("content-type")))
    if not may_be_html(declared.name):
        return None
    stored = item.data[answer.end if answer.end >= 0 else head.end :]
    where, place = _where(name, item.place), item.place
    page = Page(head.text("warc-target-uri").strip("<> "), head.text("warc-date") or None)
    try:
        if item.is_cut:
            raise BodyTooLarge
        body, fault = body_of(stored, answer, config.max_page_bytes)
    except BodyTooLarge:
        is_page = is_html(declared.name, stored)
        return [[lost(fingerprint, place, Reason.BODY_TOO_LARGE, where, page=page)]] if is_page else None
    if not is_html(declared.name, body):
        return None
    if answer.end < 0:
        return [[lost(fingerprint, place, Reason.RECORD_MALFORMED, f"{where}: its HTTP header has no end", page=page)]]
    if is_binary(body):
        body, fault = b"", fault or "the body is no text"
    items: list[Item] = []
    if body:
        task = PageTask(body, page.url or "", page.date, declared.charset, tuple(from_headers(answer.fields)))
        items.append((task, [lost(fingerprint, place, Reason.PARSER_CRASH, where, page=page)]))
    if fault:
        items.append([lost(fingerprint, place, Reason.BAD_ENCODING, f"{where}: {fault}", page=page)])
    return items


def _answer_of(head: Head, data: bytes) -> Head | None:
    """Headers that describe a page, up to where its body begins in ``data``; None for a record that holds no page.

    A response has HTTP headers of its own, and counts if its status is 200. A resource or a conversion has none
    (ISO 28500, 6.4 and 6.9): there the record's own Content-Type counts.
    """
    kind = head.text("warc-type").lower()
    if kind not in _PAGES_IN:
        return None
    blank = _BLANK_LINES.match(data, head.end)  # RFC 9112, section 2.2
    start = blank.end() if blank else head.end
    if data[start : start + 5].upper() != b"HTTP/":
        is_empty_answer = kind == "response" and media_type_of([head.text("content-type")]).name == "application/http"
        return None if is_empty_answer else _described(head)
    answer = head_of(data, start)
    while (status := _STATUS.match(answer.first_line)) and status[1].startswith(b"1") and answer.end >= 0:
        answer = head_of(data, answer.end)  # what came before it: RFC 9110, section 15.2
    return answer if status and status[1] == b"200" else None


def _described(head: Head) -> Head:
    """The headers of a record that has none but its own: its Content-Type."""
    return Head(b"".join(b"\nContent-Type: " + value for value in head.all("content-type")), head.end)


def _where(name: str, place: int | str) -> str:
    return f"{name} at byte {place}"
