"""The frontier as tables: which URLs a round may request, and the final outcome of every entry.

A round's frontier is a pure function of the links found in the round before, of the earlier frontiers and of the
config, so a resumed crawl computes it again. Everything here is a Spark plan; pages and links never reach the driver.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipeline.core.ids import key_of
from pipeline.core.tables import spark_schema
from pipeline.stages.crawl.config import Config
from pipeline.stages.crawl.reasons import RETRYABLE, CrawlReason
from pipeline.web.reasons import NetReason, WebReason
from schemas.crawl import ADDS, FRONTIER, PAGES
from schemas.fields import OK


def next_frontier(found: DataFrame, earlier: DataFrame, depth: int, config: Config) -> DataFrame:
    """New pages among the links ``found`` at ``depth`` (LINKS), as FRONTIER rows.

    One row per page_id, under its smallest clean URL, unless it is in an ``earlier`` frontier. Beyond the depth
    limit all are rejected; beyond a host's budget those with the larger keys, a fair draw among a round's pages.
    """
    first = F.min(F.struct("page_url", "host", "outcome", "detail")).alias("first")
    new = found.groupBy("page_id").agg(first).join(earlier.select("page_id"), "page_id", "left_anti")
    new = new.select("page_id", "first.*").withColumn("depth", F.lit(depth))
    askable = F.col("outcome").isNull()
    if depth > config.max_depth:
        too_deep = f"depth {depth} (limit {config.max_depth})"
        return _refused(new, askable, CrawlReason.TRAP_SUSPECTED, too_deep).select(*FRONTIER.names)
    asked = earlier.where(askable).groupBy("host").agg(F.count(F.lit(1)).alias("asked"))
    place = F.row_number().over(Window.partitionBy("host", askable).orderBy("page_id"))
    placed = new.withColumn("place", place).join(asked, "host", "left")
    over = askable & (F.col("place") + F.coalesce("asked", F.lit(0)) > config.max_pages_per_host)
    budget = f"limit {config.max_pages_per_host} pages"
    return _refused(placed, over, NetReason.HOST_BUDGET, budget).select(*FRONTIER.names)


def to_ask(frontier: DataFrame, pages: DataFrame, retry_failed: bool) -> DataFrame:
    """The pages of a frontier to request now: page_id, page_url, host, depth, try_number.

    A page with an answer (``pages``: PAGES rows) is final; temporary failures are requested again if ``retry_failed``.
    """
    newest = newest_answers(pages).select(
        "page_id", F.col("try_number").alias("last_try"), F.col("outcome").alias("answer")
    )
    again = F.col("answer").isin(*RETRYABLE) if retry_failed else F.lit(False)
    open_ = frontier.where(F.col("outcome").isNull()).join(newest, "page_id", "left")
    try_number = (F.coalesce("last_try", F.lit(0)) + 1).alias("try_number")
    return open_.where(F.col("last_try").isNull() | again).select("page_id", "page_url", "host", "depth", try_number)


def newest_answers(pages: DataFrame) -> DataFrame:
    """One row per page: its highest try. (A task that ran twice may have left two answers of one try.)"""
    by_age = ["try_number", "fetched_at"]
    others = [name for name in PAGES.names if name not in ("page_id", *by_age)]
    newest = F.max(F.struct(*by_age, *others)).alias("newest")
    return pages.groupBy("page_id").agg(newest).select("page_id", "newest.*")


def crawl_rows(frontier: DataFrame, pages: DataFrame, links: DataFrame) -> DataFrame:
    """The stage's rows: one per page of all frontiers, with its answer or why it was not requested; merged spellings.

    The counts add up to the number of different spellings that ever entered a frontier.
    """
    answers = newest_answers(pages).drop("depth", "count", "try_number")
    found = ("page_url", "outcome", "detail")
    entered = frontier.select("page_id", "depth", *[F.col(name).alias(f"entered_{name}") for name in found])
    answered = F.col("outcome").isNotNull()
    joined = entered.join(answers, "page_id", "left").withColumns(
        {name: F.when(answered, F.col(name)).otherwise(F.col(f"entered_{name}")) for name in found}
        | {"count": F.lit(1).cast("long"), "tries": F.coalesce("tries", F.lit(0))}
    )
    rows = _once_a_target(joined).select(*ADDS.names).unionByName(_merged_spellings(frontier, links))
    return rows.sortWithinPartitions("page_id")


def _once_a_target(pages: DataFrame) -> DataFrame:
    """Of all pages that redirects led to the same page one is kept: the page itself, else the smallest key."""
    taken = F.col("outcome") == OK
    itself_first = [F.col("page_id") != F.col("final_page_id"), F.col("page_id")]
    target = F.coalesce("final_page_id", "page_id")  # what was not taken has no target: one partition each, not all
    place = F.row_number().over(Window.partitionBy(taken, target).orderBy(*itself_first))
    again = taken & (F.col("place") > 1)
    detail = F.concat(F.lit("leads to the same page as another: "), "final_url")
    return pages.withColumn("place", place).withColumns(
        {
            "outcome": F.when(again, CrawlReason.DUPLICATE_URL.value).otherwise(F.col("outcome")),
            "detail": F.when(again, detail).otherwise(F.col("detail")),
        }
    )


def _refused(urls: DataFrame, condition: Column, reason: WebReason, detail: str) -> DataFrame:
    """Give the rows that meet the condition this outcome."""
    return urls.withColumns(
        {
            "outcome": F.when(condition, reason.value).otherwise(F.col("outcome")),
            "detail": F.when(condition, detail).otherwise(F.col("detail")),
        }
    )


def _merged_spellings(frontier: DataFrame, links: DataFrame) -> DataFrame:
    """The other spellings of each page that was found under several (C27): one row per page, which counts them."""
    spellings = links.select("page_id", "url").distinct()
    asked = frontier.select("page_id", "page_url", "depth")
    other = F.min(F.when(F.col("url") != F.col("page_url"), F.col("url"))).alias("other")
    several = (
        spellings.join(asked, "page_id")
        .groupBy("page_id", "page_url", "depth")
        .agg(other, (F.count(F.lit(1)) - 1).alias("count"))
        .where(F.col("count") > 0)
    )
    return several.mapInArrow(_duplicate_rows, spark_schema(ADDS))


def _duplicate_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = [
            {
                "page_id": key_of(CrawlReason.DUPLICATE_URL.value, page["page_id"]),
                "count": page["count"],
                "page_url": page["other"],
                "depth": page["depth"],
                "outcome": CrawlReason.DUPLICATE_URL.value,
                "detail": f"the same page as {page['page_url']}",
                "tries": 0,
            }
            for page in batch.to_pylist()
        ]
        yield pa.RecordBatch.from_pylist(rows, schema=ADDS)
