"""The cap of the balance over the pairs that are left: their draws, and the counts of the queries before and after.

All on Spark. The driver gets only a derived cap and four sums. Counts and decisions are written before
they are read, since each is read more than once.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.balance.cap import cap_of_tail_share, counted, decided, drawn
from pipeline.core.storage import FileRecord, Storage
from pipeline.core.tables import only_row, rewritten
from schemas.select import COUNTS, DRAWS, QUERIES

COUNTS_FOLDER, DRAWS_FOLDER, QUERIES_FOLDER = "select/counts", "select/draws", "select/queries"
SCRATCH = (COUNTS_FOLDER, DRAWS_FOLDER)


@dataclass(frozen=True)
class Balanced:
    """``draws``: schema DRAWS, a row for each pair that names a query. ``queries``: files of schema QUERIES."""

    draws: DataFrame
    queries: list[FileRecord]
    facts: dict[str, int]


def balance(left: DataFrame, storage: Storage, cap: int, tail_share: float, seed: int) -> Balanced:
    """Draw among the pairs that are left. Without a cap it is derived from ``tail_share``."""
    draws = drawn(left, seed)
    counts, _ = rewritten(counted(draws), storage, COUNTS_FOLDER, COUNTS)
    cap = cap or cap_of_tail_share(counts, tail_share)
    decisions, _ = rewritten(decided(draws, counts, cap), storage, DRAWS_FOLDER, DRAWS)
    kept = draws.join(decisions.where("query_draw < query_p").select("pair_id"), "pair_id", "left_semi")
    after = counts.withColumnRenamed("count", "before").join(
        counted(kept).withColumnRenamed("count", "after"), "query", "left"
    )
    queries, files = rewritten(after.fillna(0, "after").orderBy("query"), storage, QUERIES_FOLDER, QUERIES)
    return Balanced(decisions, files, {"balance_t": cap, **_sums(queries, cap)})


def _sums(queries: DataFrame, cap: int) -> dict[str, int]:
    """Matches before and after, in all queries and in the tail: those with fewer than ``cap`` pairs before."""
    tail = F.col("before") < cap
    sums = {
        "matches_before": F.sum("before"),
        "matches_after": F.sum("after"),
        "tail_matches_before": F.sum(F.when(tail, F.col("before"))),
        "tail_matches_after": F.sum(F.when(tail, F.col("after"))),
    }
    whole = [F.coalesce(value, F.lit(0)).cast("long").alias(name) for name, value in sums.items()]
    return only_row(queries.agg(*whole)).asDict()
