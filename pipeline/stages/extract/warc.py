"""WARC files (ISO 28500): which records are pages, and the HTML in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from fastwarc.warc import HeaderMap, WarcRecord, WarcRecordType

from pipeline.stages.extract.candidates import Page, Row, lost, summary
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.page_parser import PageParser
from pipeline.stages.extract.reasons import Reason
from pipeline.stages.extract.records import MAX_HEADER_BYTES, Lost, Record, open_file, read_records
from pipeline.web.codings import CodingError, Decoder
from pipeline.web.optouts import from_headers

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
SNIFF_BYTES = 1024

_LOOKS_LIKE_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|meta|script|p|div|h1)[\s>]", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]{0,256})?\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';]+)", re.IGNORECASE)
_STATUS = re.compile(r"HTTP/\S+[ \t]+(\d{3})(?!\d)", re.IGNORECASE)


class BodyTooLarge(Exception):
    """The body is larger than ``max_page_bytes`` after unpacking."""


def read_warc(
    path: str | Path,
    fingerprint: str,
    config: Config,
    offsets: set[int] | None = None,
    opened: Callable[[str], BinaryIO] = open_file,
) -> Iterator[Row]:
    """Rows of all pages of a file: responses with status 200 that hold HTML.

    The other records are counted in one summary row. With ``offsets`` only the records there are read (the pages
    that a crawl kept), nothing else is counted, and an offset without a record gives a row. ``opened`` opens the file.
    """
    name = Path(path).name
    n_no_page = 0
    unseen = set(offsets or ())
    with PageParser(config) as parser:
        for item in read_records(path, config.max_page_bytes + MAX_HEADER_BYTES, opened):
            if offsets is not None and item.offset not in offsets:
                continue
            unseen.discard(item.offset)
            if isinstance(item, Lost):
                yield lost(fingerprint, item.place, item.reason, _where(name, item.place))
                continue
            rows = _rows_of_record(item, name, fingerprint, config, parser)
            if rows is None:
                n_no_page += 1
            else:
                yield from rows
    for offset in sorted(unseen):
        yield lost(fingerprint, offset, Reason.RECORD_MALFORMED, f"no record at {_where(name, offset)}")
    if n_no_page:
        yield summary(fingerprint, Reason.RECORD_NOT_PAGE, name, n_no_page)


def _rows_of_record(item: Record, name: str, fingerprint: str, config: Config, parser: PageParser) -> list[Row] | None:
    """Rows of one record; None if it is not a page."""
    try:
        record = WarcRecord.from_bytes(item.data)
        if record.record_type != WarcRecordType.response or not record.is_http:
            return None
        record.parse_http(auto_decode="none", quirks_mode=True)
        headers, stored = record.http_headers, record.reader.read()
    except (OSError, ValueError):
        return [lost(fingerprint, item.offset, Reason.RECORD_MALFORMED, _where(name, item.offset))]
    if not _is_page(headers, stored):
        return None
    page = Page(text_of(record.headers, b"WARC-Target-URI").strip("<> "), text_of(record.headers, b"WARC-Date") or None)
    try:
        if item.is_cut:
            raise BodyTooLarge
        html = body_of(stored, headers, config.max_page_bytes)
    except BodyTooLarge:
        return [lost(fingerprint, item.offset, Reason.BODY_TOO_LARGE, _where(name, item.offset), page=page)]
    charset = _CHARSET.search(text_of(headers, b"Content-Type"))
    http_charset = charset[1] if charset else None
    rows = parser.rows(html, page.url or "", page.date, http_charset, from_headers(headers.items_bytes()))
    if rows is None:
        return [lost(fingerprint, item.offset, Reason.PARSER_CRASH, _where(name, item.offset), page=page)]
    return rows


def text_of(headers: HeaderMap, name: bytes) -> str:
    """A header's value, decoded as UTF-8, else latin-1. Empty if the header is missing."""
    value = headers.get_bytes(name) or b""
    with suppress(UnicodeDecodeError):
        return value.decode().strip()
    return value.decode("latin-1").strip()


def body_of(stored: bytes, headers: HeaderMap, max_bytes: int) -> bytes:
    """The body as the page's author wrote it: chunks joined, codings undone, within ``max_bytes``.

    Many archives hold the plain body under the headers of the coded one, so a body that does not decode from its first
    byte on is taken as it is; one that breaks later is used up to the fault. Raises BodyTooLarge.
    """
    if b"chunked" in (headers.get_bytes(b"Transfer-Encoding") or b"").lower():
        stored = _joined_chunks(stored)
    encodings = [value.decode("latin-1") for value in headers.get_bytes_multiple(b"Content-Encoding")]
    body = bytearray()
    try:
        for piece in Decoder(encodings).feed(stored):
            body += piece
            if len(body) > max_bytes:
                raise BodyTooLarge
    except CodingError:
        if not body:
            body += stored
    if len(body) > max_bytes:
        raise BodyTooLarge
    return bytes(body)


def _joined_chunks(stored: bytes) -> bytes:
    """The chunks of RFC 9112, section 7.1; ``stored`` itself if it does not begin with one."""
    pieces, position = [], 0
    while match := _CHUNK_SIZE.match(stored, position):
        size = int(match[1], 16)
        pieces.append(stored[match.end() : match.end() + size])
        position = match.end() + size
        position += 2 if stored.startswith(b"\r\n", position) else 1
        if not size:
            break
    return b"".join(pieces) if pieces else stored


def _is_page(headers: HeaderMap, body: bytes) -> bool:
    status = _STATUS.match(headers.status_line or "")
    if not status or status[1] != "200":
        return False
    media_type = text_of(headers, b"Content-Type").partition(";")[0].strip().lower()
    return media_type in HTML_TYPES if media_type else _LOOKS_LIKE_HTML.search(body[:SNIFF_BYTES]) is not None


def _where(name: str, place: int | str) -> str:
    return f"{name} at byte {place}"
