"""URL lists: rows of an image URL and its text, in Parquet, CSV, TSV or JSON. There is no page.

Each container has its reader (``delimited.py``, ``json_lists.py``, ``parquet_lists.py``), which gives numbered rows of
values; here they become rows of the stage. A list of texts gives a row for each. What pandas and databases write where
there is no text (``None``, ``nan``, ``\\N`` and the like) is no text.

A row whose URL is plain is the common case. It takes a short way (``_plain``): no URL is parsed, and nothing but the
columns of a list is filled. Everything else goes the way of any image (``candidates.py``), with equal rows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.core.boundary import attempted, contained, is_cut, said
from pipeline.core.ids import DIGEST_BYTES
from pipeline.stages.extract import references
from pipeline.stages.extract.candidates import NO_PAGE, Row, candidate, in_batches, lost
from pipeline.stages.extract.config import Columns, Config
from pipeline.stages.extract.lists.delimited import Delimited
from pipeline.stages.extract.lists.json_lists import json_rows
from pipeline.stages.extract.lists.list_bytes import opened
from pipeline.stages.extract.lists.parquet_lists import BATCH_ROWS, parquet_rows, rows_behind
from pipeline.stages.extract.lists.picture_columns import listed_of, with_listed
from pipeline.stages.extract.mojibake import is_mojibake
from pipeline.stages.extract.reasons import Reason
from pipeline.web.urls import without_tracking
from schemas.extract import ADDS
from schemas.fields import OK

LIST_COLUMNS = (
    "candidate_id",
    "count",
    "outcome",
    "detail",
    "pair_id",
    "url_id",
    "image_url",
    "alt_text",
    "caption_source",
    "listed_sha256s",
    "boxes",
    "page_optouts",
)
"""The columns that a row without a page may fill; in all others it has null."""
_ALT_TEXT = LIST_COLUMNS.index("alt_text")

TABLES_AT_ONCE = 8  # some 20 MB; together they are one row group of the part

NO_TEXT = frozenset({"NaN", "nan", "None", "null", "NULL", "<NA>", "\\N"})

_ESCAPE = r"%(?:[0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[B-DF])"  # in upper case, of what needs one
_PATH = r"[A-Za-z0-9._~!$&()*+,;=:@/-]*+"
_QUERY = r"[A-Za-z0-9._~!$&()*+,;=:@/?-]*+"
_PLAIN = re.compile(
    r"https?://(?!\S*/\.)(?![^/]*xn--)(?=[^/]{1,60}/)(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}/"
    rf"{_PATH}(?:{_ESCAPE}{_PATH})*+(?:\?{_QUERY}(?:{_ESCAPE}{_QUERY})*+)?"
)
"""URLs whose every character stays as it is in a request and, but for tracking parameters, in a key."""

_NO_SIGNALS = ()  # a tuple: rows of nothing but such values are untracked by the garbage collector

_Values = dict[str, Any]
_Numbered = tuple[int | str, _Values | ValueError]
_Listed = tuple[Any, ...]  # the values of LIST_COLUMNS


def read_url_list(
    path: str | Path, container: str, columns: Columns, fingerprint: str, config: Config
) -> Iterator[Row]:
    """The rows of the list, in its order; the detail of an unreadable row has its line (Parquet: row), from 1."""
    nothing = dict.fromkeys(ADDS.names)
    for values in _rows(path, container, columns, fingerprint, config):
        row = nothing | dict(zip(LIST_COLUMNS, values, strict=True))
        yield row | {"page_optouts": None if row["page_optouts"] is None else []}


def url_list_tables(
    path: str | Path, container: str, columns: Columns, fingerprint: str, config: Config
) -> Iterator[pa.Table]:
    """The same rows as tables of at most BATCH_ROWS * TABLES_AT_ONCE rows in the schema of the stage."""
    rows = _rows(path, container, columns, fingerprint, config)
    batches = _tables(rows)
    while tables := list(islice(batches, TABLES_AT_ONCE)):
        yield pa.concat_tables(tables)


def _chars_of(row: _Listed) -> int:
    return len(row[_ALT_TEXT] or "")


def _tables(rows: Iterator[_Listed]) -> Iterator[pa.Table]:
    """Tables of so few rows that Python's garbage collector does not look at them again and again."""
    for batch in in_batches(rows, BATCH_ROWS, _chars_of):
        filled = dict(zip(LIST_COLUMNS, zip(*batch, strict=True), strict=True))
        arrays = [
            pa.array(filled[field.name], field.type) if field.name in filled else pa.nulls(len(batch), field.type)
            for field in ADDS
        ]
        yield pa.table(arrays, schema=ADDS)


def _rows(path: str | Path, container: str, columns: Columns, fingerprint: str, config: Config) -> Iterator[_Listed]:
    name = Path(path).name
    number: int | str = 0

    def found() -> Iterator[_Listed]:
        nonlocal number
        for number, values in _numbered(path, container, columns):
            if isinstance(values, dict) and (row := _plain(values, columns, config.max_url_bytes)):
                yield row
            else:
                where = f"{name}, line {number}"
                yield from map(_listed, _rows_or_lost(values, columns, config, fingerprint, number, where))

    def rest(error: Exception, count: int) -> _Listed:
        if is_cut(error):
            return _listed(lost(fingerprint, "end", Reason.ARCHIVE_TRUNCATED, name))
        behind = attempted(lambda: rows_behind(path, int(number)), lambda _: 1) if container == "parquet" else 1
        detail = f"{name}, after line {number}: {said(error)}"
        return _listed(lost(fingerprint, "end", Reason.ARCHIVE_MALFORMED, detail, count=behind))

    return contained(found(), rest)


def _listed(row: Row) -> _Listed:
    return tuple(row[column] for column in LIST_COLUMNS)


def _numbered(path: str | Path, container: str, columns: Columns) -> Iterator[_Numbered]:
    names = list(dict.fromkeys(filter(None, columns)))
    if container == "parquet":
        yield from parquet_rows(path, names)
    elif container == "jsonl":
        yield from json_rows(path)
    else:
        with opened(path) as file:
            yield from Delimited(file, container).rows(names)


def _rows_or_lost(
    values: _Values | ValueError, columns: Columns, config: Config, fingerprint: str, number: int | str, where: str
) -> list[Row]:
    def broken(error: Exception) -> list[Row]:
        return [lost(fingerprint, number, Reason.ROW_MALFORMED, f"{where}: {said(error)}")]

    return attempted(lambda: _rows_of(values, columns, config, where), broken)


def _rows_of(values: _Values | ValueError, columns: Columns, config: Config, where: str) -> list[Row]:
    """ValueError for what cannot be read: a row must be complete."""
    if isinstance(values, ValueError):
        raise values
    url, texts = values.get(columns.url), values.get(columns.caption)
    texts = [text for text in texts if text is not None] if isinstance(texts, list) else [texts]
    if not all(isinstance(value, str | None) for value in (url, *texts)):
        raise ValueError(f"{columns.url} or {columns.caption} is not a text")
    _require_text([url, *texts])
    rows = [candidate(NO_PAGE, None, url or "", _text(text), config) for text in texts or [None]]
    return [with_listed(row, values, columns, Reason.ROW_MALFORMED, where) for row in rows]


def _require_text(values: list[str | None]) -> None:
    """ValueError for a lone surrogate: an invalid byte was read as one, or JSON has its escape."""
    try:
        "".join(filter(None, values)).encode()
    except UnicodeEncodeError:
        raise ValueError("invalid UTF-8") from None


def _text(text: str | None) -> str | None:
    return None if text is None or text.strip() in NO_TEXT else text


def _plain(values: _Values, columns: Columns, max_url_bytes: int) -> _Listed | None:
    """The row of a plain URL with a good text; None for any other."""
    url, text = values.get(columns.url), values.get(columns.caption)
    if not (type(url) is type(text) is str) or len(url) > max_url_bytes or not _PLAIN.fullmatch(url):
        return None
    if not text or text.isspace() or text.strip() in NO_TEXT or "\ufffd" in text:
        return None
    try:
        raw_url, raw_text = url.encode(), text.encode()
        listed = listed_of(values, columns) if columns.sha256 or columns.boxes else (None, None)
    except (KeyError, ValueError):
        return None
    normalised = without_tracking(url).encode() if "?" in url else raw_url
    if "&" in text:
        text = references.decoded(text)
        if not text.strip() or "\ufffd" in text:
            return None
    if is_mojibake(text):
        return None
    in_nfc = unicodedata.normalize("NFC", text).encode()
    return (
        blake2b(b"\0\0\0%b\0%b" % (raw_url, raw_text), digest_size=DIGEST_BYTES).hexdigest(),
        1,
        OK,
        None,
        blake2b(b"%b\0%b" % (normalised, in_nfc), digest_size=DIGEST_BYTES).hexdigest(),
        blake2b(normalised, digest_size=DIGEST_BYTES).hexdigest(),
        url,
        text,
        "alt",
        *listed,
        _NO_SIGNALS,
    )
