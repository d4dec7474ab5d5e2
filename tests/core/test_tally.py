"""The build's count of verdicts and its ledger, against Spark's aggregates as the audit uses them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.audit.proof import count_verdicts
from pipeline.core import verdict
from pipeline.core.rules import Rule, col
from pipeline.core.storage import open_storage
from pipeline.core.tables import read_table, spark_schema
from pipeline.core.tally import tallied
from pipeline.funnel import BY_NAME
from schemas.fields import INT64, STRING, column, table
from schemas.ledger import LEDGER

ROWS = table(1, [column("page_id", STRING, "key"), column("count", INT64, "weight"), column("number", INT64, "n")])
RULES = [Rule("odd", when=col("number").isin([1, 3, 5]), value=col("number")), Rule("large", when=col("number") > 90)]


def judged(spark: SparkSession, rows: int, partitions: int) -> DataFrame:
    """Keys with every leading digit; a number that is null is not measured."""
    numbers = spark.range(rows).select(
        F.md5(F.col("id").cast("string")).alias("page_id"),
        (F.col("id") % 3 + 1).alias("count"),
        F.when(F.col("id") % 17 > 0, F.col("id") % 100).alias("number"),
    )
    frame = spark.createDataFrame(numbers.collect(), spark_schema(ROWS)).repartition(partitions)
    return verdict.with_verdict(frame, RULES, ROWS)


@pytest.mark.parametrize("rows", [0, 1, 500])
@pytest.mark.parametrize("partitions", [1, 7])
def test_counts_digest_and_ledger_are_those_of_aggregates(
    spark: SparkSession, tmp_path: Path, rows: int, partitions: int
) -> None:
    """Also for no rows, tasks without rows, and keys whose leading bits are a negative number."""
    storage, frame = open_storage(str(tmp_path)), judged(spark, rows, partitions)
    tally = tallied(frame, "page_id", "page_id", storage, "crawl/ledger")
    counts, keeps = count_verdicts(BY_NAME["crawl"], frame)
    assert tally.weights == counts
    assert f"{tally.digest:016x}" == keeps.digest
    assert tally.kept_stored == frame.where(f"{verdict.REASON} is null").count()
    written = read_table(spark, storage, tally.ledger, LEDGER)
    expected = verdict.ledger(frame, "page_id")
    assert sorted(map(str, written.collect())) == sorted(map(str, expected.collect()))
    assert (len(set(counts)) == 4) == (rows == 500)
