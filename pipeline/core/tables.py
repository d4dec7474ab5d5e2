"""Reads and writes tables of a run as DataFrames: Parquet files that a manifest lists.

Tasks write files themselves, under names unique to the attempt, and report what they wrote. Readers get a list of
files, never a directory, so a repeated or zombie task leaves an unused file, not duplicate rows. Spark reads local
files itself; pairmill's own tasks read files on a store, so no connector is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_schema

from pipeline.core.spark import tasks_at_once, tasks_of_shuffle
from pipeline.core.storage import STREAM_AHEAD_BYTES, FileRecord, LocalStorage, NewFile, Storage

ROW_GROUP_ROWS = 100_000
ROW_GROUP_BYTES = 32 * 2**20  # in memory
SCAN_ROWS = 10_000
COMPRESSION = "zstd"
Through = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
FILE_RECORD = pa.schema([("path", pa.string()), ("rows", pa.int64()), ("bytes", pa.int64()), ("sha256", pa.string())])


def conform(batch: pa.RecordBatch | pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of ``schema`` in its order and exact types (mapInArrow and Parquet both require them)."""
    table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
    return table.select(schema.names).cast(schema)


def with_columns(batch: pa.RecordBatch, schema: pa.Schema, found: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """``batch`` with added or replaced columns: exactly the columns of ``schema``, in its order."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | dict(found)
    return pa.RecordBatch.from_arrays([columns[field.name].cast(field.type) for field in schema], schema=schema)


def write_parquet(stream: NewFile | BinaryIO, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Write tables of one schema to one Parquet file; returns the number of rows."""
    rows = 0
    with pq.ParquetWriter(stream, schema, compression=COMPRESSION) as writer:
        for table in _in_groups(tables):
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
            rows += table.num_rows
    return rows


def _in_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables that are each worth a row group, however small the tables of a task's batches are."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        waiting.append(table)
        rows, size = rows + table.num_rows, size + table.nbytes
        if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.concat_tables(waiting)


def write_file(storage: Storage, folder: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> FileRecord:
    """Write one new Parquet file into ``folder`` of the run."""
    with storage.writing(folder, ".parquet") as file:
        rows = write_parquet(file, schema, tables)
    return file.record(rows)


def write_table(
    frame: DataFrame, storage: Storage, folder: str, schema: pa.Schema, through: Through | None = None
) -> list[FileRecord]:
    """Write a DataFrame into ``folder``, one file per task; an empty frame gives one file without rows.

    ``through`` makes the rows of ``schema`` from those of the frame, in the task that writes them: as a step of its
    own they would go from Python to the JVM and back.
    """
    entering = frame.select(*schema.names) if through is None else frame

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        made = batches if through is None else through(batches)
        filled = (conform(batch, schema) for batch in made if batch.num_rows)
        first = next(filled, None)
        if first is None:
            return
        record = write_file(storage, folder, schema, _chain(first, filled))
        yield pa.RecordBatch.from_pylist([vars(record)], schema=FILE_RECORD)

    records = [FileRecord(**row.asDict()) for row in entering.mapInArrow(write, spark_schema(FILE_RECORD)).collect()]
    return sorted(records or [write_file(storage, folder, schema, [])], key=lambda record: record.path)


def read_table(spark: SparkSession, storage: Storage, files: Sequence[FileRecord], schema: pa.Schema) -> DataFrame:
    """A DataFrame of exactly these files. Columns of ``schema`` missing in an older file are null."""
    types = spark_schema(schema)
    filled = [file.path for file in files if file.rows]
    if not filled:
        return empty(spark, schema)
    if isinstance(storage, LocalStorage):
        rows = spark.read.schema(types).parquet(*(literal_path(storage.path(path)) for path in filled))
        return rows.coalesce(1) if tasks_of_shuffle(spark) == 1 else rows

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                with storage.open(filled[number], STREAM_AHEAD_BYTES) as stream:
                    yield from scan(stream, schema).to_batches()

    return spark.range(0, len(filled), 1, partitions_of(spark, len(filled))).mapInArrow(read, types)


def empty(spark: SparkSession, schema: pa.Schema) -> DataFrame:
    """A DataFrame without rows, whose joins and tasks Spark leaves out."""
    nothing = (f"CAST(NULL AS {field.dataType.simpleString()}) AS `{field.name}`" for field in spark_schema(schema))
    return spark.range(0).limit(0).selectExpr(*nothing)


def together(rows: DataFrame, *columns: str) -> DataFrame:
    """Rows with equal values of ``columns`` in one task; few rows all in one, without a shuffle."""
    return rows.coalesce(1) if tasks_of_shuffle(rows.sparkSession) == 1 else rows.repartition(*columns)


def partitions_of(spark: SparkSession, files: int) -> int:
    """Number of tasks that read so many files."""
    return 1 if tasks_of_shuffle(spark) == 1 else max(1, min(files, spark.sparkContext.defaultParallelism))


def literal_path(path: Path) -> str:
    """A local path as Spark must get it: Hadoop reads every path as a glob, with backslash as its escape."""
    return re.sub(r"([\\\[\]{}*?])", r"\\\1", str(path))


def rewritten(frame: DataFrame, storage: Storage, folder: str, schema: pa.Schema) -> tuple[DataFrame, list[FileRecord]]:
    """Write a frame once and read it back, for several readers: Spark would compute it again for each."""
    files = written(frame, storage, folder, schema)
    return read_table(frame.sparkSession, storage, files, schema), files


def written(
    frame: DataFrame, storage: Storage, folder: str, schema: pa.Schema, through: Through | None = None
) -> list[FileRecord]:
    """As `write_table`, and every other file in ``folder`` is deleted."""
    files = write_table(frame, storage, folder, schema, through)
    storage.sweep(folder, {record.path for record in files})
    return files


def scan(
    stream: BinaryIO, schema: pa.Schema, columns: Sequence[str] | None = None, where: pc.Expression | None = None
) -> ds.Scanner:
    """A scanner of the rows of one Parquet file that match ``where``; ``columns`` is a subset of ``schema``."""
    fragment = ds.ParquetFileFormat().make_fragment(stream)
    names = schema.names if columns is None else list(columns)
    bounds = {"batch_size": SCAN_ROWS, "batch_readahead": 2}  # a row may hold an embedding of kilobytes
    return fragment.scanner(schema=schema, columns=names, filter=where, use_threads=False, **bounds)


def read_file(storage: Storage, file: FileRecord, columns: Sequence[str]) -> pa.Table:
    """Read some columns of a small table into this process."""
    with storage.open(file.path) as stream:
        return pq.read_table(stream, columns=list(columns))


def only_row(aggregate: DataFrame) -> Row:
    """The row of an aggregate over everything."""
    row = aggregate.first()
    assert row is not None
    return row


def spark_schema(schema: pa.Schema) -> T.StructType:
    """The Spark schema of an Arrow schema."""
    return from_arrow_schema(schema)


def each_once(name: str) -> Column:
    """An aggregate: the distinct values of a column, sorted; null if there are none."""
    values = F.sort_array(F.collect_set(name))
    return F.when(F.size(values) > 0, values)


def _chain(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from rest


def by_place(rows: DataFrame) -> DataFrame:
    """Rows of images (image_file, image_offset), ordered for sequential reading, at most 1 GiB of a file per task."""
    stretch = F.shiftright("image_offset", 30)
    tasks = tasks_at_once(rows.sparkSession)
    return rows.repartition(tasks, "image_file", stretch).sortWithinPartitions("image_file", "image_offset")
