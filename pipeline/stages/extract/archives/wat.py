"""WAT files of Common Crawl: the links of each page as JSON, written by ia-web-commons, without the pages.

They have less than the page: only ``src`` (no ``srcset``, lazy attributes, ``<picture>`` or language), and no sign
of what was in a comment or template.

Until July 2019 URLs and texts were written with the character references that the page had (commit c7e79be of
commoncrawl/ia-web-commons decodes them). The ``warcinfo`` before a record names the build that wrote it, or at least
its day. What an older build wrote is decoded here, once; what a newer one wrote is not touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from pipeline.core.boundary import attempted, said
from pipeline.stages.extract import references
from pipeline.stages.extract.archives.records import Lost, Record, read_records
from pipeline.stages.extract.candidates import Page, Row, beyond_limit, candidate, lost, summary
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages.html import base_of
from pipeline.stages.extract.raw.heads import MAX_HEADER_BYTES, Head, head_of
from pipeline.stages.extract.reasons import Reason
from pipeline.web.optouts import from_headers, from_meta

IMAGE_PATH = "IMG@/src"
MAX_JSON_BYTES_A_PAGE_BYTE = 4  # a WAT record repeats each link with its names

DECODED_SINCE = "20190708"  # day of the first build that decodes character references

T = TypeVar("T")
_BUILD = re.compile(rb"^Software-Info:[^\r\n]*-(20\d{6})\d{6}[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_NOT_THERE = msgspec.Raw()
_Headers = dict[str, str | list[str]]


class _Link(msgspec.Struct, gc=False):
    path: str = ""
    url: str | msgspec.UnsetType = msgspec.UNSET
    alt: str | msgspec.UnsetType = msgspec.UNSET


class _Path(msgspec.Struct):
    """A link of which only the path is read; the rest may be broken."""

    path: str = ""


class _Meta(msgspec.Struct):
    name: str = ""
    content: str = ""


class _Head(msgspec.Struct, rename={"base": "Base", "metas": "Metas"}):
    base: str | None = None
    metas: msgspec.Raw = _NOT_THERE


class _Html(msgspec.Struct, rename={"head": "Head", "links": "Links"}):
    head: msgspec.Raw = _NOT_THERE
    links: msgspec.Raw = _NOT_THERE


class _Status(msgspec.Struct, rename={"status": "Status"}):
    status: str | int = "200"


class _Response(msgspec.Struct, rename={"message": "Response-Message", "headers": "Headers", "html": "HTML-Metadata"}):
    message: _Status = msgspec.field(default_factory=_Status)
    headers: msgspec.Raw = _NOT_THERE
    html: _Html | None = None


class _Payload(msgspec.Struct, rename={"response": "HTTP-Response-Metadata"}):
    response: _Response | None = None


class _Warc(msgspec.Struct, rename={"uri": "WARC-Target-URI", "date": "WARC-Date"}):
    uri: str = ""
    date: str | None = None


class _Envelope(msgspec.Struct, rename={"warc": "WARC-Header-Metadata", "payload": "Payload-Metadata"}):
    warc: _Warc = msgspec.field(default_factory=_Warc)
    payload: _Payload = msgspec.field(default_factory=_Payload)


class _Wat(msgspec.Struct, rename={"envelope": "Envelope"}):
    envelope: _Envelope


_wat = msgspec.json.Decoder(_Wat)
_link = msgspec.json.Decoder(_Link)
_path = msgspec.json.Decoder(_Path)
_links = msgspec.json.Decoder(list[msgspec.Raw])
_sound_links = msgspec.json.Decoder(list[_Link])
_head = msgspec.json.Decoder(_Head)
_meta = msgspec.json.Decoder(_Meta)
_headers = msgspec.json.Decoder(_Headers)
_BROKEN = (msgspec.DecodeError, UnicodeError, RecursionError)


def read_wat(path: str | Path, fingerprint: str, config: Config) -> Iterator[Row]:
    """Rows of all pages of a file; all other records are counted in one summary row."""
    name = Path(path).name
    max_block_bytes = MAX_JSON_BYTES_A_PAGE_BYTE * config.max_page_bytes + MAX_HEADER_BYTES
    n_no_page, written = 0, ""
    for item in read_records(path, max_block_bytes):
        if isinstance(item, Lost):
            yield lost(fingerprint, item.place, item.reason, f"{name} at byte {item.place}")
            continue
        head = head_of(item.data)
        if head.text("warc-type").lower() == "warcinfo":
            written = _day_of_writer(head, item.data)
        is_raw = (written or _day_of(head)) < DECODED_SINCE
        rows = _rows_or_lost(item, head, name, fingerprint, config, is_raw)
        if rows is None:
            n_no_page += 1
        else:
            yield from rows
    if n_no_page:
        yield summary(fingerprint, Reason.RECORD_NOT_PAGE, name, n_no_page)


def _day_of_writer(warcinfo: Head, data: bytes) -> str:
    """YYYYMMDD of the build that wrote the following records, else of the file; "9" if neither is said."""
    build = _BUILD.search(data, max(0, warcinfo.end))
    return build[1].decode() if build else _day_of(warcinfo)


def _day_of(head: Head) -> str:
    return head.text("warc-date")[:10].replace("-", "") or "9"


def _rows_or_lost(
    item: Record, head: Head, name: str, fingerprint: str, config: Config, is_raw: bool
) -> list[Row] | None:
    def broken(error: Exception) -> list[Row]:
        where = f"{name} at byte {item.offset}: {said(error)}"
        return [lost(fingerprint, item.offset, Reason.RECORD_MALFORMED, where)]

    return attempted(lambda: _rows_of_record(item, head, name, fingerprint, config, is_raw), broken)


def _rows_of_record(
    item: Record, head: Head, name: str, fingerprint: str, config: Config, is_raw: bool
) -> list[Row] | None:
    """Rows of one record; None if it does not describe a page. ``is_raw``: character references are still there."""
    where = f"{name} at byte {item.offset}"
    if head.text("warc-type").lower() != "metadata":
        return None
    if item.is_cut:
        return [lost(fingerprint, item.offset, Reason.BODY_TOO_LARGE, where)]
    try:
        envelope = _wat.decode(_valid_utf8(item.data[head.end :])).envelope
        response = envelope.payload.response
        if response is None or response.html is None or str(response.message.status) != "200":
            return None
        links = _links_in(response.html.links)
    except _BROKEN:
        return [lost(fingerprint, item.offset, Reason.RECORD_MALFORMED, where)]
    decode = references.decoded if is_raw else str
    page = _page(envelope.warc, response, config, decode)
    return _rows_of_page(page, links, item.offset, fingerprint, where, config, decode)


def _links_in(raw: msgspec.Raw) -> Sequence[_Link | msgspec.Raw]:
    """All links of a page, or each to be read alone if one of them is broken."""
    try:
        return _sound_links.decode(raw)
    except _BROKEN:
        return _links.decode(raw)


def _rows_of_page(
    page: Page,
    links: Sequence[_Link | msgspec.Raw],
    offset: int,
    fingerprint: str,
    where: str,
    config: Config,
    decode: Callable[[str], str],
) -> list[Row]:
    rows: list[Row] = []
    place = 0
    for number, found in enumerate(links):
        try:
            if (found if isinstance(found, _Link) else _path.decode(found)).path != IMAGE_PATH:
                continue
            place += 1
            if place > config.max_page_images:
                continue
            link = found if isinstance(found, _Link) else _link.decode(found)
            if link.url is msgspec.UNSET:
                raise msgspec.ValidationError("no url")
        except _BROKEN as error:
            detail = f"{where}, link {number}: {error}"
            rows.append(lost(fingerprint, f"{offset}#{number}", Reason.RECORD_MALFORMED, detail, page=page))
            continue
        alt = None if link.alt is msgspec.UNSET else decode(link.alt)
        rows.append(candidate(page, place - 1, decode(link.url), alt, config))
    if place > config.max_page_images:
        rows.append(beyond_limit(page, place - config.max_page_images))
    return rows


def _page(warc: _Warc, response: _Response, config: Config, decode: Callable[[str], str]) -> Page:
    head = _decoded(_head, response.html.head if response.html else _NOT_THERE) or _Head()
    optouts = set(from_headers(_raw_headers(_decoded(_headers, response.headers) or {})))
    for raw in _decoded(_links, head.metas) or []:
        meta = _decoded(_meta, raw) or _Meta()
        optouts.update(from_meta(decode(meta.name), decode(meta.content)))
    base = base_of([decode(head.base)] if head.base else [], warc.uri, config)
    return Page(warc.uri, warc.date, base, None, tuple(sorted(optouts)))


def _raw_headers(headers: _Headers) -> Iterator[tuple[bytes, bytes]]:
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            yield name.encode("utf-8"), value.encode("latin-1", "replace")


def _decoded(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw) -> T | None:
    """A part about the page, not about a single link; a broken part counts as missing."""
    try:
        return decoder.decode(raw) if raw else None
    except _BROKEN:
        return None


def _valid_utf8(data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode()
