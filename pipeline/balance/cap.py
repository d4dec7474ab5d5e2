"""The cap on how many pairs a query keeps, as Spark columns: draws, keep-probabilities, counts.

MetaCLIP's rule (Xu et al., 2023, algorithm 1): a pair is kept by a matched entry with probability t / max(count, t),
and kept if any of its entries keeps it. The draw is a function of seed, pair and entry, so it is the same on any number
of partitions, and a count that grows can only take pairs away.

    u(pair_id, entry, seed) = (XXH64 of "seed NUL pair_id NUL entry" in UTF-8, with XXH64's own seed 42, shifted right
                               by 11 bits) / 2^53, in [0, 1)

A first, wider cap before fetch saves requests (`let_through`). It uses the same draws, so it drops only pairs that the
last cap would drop too, if it is wide enough. But then the remaining draws are no longer uniform: if an entry let
through a share q of its pairs, only draws below q remain, and the last cap would keep more than t of them. So in select
an entry counts, and keeps, only pairs that its own draw let through, and that draw is divided by q. Then it is uniform
again, and nearly the same pairs are kept as without the first cap.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipeline.core.tables import only_row

MANTISSA_BITS = 53


def draw(pair_id: str, query: str, seed: int) -> Column:
    """u of the columns with these names: a double in [0, 1) with 53 random bits."""
    hashed = F.xxhash64(F.concat_ws("\0", F.lit(str(seed)), pair_id, query))
    return F.shiftrightunsigned(hashed, 64 - MANTISSA_BITS).cast("double") * F.lit(2.0**-MANTISSA_BITS)


def keep_probability(count: str, cap: int) -> Column:
    """cap / max(count, cap)."""
    return F.lit(float(cap)) / F.greatest(F.col(count).cast("double"), F.lit(float(cap)))


def drawn(pairs: DataFrame, seed: int) -> DataFrame:
    """pair_id, query, draw: one row per matched entry that let the pair through so far; draws are uniform in [0, 1).

    ``pairs`` has pair_id, queries, and query_shares: the result of `let_through`, or null without a first cap.
    """
    each = F.expr("transform(queries, (query, place) -> struct(query, coalesce(query_shares[place], 1D) AS share))")
    rows = pairs.select("pair_id", F.explode(each).alias("matched")).select("pair_id", "matched.*")
    first = rows.withColumn("draw", draw("pair_id", "query", seed)).where("draw < share")
    return first.select("pair_id", "query", (F.col("draw") / F.col("share")).alias("draw"))


def counted(draws: DataFrame) -> DataFrame:
    """query, count: the number of pairs in which each entry has a draw."""
    return draws.groupBy("query").agg(F.count(F.lit(1)).alias("count"))


def decided(draws: DataFrame, counts: DataFrame, cap: int) -> DataFrame:
    """pair_id with query, query_count, query_draw and query_p of the matched entry that decides.

    This is the entry with the least draw / p (if equal, the first by code point), so the pair is kept if and only if
    query_draw < query_p. ``counts`` has one row per entry of the list and is sent to every worker: entries are very
    unequal, and a shuffle by entry would send half of all rows to one task.
    """
    p = keep_probability("count", cap)
    held = draws.join(F.broadcast(counts), "query").withColumn("p", p)
    order = F.struct(
        (F.col("draw") >= F.col("p")).alias("lost"),
        (F.col("draw") / F.col("p")).alias("odds"),
        "query",
        "count",
        "draw",
        "p",
    )
    nearest = held.groupBy("pair_id").agg(F.min(order).alias("nearest"))
    return nearest.select(
        "pair_id",
        "nearest.query",
        F.col("nearest.count").alias("query_count"),
        F.col("nearest.draw").alias("query_draw"),
        F.col("nearest.p").alias("query_p"),
    )


def let_through(pairs: DataFrame, cap: int, seed: int) -> DataFrame:
    """pair_id, query_shares (parallel to queries, sorted as they are), is_let_through: a first cap on all ``pairs``."""
    draws = drawn(pairs.withColumn("query_shares", F.lit(None).cast("array<double>")), seed)
    held = draws.join(F.broadcast(counted(draws)), "query").withColumn("share", keep_probability("count", cap))
    shares = F.array_sort(F.collect_list(F.struct("query", "share")))
    return held.groupBy("pair_id").agg(
        F.transform(shares, lambda each: each["share"]).alias("query_shares"),
        F.max(F.col("draw") < F.col("share")).alias("is_let_through"),
    )


def cap_of_tail_share(counts: DataFrame, share: float) -> int:
    """The largest cap at which the entries below it (the tail) hold at most ``share`` of all matches.

    MetaCLIP's cap of 20,000 leaves 6% of the matches of its 1.6e9 pairs in the tail, and so do its cap of 170,000 on
    10.7e9 pairs (section 4) and one of 60,000 on DataComp's (appendix A.1): with the same share, a pool of another size
    gets the same shape. 1 if nothing matches.
    """
    alike = counts.groupBy("count").agg(F.sum("count").alias("matches"))
    up_to = F.sum("matches").over(Window.orderBy("count").rowsBetween(Window.unboundedPreceding, Window.currentRow))
    total = F.sum("matches").over(Window.partitionBy())
    summed = alike.select("count", up_to.alias("up_to"), total.alias("total"))
    above = summed.where(F.col("up_to") > F.col("total") * share).agg(F.min("count").alias("cap"))
    return int(only_row(above)["cap"] or 1)
