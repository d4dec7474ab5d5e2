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
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import ErrorCode, InputError
from pipeline.stages.extract.candidates import NO_PAGE, Row, candidate, lost
from pipeline.stages.extract.config import Columns, Config
from pipeline.stages.extract.picture_columns import with_listed
from pipeline.stages.extract.reasons import Reason

BOXES = "list of lists of numbers"
URL_NAMES = ("url", "image_url", "img_url", "src")  # in this order, whatever their case
CAPTION_NAMES = ("caption", "text", "alt", "alt_text", "title", "description")
_NAMES: dict[str, tuple[str, ...]] = {"url": URL_NAMES, "caption": CAPTION_NAMES, "sha256": (), "boxes": ()}

_ALSO = {"sha256": ("null",), "boxes": (BOXES, "null")}  # allowed types of columns besides text

BATCH_ROWS = 4096
MAX_LINE_BYTES = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_Values = dict[str, Any]  # by the column's name
_Opened = gzip.GzipFile | io.BufferedReader
_Numbered = tuple[int, _Values | ValueError]  # number of the line or row from 1; its values, or why they cannot be read

csv.field_size_limit(MAX_LINE_BYTES)


def columns_of(path: str | Path, container: str) -> dict[str, str]:
    """Name and type of each column of a list; jsonl has those of its first line. Raises OSError, ValueError."""
    if container == "parquet":
        try:
            schema = pq.read_schema(path)
        except pa.ArrowException as error:
            raise ValueError(str(error).splitlines()[0]) from None
        return {field.name: _kind(field.type) for field in schema}
    with _opened(path) as file:
        if container == "jsonl":
            line = file.readline(MAX_LINE_BYTES).removeprefix(b"\xef\xbb\xbf")
            values = msgspec.json.decode(line, type=dict[str, Any]).items()
            kinds = {str: "string", type(None): "string", list: BOXES}
            return {name: kinds.get(type(value), type(value).__name__) for name, value in values}
        return dict.fromkeys(next(_csv_rows(file, container), []), "string")


def chosen_columns(columns: dict[str, str], wished: Columns, name: str) -> Columns:
    """The columns to read. Raises InputError ``input_schema``, which lists the existing columns."""
    chosen = {}
    there = ", ".join(columns)[:200] or "none"
    for what, names in _NAMES.items():
        wanted = getattr(wished, what)
        if not (wanted or names):
            continue
        by_lower_case = {column.lower(): column for column in reversed(columns)}
        column = wanted or next((by_lower_case[name] for name in names if name in by_lower_case), None)
        if column is None:
            raise InputError(
                ErrorCode.INPUT_SCHEMA,
                f"{name}: no column for the {what} (columns: {there}); set extract.{what}_column",
            )
        if column not in columns:
            raise InputError(ErrorCode.INPUT_SCHEMA, f"{name}: no column {column!r} (columns: {there})")
        kinds = ("string", *_ALSO[what]) if what in _ALSO else ("string",)
        if columns[column] not in kinds:
            text = f"{name}: column {column!r} is {columns[column]}, wanted {' or '.join(kinds)}"
            raise InputError(ErrorCode.INPUT_SCHEMA, text)
        chosen[what] = column
    return Columns(**chosen)


def read_url_list(
    path: str | Path, container: str, columns: Columns, fingerprint: str, config: Config
) -> Iterator[Row]:
    """One row per row of the list; the detail of an unreadable row has its line (parquet: row), from 1."""
    name = Path(path).name
    read = {"parquet": _parquet, "jsonl": _jsonl}.get(container, _csv)
    try:
        for number, values in read(path, container, list(dict.fromkeys(filter(None, columns)))):
            try:
                row = _row_of(values, columns, config, f"{name}, line {number}")
            except ValueError as error:
                row = lost(fingerprint, number, Reason.ROW_MALFORMED, f"{name}, line {number}: {str(error)[:200]}")
            yield row
    except EOFError:
        yield lost(fingerprint, "end", Reason.ARCHIVE_TRUNCATED, name)
    except (OSError, zlib.error, pa.ArrowException) as error:
        yield lost(fingerprint, "end", Reason.ARCHIVE_MALFORMED, f"{name}: {str(error)[:200]}")


def _row_of(values: _Values | ValueError, columns: Columns, config: Config, where: str) -> Row:
    """ValueError for what cannot be read: a row must be complete."""
    if isinstance(values, ValueError):
        raise values
    url, caption = values.get(columns.url), values.get(columns.caption)
    if not (isinstance(url, str | None) and isinstance(caption, str | None)):
        raise ValueError(f"{columns.url} or {columns.caption} is no text")
    row = candidate(NO_PAGE, None, url or "", caption, config)
    return with_listed(row, values, columns, Reason.ROW_MALFORMED, where)


def _parquet(path: str | Path, _: str, names: list[str]) -> Iterator[_Numbered]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=names):
            columns = [_values(batch.column(name)) for name in names]
            for row in zip(*columns, strict=True):
                number += 1
                try:
                    yield number, {name: _text(value) for name, value in zip(names, row, strict=True)}
                except UnicodeDecodeError:
                    yield number, ValueError("invalid UTF-8")


def _values(column: pa.Array) -> list[Any]:
    """Text in Parquet may be invalid UTF-8: it is read as bytes, so that one bad value loses only one row."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    values: list[Any] = (column.cast(pa.large_binary()) if _is_text(column.type) else column).to_pylist()
    return values


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _kind(type_: pa.DataType) -> str:
    """What a column of a parquet file holds, in words."""
    if _is_text(type_):
        return "string"
    inner = type_
    for _ in range(2):
        inner = inner.value_type if _is_list(inner) else pa.null()
    return BOXES if pa.types.is_floating(inner) or pa.types.is_integer(inner) else str(type_)


def _is_list(type_: pa.DataType) -> bool:
    return any(is_such(type_) for is_such in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return any(is_such(type_) for is_such in (pa.types.is_string, pa.types.is_large_string))


def _jsonl(path: str | Path, _: str, _names: list[str]) -> Iterator[_Numbered]:
    with _opened(path) as file:
        for number, line in enumerate(_lines(file), 1):
            line = line.strip().removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")
            if not line:
                continue
            try:
                values = msgspec.json.decode(line, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                yield number, ValueError(str(error))
                continue
            yield number, values


def _lines(file: _Opened) -> Iterator[bytes]:
    """Lines, each cut if it is longer than any row can be."""
    while line := file.readline(MAX_LINE_BYTES):
        yield line
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)


def _csv(path: str | Path, container: str, names: list[str]) -> Iterator[_Numbered]:
    with _opened(path) as file:
        rows = _csv_rows(file, container)
        header: list[str] = next(rows, [])
        places = {name: header.index(name) for name in names}
        while True:
            number = rows.line_num + 1
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield number, ValueError(str(error))
                continue
            if row is None:
                return
            if len(row) != len(header):
                if row:
                    yield number, ValueError(f"{len(row)} columns, the header has {len(header)}")
                continue
            values = {name: row[place] for name, place in places.items()}
            yield number, _fault_of(values) or values


def _fault_of(values: dict[str, str]) -> ValueError | None:
    text = "".join(values.values())
    try:
        text.encode()
    except UnicodeEncodeError:  # an invalid UTF-8 byte became a lone surrogate
        return ValueError("invalid UTF-8")
    return ValueError("NUL") if "\0" in text else None


def _csv_rows(file: _Opened, container: str) -> Any:
    """A csv.reader; invalid UTF-8 bytes become lone surrogates."""
    lines: Iterable[str] = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    if container == "tsv":
        return csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return csv.reader(lines)


def _opened(path: str | Path) -> _Opened:
    with Path(path).open("rb") as file:
        is_gzip = file.read(2) == _GZIP_MAGIC
    return gzip.open(path) if is_gzip else Path(path).open("rb")
