"""How many tasks work on a table: one for few rows, without a shuffle; as many as ever for many rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from pipeline.core import spark as planning
from pipeline.core.spark import FEW_ROWS, FOR_FEW_ROWS, PARTITIONS, plan_for
from pipeline.core.storage import FileRecord, Storage, open_storage
from pipeline.core.tables import empty, read_table, spark_schema, together, write_file
from schemas.fields import BINARY, FLOATS, INT64, STRING, STRINGS, column, table

ROWS = table(1, [column("key", STRING, "key"), column("number", INT64, "n")])
WIDE = table(1, [*ROWS, column("a b", STRINGS, "list"), column("c", BINARY, "bytes"), column("d", FLOATS, "list")])
ADAPTIVE = "spark.sql.adaptive.enabled"


@pytest.fixture
def session(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> SparkSession:
    """A session of its own, whose submitter has set nothing."""
    monkeypatch.setattr(planning, "_given", lambda _: frozenset())
    return spark.newSession()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Storage, list[FileRecord]]:
    storage = open_storage(str(tmp_path))
    tables = [pa.table({"key": [f"k{n % 7}" for n in range(50)], "number": range(50)}, schema=ROWS)] * 4
    return storage, [write_file(storage, "rows", ROWS, [each]) for each in tables]


def work(session: SparkSession, storage: Storage, files: list[FileRecord]) -> DataFrame:
    """A join, an aggregate, a window and groups for Python, as stages have them."""
    rows = read_table(session, storage, files, ROWS)
    sums = rows.groupBy("key").agg(F.sum("number").alias("total"))
    place = F.row_number().over(Window.partitionBy("key").orderBy("number"))
    joined = rows.withColumn("place", place).join(sums, "key", "left")
    grouped = together(joined, "key").sortWithinPartitions("key", "number", "place")
    return grouped.mapInArrow(lambda batches: batches, grouped.schema)


def plan_of(frame: DataFrame) -> str:
    return str(frame._jdf.queryExecution().executedPlan())


def test_few_rows_are_worked_on_in_one_task_without_a_shuffle(session: SparkSession, files) -> None:
    found = {}
    for rows in (FEW_ROWS, FEW_ROWS + 1):
        plan_for(session, rows)
        frame = work(session, *files)
        found[rows] = sorted(frame.collect())
        assert ("Exchange" in plan_of(frame)) == (rows > FEW_ROWS), plan_of(frame)
    assert found[FEW_ROWS] == found[FEW_ROWS + 1]
    assert len(found[FEW_ROWS]) == 200


def test_the_number_of_tasks_grows_again_with_the_rows(session: SparkSession) -> None:
    plan_for(session, FEW_ROWS)
    assert {key: session.conf.get(key) for key in FOR_FEW_ROWS} == FOR_FEW_ROWS
    for rows in (FEW_ROWS + 1, None):
        plan_for(session, rows)
        assert int(session.conf.get(PARTITIONS) or 0) > 1
        assert session.conf.get("spark.sql.codegen.factoryMode") == "FALLBACK"


@pytest.mark.parametrize("rows", [FEW_ROWS, FEW_ROWS + 1])
def test_what_a_submitter_has_set_stays(session: SparkSession, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets the number of partitions plans alone."""
    session.conf.set(ADAPTIVE, "true")
    monkeypatch.setattr(planning, "_given", lambda _: frozenset({ADAPTIVE}))
    plan_for(session, rows)
    assert session.conf.get(ADAPTIVE) == "true"
    session.conf.set(PARTITIONS, "5")
    session.conf.set("spark.sql.codegen.wholeStage", "true")
    monkeypatch.setattr(planning, "_given", lambda _: frozenset({PARTITIONS}))
    plan_for(session, rows)
    assert session.conf.get(PARTITIONS) == "5"
    assert session.conf.get("spark.sql.codegen.wholeStage") == "true"


def test_settings_of_the_running_application_are_known(spark: SparkSession) -> None:
    """The session of the tests has set its partitions."""
    assert PARTITIONS in planning._given(spark.sparkContext.applicationId or "")


def test_an_empty_table_has_its_columns_and_no_task(spark: SparkSession) -> None:
    nothing = empty(spark, WIDE)
    assert nothing.schema == spark_schema(WIDE)
    assert nothing.rdd.getNumPartitions() == 0
    assert "Join" not in plan_of(spark.range(3).join(nothing.select(F.col("number").alias("id")), "id", "left"))
