"""The exact near-duplicate join of dedup against numpy brute force, on the same hashes in the same run.

100,000 distinct random 64-bit hashes, of which 10,000 are copies of others with 1 to 4 bits flipped. Both sides find
all pairs at most 4 bits apart; the two sets of pairs must be equal. The join runs on local[2] from a Parquet file
(keys shuffled, pairs collected); brute force holds everything in memory and compares all pairs on one core, in blocks
that fit the cache. Rounds are interleaved; the first round of the join, which warms the JVM up, stands apart.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pipeline.core.spark import SparkConfig, spark_session
from pipeline.dedup.stage import near_pairs

HASHES = 100_000
COPIES = HASHES // 10
MAX_DISTANCE = 4
ROUNDS = 3
CORES = 2
BLOCK_ROWS, BLOCK_COLUMNS = 32, 8192  # 2 MiB of differences

Pairs = set[tuple[int, int]]


def hashes_with_copies(seed: int) -> tuple[np.ndarray, Pairs]:
    """Distinct int64 hashes in random order, and the planted pairs (smaller hash first)."""
    rng = np.random.default_rng(seed)
    originals = rng.integers(-(2**63), 2**63, HASHES - COPIES)
    copied = rng.choice(originals, COPIES, replace=False)
    flips = [sum(1 << int(bit) for bit in rng.choice(64, rng.integers(1, MAX_DISTANCE + 1), replace=False))
             for _ in range(COPIES)]  # fmt: skip
    copies = (copied.view(np.uint64) ^ np.array(flips, np.uint64)).view(np.int64)
    hashes = rng.permutation(np.concatenate([originals, copies]))
    if len(np.unique(hashes)) < HASHES:
        raise ValueError(f"seed {seed} gives a hash twice; take another")
    return hashes, {_ordered(*pair) for pair in zip(copied.tolist(), copies.tolist(), strict=True)}


def join(spark: SparkSession, path: Path) -> Pairs:
    """The pairs that the join of dedup finds."""
    found = near_pairs(spark.read.parquet(str(path)), MAX_DISTANCE)
    return {(row["phash_a"], row["phash_b"]) for row in found.collect()}


def brute_force(hashes: np.ndarray) -> Pairs:
    """The pairs that comparing each hash with all later ones finds."""
    bits, found = hashes.view(np.uint64), set()
    for top in range(0, len(bits), BLOCK_ROWS):
        rows = bits[top : top + BLOCK_ROWS, None]
        for left in range(top, len(bits), BLOCK_COLUMNS):
            near = np.bitwise_count(rows ^ bits[left : left + BLOCK_COLUMNS]) <= MAX_DISTANCE
            for row, column in np.argwhere(near).tolist() if near.any() else ():
                if top + row < left + column:
                    found.add(_ordered(int(hashes[top + row]), int(hashes[left + column])))
    return found


def _ordered(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)


def main() -> int:
    hashes, planted = hashes_with_copies(seed=0)
    spark = spark_session(SparkConfig(master=f"local[{CORES}]", partitions=2 * CORES))
    join_s, brute_s = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hashes.parquet"
        pq.write_table(pa.table({"phash": hashes}), path)
        begun = time.perf_counter()
        join(spark, path)
        first_s = time.perf_counter() - begun
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            joined = join(spark, path)
            between = time.perf_counter()
            compared = brute_force(hashes)
            join_s.append(between - begun)
            brute_s.append(time.perf_counter() - between)
            if joined != compared:
                print(f"near_dup: the join misses {len(compared - joined)} pairs and invents {len(joined - compared)}",
                      file=sys.stderr)  # fmt: skip
                return 1
    spark.stop()
    print(json.dumps({
        "benchmark": "near_dup",
        "hashes": HASHES, "max_distance": MAX_DISTANCE, "rounds": ROUNDS,
        "pairs_planted": len(planted), "pairs_found": len(joined), "planted_found": len(planted & joined),
        "seconds_first": round(first_s, 2), "seconds": round(median(join_s), 2),
        "peer": f"numpy {np.__version__} brute force, one core", "peer_seconds": round(median(brute_s), 2),
        "ratio": round(median(brute_s) / median(join_s), 2),
        "cores": os.cpu_count(), "python": platform.python_version(),
    }))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
