"""Rows of a list in Parquet, whoever wrote it: text as string, view, binary or dictionary; null; lists of texts.

Memory grows with the largest row group: 1.2 million rows in one took 380 MB, 100,000 in each took 280 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.stages.extract.lists.list_bytes import MAX_LINE_BYTES

BATCH_ROWS = 4096
BUFFER_BYTES = 2**20
MAX_BATCH_BYTES = 2**24  # of a column
MAX_CHUNK_BYTES = 2**31  # of a column in a row group; Arrow cannot hold more text
MAX_VALUES = 2**26  # the same, in values: a few bytes can declare billions of nulls
FEW_ROWS = 20
TEXT, TEXTS, BOXES, NOTHING = "string", "list of strings", "list of lists of numbers", "null"

_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)

Numbered = tuple[int, dict[str, Any] | ValueError]


def parquet_columns(path: str | Path) -> dict[str, str]:
    """Name of each column, and what it holds, in words. Raises ValueError, OSError."""
    try:
        with pq.ParquetFile(path) as file:
            schema, empty = file.schema_arrow, _without_values(file.metadata)
    except pa.ArrowException as error:
        raise ValueError(str(error).splitlines()[0]) from None
    kinds = {field.name: NOTHING if field.name in empty else kind_of(field.type) for field in schema}
    return kinds | {name: "there twice" for name in schema.names if schema.names.count(name) > 1}


def _without_values(metadata: pq.FileMetaData) -> set[str]:
    """Columns of no text with nothing but null: where all texts are missing, pandas has NaN, DuckDB writes integers."""
    found = set()
    for place in range(metadata.num_columns):
        column = metadata.schema.column(place)
        chunks = [metadata.row_group(group).column(place) for group in range(metadata.num_row_groups)]
        if column.physical_type not in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY") and column.max_repetition_level == 0:
            known = [chunk.statistics for chunk in chunks]
            if all(stats and stats.null_count == chunk.num_values for stats, chunk in zip(known, chunks, strict=True)):
                found.add(column.path)
    return found


def parquet_rows(path: str | Path | BinaryIO, names: list[str], at_once: int = BATCH_ROWS) -> Iterator[Numbered]:
    """Number from 1 and values of each row; ``at_once`` of them are in memory."""
    number = 0
    with pq.ParquetFile(path, buffer_size=BUFFER_BYTES) as file:
        for group in range(file.num_row_groups):
            rows = min(at_once, _rows_at_once(path, file.metadata.row_group(group), group, names))
            for batch in file.iter_batches(rows, row_groups=[group], columns=names):
                may_be_long = batch.nbytes > MAX_LINE_BYTES
                for row in zip(*[_values(batch.column(name)) for name in names], strict=True):
                    number += 1
                    broken = next((value for value in row if isinstance(value, ValueError)), None)
                    broken = broken or (_too_long(row) if may_be_long else None)
                    yield number, broken or dict(zip(names, row, strict=True))


def _too_long(row: tuple[Any, ...]) -> ValueError | None:
    if any(isinstance(value, str) and len(value) > MAX_LINE_BYTES for value in row):
        return ValueError(f"a value of more than {MAX_LINE_BYTES} characters")
    return None


def _rows_at_once(path: str | Path | BinaryIO, group: pq.RowGroupMetaData, number: int, names: list[str]) -> int:
    """So many rows of a group that they stay below MAX_BATCH_BYTES, whatever its dictionaries repeat. ValueError for a
    column that declares more than is ever held."""
    chunks = [group.column(place) for place in range(group.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in names]
    for chunk in chunks:
        if chunk.total_uncompressed_size > MAX_CHUNK_BYTES or chunk.num_values > MAX_VALUES:
            what = f"{chunk.total_uncompressed_size:,} bytes, {chunk.num_values:,} values"
            raise ValueError(f"a row group with {what} in {chunk.path_in_schema}; write smaller row groups")
    with_dictionary = [chunk.path_in_schema for chunk in chunks if chunk.has_dictionary_page]
    most = max((chunk.total_uncompressed_size for chunk in chunks), default=0)
    if not with_dictionary or most * BATCH_ROWS <= MAX_BATCH_BYTES:
        return BATCH_ROWS
    if not isinstance(path, str | Path):
        return FEW_ROWS
    longest = 1
    with pq.ParquetFile(path, buffer_size=BUFFER_BYTES, read_dictionary=with_dictionary) as file:
        for batch in file.iter_batches(1, row_groups=[number], columns=names):
            longest = max(map(_longest_of_dictionary, batch.columns))
            break
    return max(1, min(BATCH_ROWS, MAX_BATCH_BYTES // longest))


def _longest_of_dictionary(column: pa.Array) -> int:
    """Bytes of the longest value in a column's dictionary; it is read as a whole before the first row."""
    if pa.types.is_dictionary(column.type) and len(column.dictionary):
        return int(pc.max(pc.binary_length(column.dictionary)).as_py() or 1)
    return 1


def rows_behind(path: str | Path, number: int) -> int:
    """How many rows the file has behind row ``number``; at least 1."""
    return max(1, int(pq.read_metadata(path).num_rows) - number)


def kind_of(type_: pa.DataType) -> str:
    """What a column holds, in words."""
    inner = _plain(type_)
    if _is(inner, *_TEXTS, *_BYTES):
        return TEXT
    if pa.types.is_null(inner):
        return NOTHING
    if not _is(inner, *_LISTS):
        return str(type_)
    inner = _plain(inner.value_type)
    if _is(inner, *_TEXTS, *_BYTES, pa.types.is_null):
        return TEXTS
    inner = inner.value_type if _is(inner, *_LISTS) else pa.null()
    return BOXES if pa.types.is_floating(inner) or pa.types.is_integer(inner) else str(type_)


def _plain(type_: pa.DataType) -> pa.DataType:
    """The type of the values: of a dictionary's, of an extension's storage."""
    while pa.types.is_dictionary(type_) or isinstance(type_, pa.BaseExtensionType):
        type_ = type_.value_type if pa.types.is_dictionary(type_) else type_.storage_type
    return type_


def _is(type_: pa.DataType, *kinds: Any) -> bool:
    return any(is_such(type_) for is_such in kinds)


def _values(column: pa.Array) -> list[Any]:
    """Text in Parquet may be invalid UTF-8, which fails a whole batch: then value by value, and it costs its row."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    try:
        values: list[Any] = column.to_pylist()
        return values if _is_of_texts(column.type) else [_text(value) for value in values]
    except UnicodeDecodeError:
        return [_value(scalar) for scalar in column]


def _is_of_texts(type_: pa.DataType) -> bool:
    inner = _plain(type_)
    return not _is(_plain(inner.value_type) if _is(inner, *_LISTS) else inner, *_BYTES)


def _value(scalar: pa.Scalar) -> Any:
    try:
        return _text(scalar.as_py())
    except UnicodeDecodeError:
        return ValueError("invalid UTF-8")


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value
