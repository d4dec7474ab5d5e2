"""All pairs of copies among many images, as spanning forests: exact, but without comparing all with all.

Two hashes that differ in at most t bits, cut into m > t blocks, have m-t blocks equal. So every choice of m-t blocks
is a mask, C(m, t) in all; images that agree under one mask share a bucket, and only within buckets are pairs
compared (Norouzi et al., "Fast exact search in Hamming space with multi-index hashing", 2014; the choice of blocks as
Manku et al., "Detecting near-duplicates for web crawling", 2007). A pair that shares several is compared in the first.

More blocks mean more copies of each row to shuffle, and smaller buckets. `block_masks` weighs the two. With t = 4:

    pictures   blocks   masks   bits of a mask   pictures in a bucket
    10^6            5       5   12 or 13         120 to 240
    10^7            5       5   12 or 13         1,200 to 2,400
    10^9            6      15   20 to 22         240 to 950
    10^11           7      35   27 or 28         370 to 750

A block takes every m-th bit, not a run of them: neighbouring frequencies go together. Of 3,619 photographs' hashes 1.2
times as many pairs share a bucket as of uniform ones, of runs 1.6 times (m = 5; with m = 6 it is 2.0 and 3.6).

A bucket may still be hot (blank images share most of their bits). Equal signatures are one row before anything else.
A bucket of more than LARGEST_BUCKET rows is cut into chunks, and each pair of chunks is a bucket of its own: the work
is the same, but no task has more than its share or needs more memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import ceil, comb

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.copies.signature import PHASH_BITS, SIGNATURE_COLUMNS, CopyLimits, signatures_of
from pipeline.core.spark import tasks_of_shuffle
from pipeline.core.tables import spark_schema
from schemas.dedup import EDGES

LARGEST_BUCKET = 32_768
ROWS_AT_ONCE = 65_536
MOVING_A_ROW = 2_000
"""Cost of shuffling one row, in comparisons. It takes as long as some 5,000 (3 µs), but real
buckets are uneven, and the less so the more blocks there are."""
MOST_MASKS = 256
"""Most copies of a row in the shuffle: with more, its disks would be the limit."""
ROWS_A_PARTITION = 2_000_000
BUCKET = ("number", "key", "first", "second")


def block_masks(pictures: int, max_distance: int) -> list[int]:
    """Masks over 64 bits such that any two hashes at most ``max_distance`` bits apart agree under one of them.

    The number of blocks with the least cost per image is taken: the number of masks, times a row to move and half
    a bucket of uniform hashes to compare with.
    """

    def cost(blocks: int) -> float:
        masked_bits = PHASH_BITS * (blocks - max_distance) / blocks
        return comb(blocks, max_distance) * (MOVING_A_ROW + pictures / 2 ** (masked_bits + 1))

    possible = range(max_distance + 1, PHASH_BITS + 1)
    blocks = min((number for number in possible if comb(number, max_distance) <= MOST_MASKS), key=cost)
    parts = [sum(1 << bit for bit in range(block, PHASH_BITS, blocks)) for block in range(blocks)]
    return [sum(chosen) for chosen in combinations(parts, blocks - max_distance)]


def near_edges(signatures: DataFrame, limits: CopyLimits, pictures: int) -> DataFrame:
    """Edges (schema EDGES) that connect all copies among ``signatures`` (node, phash, phash256, chroma4; no nulls).

    A node must have one row. The edges have the components that all pairs within the limits have, and at each node
    that has any an edge of its least distance. ``pictures``: how many rows there are.
    """
    masks = block_masks(pictures, limits.phash)
    rows = _in_buckets(signatures, masks, pictures)
    partitions = max(tasks_of_shuffle(rows.sparkSession), ceil(pictures * len(masks) / ROWS_A_PARTITION))
    rows = rows.repartition(partitions, *BUCKET) if partitions > 1 else rows.coalesce(1)
    buckets = rows.sortWithinPartitions(*BUCKET, "own", "node")

    def edges(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in whole_buckets(batches):
            yield forest_edges(table, np.array(masks, np.uint64), limits)

    return buckets.mapInArrow(edges, spark_schema(EDGES))


def _in_buckets(signatures: DataFrame, masks: list[int], pictures: int) -> DataFrame:
    """Each row once per mask (``number``, ``key``); in hot buckets once per pair of chunks (``first``, ``second``),
    of which ``own`` is the row's chunk."""
    keys = [
        F.struct(F.lit(number).alias("number"), F.col("phash").bitwiseAND(F.lit(_signed(mask))).alias("key"))
        for number, mask in enumerate(masks)
    ]
    keyed = signatures.select("node", *SIGNATURE_COLUMNS, F.explode(F.array(*keys)).alias("bucket"))
    keyed = keyed.select("node", *SIGNATURE_COLUMNS, "bucket.*")
    if pictures <= LARGEST_BUCKET:  # no bucket is hot
        whole = [F.lit(0).cast("long").alias(name) for name in ("first", "second", "own")]
        return keyed.select("number", "key", *whole, "node", *SIGNATURE_COLUMNS)
    sizes = keyed.groupBy("number", "key").agg(F.count(F.lit(1)).alias("size")).where(F.col("size") > LARGEST_BUCKET)
    chunks = F.coalesce(F.ceil(F.col("size") / LARGEST_BUCKET), F.lit(1))
    cut = keyed.join(F.broadcast(sizes), ["number", "key"], "left").withColumn("chunks", chunks)
    cut = cut.withColumn("own", F.pmod("node", "chunks")).withColumn(
        "other", F.explode(F.sequence(F.lit(0).cast("long"), F.col("chunks") - 1))
    )
    first, second = F.least("own", "other").alias("first"), F.greatest("own", "other").alias("second")
    return cut.select("number", "key", first, second, "own", "node", *SIGNATURE_COLUMNS)


def whole_buckets(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Sorted rows as tables that end where a bucket ends."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(part.num_rows for part in held) >= ROWS_AT_ONCE:
            table = pa.Table.from_batches(held).combine_chunks()
            last = int(_starts(table)[-2])
            held = table.slice(last).to_batches()
            if last:
                yield table.slice(0, last)
    if held:
        yield pa.Table.from_batches(held)


def forest_edges(rows: pa.Table, masks: npt.NDArray[np.uint64], limits: CopyLimits) -> pa.RecordBatch:
    """The edges among rows of whole buckets, sorted by BUCKET and own."""
    from pipeline.copies.kernel import forests_kernel  # numba, on the workers alone

    starts = _starts(rows)
    first, second, own, numbers = (_numbers(rows, name) for name in ("first", "second", "own", "number"))
    begins = starts[:-1]
    in_first = np.add.reduceat((own == first).astype(np.int64), begins)
    splits = np.where(first[begins] == second[begins], -1, begins + in_first)
    edges = np.empty((rows.num_rows, 3), np.int64)
    count = forests_kernel()(starts, splits, numbers[begins], signatures_of(rows), masks, limits, edges)
    one, other, bits = edges[:count].T
    node = _numbers(rows, "node")
    return pa.RecordBatch.from_arrays(
        [pa.array(node[one]), pa.array(node[other]), pa.array(bits, pa.int32())], schema=EDGES
    )


def _starts(rows: pa.Table) -> npt.NDArray[np.int64]:
    """The first row of each bucket, and the number of rows."""
    changes = np.zeros(rows.num_rows + 1, bool)
    changes[[0, -1]] = True
    for name in BUCKET:
        values = _numbers(rows, name)
        changes[1:-1] |= values[1:] != values[:-1]
    return np.flatnonzero(changes)


def _numbers(rows: pa.Table, name: str) -> npt.NDArray[np.int64]:
    numbers: npt.NDArray[np.int64] = rows.column(name).to_numpy().astype(np.int64, copy=False)
    return numbers


def _signed(bits: int) -> int:
    """64 bits as a signed number, as in Spark."""
    return bits - 2**64 if bits >= 2**63 else bits
