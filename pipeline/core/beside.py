"""Compute on a few columns of a stored table, then add the results to its rows.

A count over a column needs a shuffle, and shuffling rows of forty columns for every count costs more than all else.
So only the columns that the counts need are shuffled, together with the place of their row: (file, row group, row).
The results are sorted back by place, and each task adds those of a row group to its rows, read from the file itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from pipeline.core.errors import ErrorCode, StageError
from pipeline.core.storage import STREAM_AHEAD_BYTES, FileRecord, Storage
from pipeline.core.tables import partitions_of, spark_schema, together, with_columns

PLACE = pa.schema([("_file", pa.int32()), ("_group", pa.int32()), ("_row", pa.int32())])

Batches = Iterator[pa.RecordBatch]
Place = tuple[int, int]  # file, row group


def with_places(spark: SparkSession, storage: Storage, files: Sequence[FileRecord], schema: pa.Schema) -> DataFrame:
    """The columns of ``schema`` of all rows of ``files``, and the place of each row."""
    placed = pa.schema([*schema, *PLACE])

    def read(batches: Batches) -> Batches:
        for number in (number for batch in batches for number in batch["id"].to_pylist()):
            with storage.open(files[number].path, STREAM_AHEAD_BYTES) as stream, pq.ParquetFile(stream) as file:
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group, columns=schema.names, use_threads=False).select(schema.names)
                    yield from _placed(rows, number, group, placed).to_batches()

    numbers = spark.range(0, len(files), 1, partitions_of(spark, len(files)))
    return numbers.mapInArrow(read, spark_schema(placed))


def beside(
    found: DataFrame, storage: Storage, files: Sequence[FileRecord], schema: pa.Schema
) -> tuple[DataFrame, Callable[[Batches], Batches]]:
    """A frame and what each task makes of it: the rows of ``files`` in ``schema``, with the columns of ``found``.

    ``found`` has one row for each row of ``files``, with its place and columns that the files lack. StageError if not.
    """
    ordered = together(found, "_file", "_group").sortWithinPartitions(*PLACE.names)

    def add(batches: Batches) -> Batches:
        for (file, group), columns in _by_group(batches):
            with storage.open(files[file].path) as stream:
                rows = pq.ParquetFile(stream).read_row_group(group, use_threads=False)
            if columns["_row"].to_numpy().tolist() != list(range(rows.num_rows)):
                text = f"{columns.num_rows} results for the {rows.num_rows} rows of a row group of {files[file].path}"
                raise StageError(ErrorCode.STAGE_FAILED, text)
            for batch in rows.combine_chunks().to_batches():
                added = {name: columns[name] for name in columns.schema.names if name not in PLACE.names}
                yield with_columns(batch, schema, added)

    return ordered, add


def _placed(rows: pa.Table, file: int, group: int, schema: pa.Schema) -> pa.Table:
    count = rows.num_rows
    place = (np.full(count, file), np.full(count, group), np.arange(count))
    columns = [*rows.columns, *(pa.array(values, pa.int32()) for values in place)]
    return pa.table(columns, names=schema.names).cast(schema)


def _by_group(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Place, pa.RecordBatch]]:
    """The rows of each row group as one batch; rows of one group are adjacent."""
    place: Place | None = None
    parts: list[pa.RecordBatch] = []
    for batch in batches:
        for part in _split(batch):
            here = (part["_file"][0].as_py(), part["_group"][0].as_py())
            if place is not None and here != place:
                yield place, pa.concat_batches(parts)
                parts = []
            place = here
            parts.append(part)
    if place is not None:
        yield place, pa.concat_batches(parts)


def _split(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch cut wherever the row group changes."""
    if not batch.num_rows:
        return
    file, group = (batch[name].to_numpy() for name in ("_file", "_group"))
    changes = np.flatnonzero((np.diff(file) != 0) | (np.diff(group) != 0)) + 1
    for begin, end in pairwise([0, *changes.tolist(), batch.num_rows]):
        yield batch.slice(begin, end - begin)
