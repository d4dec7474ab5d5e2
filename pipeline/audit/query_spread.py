"""How a corpus is spread over the list of queries, before and after the cap of select. Spark counts; the driver gets
a few dozen rows."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import functions as F

from pipeline.audit.ledgers import UNREADABLE
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.manifest import Manifest
from pipeline.core.run import Run
from pipeline.core.tables import read_table
from schemas.select import QUERIES

HEAD_QUERIES = 10


@dataclass(frozen=True)
class Decade:
    """The queries that have between ``lowest`` and ten times as many pairs before the cap."""

    lowest: int
    queries: int
    before: int  # matches: each pair counts once per query that it names
    after: int


@dataclass(frozen=True)
class Balance:
    """``head``: (query, pairs before, pairs after), the most common first. The tail is the queries below the cap."""

    cap: int
    decades: tuple[Decade, ...]
    head: tuple[tuple[str, int, int], ...]
    tail_before: float | None  # shares of all matches, 0..1; None without a match
    tail_after: float | None


def balance_of(run: Run, manifest: Manifest) -> Balance | None:
    """The balance as select recorded it; None without a cap. InputError for a table that cannot be read."""
    files = manifest.files.get("queries")
    if not files:
        return None
    try:
        queries = read_table(run.spark, run.storage, files, QUERIES)
        digits = F.length(F.col("before").cast("string")).alias("digits")
        sums = (F.count(F.lit(1)).alias("queries"), F.sum("before").alias("before"), F.sum("after").alias("after"))
        decades = queries.groupBy(digits).agg(*sums).orderBy("digits").collect()
        head = queries.orderBy(F.col("before").desc(), "query").limit(HEAD_QUERIES).collect()
    except UNREADABLE as error:
        raise InputError(
            ErrorCode.INPUT_UNREADABLE, f"select/queries: {type(error).__name__}; run pairmill build"
        ) from error
    facts = manifest.facts
    return Balance(
        facts["balance_t"],
        tuple(Decade(10 ** (row["digits"] - 1), row["queries"], row["before"], row["after"]) for row in decades),
        tuple((row["query"], row["before"], row["after"]) for row in head),
        _share(facts["tail_matches_before"], facts["matches_before"]),
        _share(facts["tail_matches_after"], facts["matches_after"]),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
