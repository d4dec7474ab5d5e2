"""URL lists: rows of an image URL and its text, in parquet, csv, tsv or jsonl. There is no page.

tsv is read without quotes (IANA text/tab-separated-values has none); csv as in RFC 4180.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import InputError
from pipeline.extract.candidates import NO_PAGE, Row, candidate, lost
from pipeline.extract.config import Config
from pipeline.extract.reasons import Reason

URL_NAMES = ("url", "image_url", "img_url", "src")  # in this order, whatever their case
CAPTION_NAMES = ("caption", "text", "alt", "alt_text", "title", "description")

BATCH_ROWS = 4096
MAX_LINE_BYTES = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_Fields = tuple[int, str | None, str | None]  # number of the line or row from 1, URL, caption

csv.field_size_limit(MAX_LINE_BYTES)


class _BadRow(Exception):
    """A row that cannot be read; its number and why."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(number, why)
        self.number = number
        self.why = why


def columns_of(path: str | Path, container: str) -> dict[str, str]:
    """Name and type of each column of a list; jsonl has those of its first line. Raises OSError, ValueError."""
    if container == "parquet":
        try:
            schema = pq.read_schema(path)
        except pa.ArrowException as error:
            raise ValueError(str(error).splitlines()[0]) from None
        return {field.name: "string" if _is_text(field.type) else str(field.type) for field in schema}
    with _opened(path) as file:
        if container == "jsonl":
            line = file.readline(MAX_LINE_BYTES).removeprefix(b"\xef\xbb\xbf")
            values = msgspec.json.decode(line, type=dict[str, Any]).items()
            return {name: "string" if isinstance(value, str | None) else type(value).__name__ for name, value in values}
        return dict.fromkeys(next(_csv_rows(file, container), []), "string")


def chosen_columns(columns: dict[str, str], url_column: str, caption_column: str, name: str) -> tuple[str, str]:
    """The two columns to read. Raises InputError ``input_schema``, which names those that exist."""
    chosen = []
    for wanted, names, what in ((url_column, URL_NAMES, "url"), (caption_column, CAPTION_NAMES, "caption")):
        by_lower_case = {column.lower(): column for column in reversed(columns)}
        column = wanted or next((by_lower_case[name] for name in names if name in by_lower_case), None)
        there = ", ".join(columns)[:200] or "none"
        if column is None:
            raise InputError(
                "input_schema", f"{name}: no column for the {what} (columns: {there}); set extract.{what}_column"
            )
        if column not in columns:
            raise InputError("input_schema", f"{name}: no column {column!r} (columns: {there})")
        if columns[column] != "string":
            raise InputError("input_schema", f"{name}: column {column!r} is {columns[column]}, wanted string")
        chosen.append(column)
    return chosen[0], chosen[1]


def read_url_list(
    path: str | Path, container: str, url_column: str, caption_column: str, fingerprint: str, config: Config
) -> Iterator[Row]:
    """A row for each row of the list; those that cannot be read say their line (parquet: row) from 1."""
    name = Path(path).name
    read = {"parquet": _parquet, "jsonl": _jsonl}.get(container, _csv)
    try:
        for item in read(path, container, url_column, caption_column):
            if isinstance(item, _BadRow):
                detail = f"{name}, line {item.number}: {item.why}"
                yield lost(fingerprint, item.number, Reason.ROW_MALFORMED, detail)
            else:
                _, url, caption = item
                yield candidate(NO_PAGE, None, url or "", caption, config)
    except EOFError:
        yield lost(fingerprint, "end", Reason.ARCHIVE_TRUNCATED, name)
    except (OSError, zlib.error, pa.ArrowException) as error:
        yield lost(fingerprint, "end", Reason.ARCHIVE_MALFORMED, f"{name}: {str(error)[:200]}")


def _parquet(path: str | Path, _: str, url_column: str, caption_column: str) -> Iterator[_Fields | _BadRow]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=[url_column, caption_column]):
            # Parquet does not promise that text is UTF-8: read as bytes, so that one bad value costs one row.
            urls, captions = (_as_bytes(batch.column(column)) for column in (url_column, caption_column))
            for url, caption in zip(urls, captions, strict=True):
                number += 1
                try:
                    yield number, _text(url), _text(caption)
                except UnicodeDecodeError:
                    yield _BadRow(number, "invalid UTF-8")


def _as_bytes(column: pa.Array) -> list[bytes | None]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.large_binary()).to_pylist()


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return pa.types.is_string(type_) or pa.types.is_large_string(type_)


def _jsonl(path: str | Path, _: str, url_column: str, caption_column: str) -> Iterator[_Fields | _BadRow]:
    with _opened(path) as file:
        for number, line in enumerate(_lines(file), 1):
            line = line.strip().removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")
            if not line:
                continue
            try:
                values = msgspec.json.decode(line, type=dict[str, Any])
                url, caption = values.get(url_column), values.get(caption_column)
            except (msgspec.DecodeError, UnicodeError) as error:
                yield _BadRow(number, str(error)[:200])
                continue
            if isinstance(url, str | None) and isinstance(caption, str | None):
                yield number, url, caption
            else:
                yield _BadRow(number, f"{url_column} or {caption_column} is no text")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines, each cut where it is longer than any row can be."""
    while line := file.readline(MAX_LINE_BYTES):
        yield line
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)


def _csv(path: str | Path, container: str, url_column: str, caption_column: str) -> Iterator[_Fields | _BadRow]:
    with _opened(path) as file:
        rows = _csv_rows(file, container)
        header = next(rows, [])
        url_at, caption_at = header.index(url_column), header.index(caption_column)
        while True:
            number = rows.line_num + 1
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield _BadRow(number, str(error))
                continue
            if row is None:
                return
            if row:
                yield _checked(number, row, len(header), url_at, caption_at)


def _checked(number: int, row: list[str], n_columns: int, url_at: int, caption_at: int) -> _Fields | _BadRow:
    if len(row) != n_columns:
        return _BadRow(number, f"{len(row)} columns, the header has {n_columns}")
    url, caption = row[url_at], row[caption_at]
    if "\0" in url or "\0" in caption:
        return _BadRow(number, "NUL")
    try:
        (url + caption).encode()
    except UnicodeEncodeError:  # a byte that was no UTF-8 stands as a lone surrogate
        return _BadRow(number, "invalid UTF-8")
    return number, url, caption


def _csv_rows(file: IO[bytes], container: str) -> Any:
    """A csv.reader; bytes that are no UTF-8 come out as lone surrogates."""
    lines: Iterable[str] = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    if container == "tsv":
        return csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return csv.reader(lines)


def _opened(path: str | Path) -> IO[bytes]:
    with Path(path).open("rb") as file:
        is_gzip = file.read(2) == _GZIP_MAGIC
    return gzip.open(path) if is_gzip else Path(path).open("rb")
