"""Counts of a few columns beside the rows of a stored table."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from pipeline.core.beside import PLACE, beside, with_places
from pipeline.core.storage import FileRecord, LocalStorage
from pipeline.core.tables import Through, read_table, write_file, write_parquet, write_table
from schemas.fields import INT64, STRING, column, table

KEY, WORD, LONG = column("key", INT64, ""), column("word", STRING, ""), column("long", STRING, "")
WIDE = table(1, [KEY, WORD, LONG])
NARROW = pa.schema([WORD])
COUNTED = table(1, [KEY, WORD, LONG, column("times", INT64, "")])
WORDS = ["a", "b", "a", None, "c", "a", "b", "a", "d", "c"]


@pytest.fixture
def storage(tmp_path) -> LocalStorage:
    return LocalStorage(tmp_path)


@pytest.fixture
def files(storage: LocalStorage) -> list[FileRecord]:
    """Ten rows in files of row groups of three, and one file without rows."""
    rows = [{"key": key, "word": word, "long": f"row {key}" * 50} for key, word in enumerate(WORDS)]
    written = [write_file(storage, "wide", WIDE, [])]
    for part in (rows[:7], rows[7:]):
        with storage.writing("wide", ".parquet") as file:
            pq.write_table(pa.Table.from_pylist(part, schema=WIDE), file, row_group_size=3)
        written.append(file.record(len(part)))
    return written


def counted(spark: SparkSession, storage: LocalStorage, files: list[FileRecord]) -> DataFrame:
    times = F.count(F.lit(1)).over(Window.partitionBy("word"))
    return with_places(spark, storage, files, NARROW).select(*PLACE.names, times.alias("times"))


def written(spark: SparkSession, storage: LocalStorage, made: tuple[DataFrame, Through]) -> list[dict]:
    records = write_table(made[0], storage, "counted", COUNTED, made[1])
    return [row.asDict() for row in read_table(spark, storage, records, COUNTED).orderBy("key").collect()]


def test_each_row_gets_the_result_of_its_own_values(spark, storage, files) -> None:
    rows = written(spark, storage, beside(counted(spark, storage, files), storage, files, COUNTED))
    assert [row["times"] for row in rows] == [WORDS.count(word) for word in WORDS]
    assert [(row["key"], row["word"]) for row in rows] == list(enumerate(WORDS))
    assert all(row["long"] == f"row {row['key']}" * 50 for row in rows)


def test_results_that_do_not_match_the_rows_are_an_error(spark, storage, files) -> None:
    some = counted(spark, storage, files).where("not (_file = 1 and _group = 1 and _row = 1)")
    with pytest.raises(Exception, match="2 results for the 3 rows"):
        written(spark, storage, beside(some, storage, files, COUNTED))


def test_small_tables_share_a_row_group(tmp_path) -> None:
    one = pa.table({"key": [1], "word": ["a"], "long": ["b"]}, schema=WIDE)
    with (tmp_path / "x.parquet").open("wb") as stream:
        assert write_parquet(stream, WIDE, [one] * 1000) == 1000
    assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups == 1
