"""The exact near-duplicate join of dedup at several sizes, against brute force and beside faiss.

Signatures of n pictures, skewed as those of the web are: 1% are one blank picture; 2% are near-blank, their phash 1 to
6 bits from the blank one's, half of them copies of it by the second look too, half by phash alone; 10% are copies of
others (0 to 4 bits of phash, up to 20 of phash256, up to 16 levels of chroma); 5% have the phash of another within 4
bits, and another picture. The rest is uniform. The join runs on local[2] from a Parquet file to components.

    python benchmarks/near_dup.py                  100,000 and 1,000,000
    python benchmarks/near_dup.py --n 10000000     one size, on demand

At 100,000 every pair is compared by NumPy as well: the components must be identical, or it exits with 1. At every size
all planted copies must be found. faiss (IndexBinaryMultiHash, 5 tables of 12 bits, range search within 4 bits; one
core, adding and searching) is not a dependency of pairmill: if it is not installed its figures are null; at 10^7
it is left out. It looks at phash alone, and 5 tables of 12 bits leave out 4 of the 64, so that it misses pairs.

The plan for 10^9: m = 6 blocks, 15 masks of 20 to 22 bits (pipeline/stages/dedup/join.py), 1,000 cores on 100 machines.

    shuffle       15 x 10^9 rows of some 130 bytes, 64 of them without any pattern: 2 TB, 20 GB a machine. At 6 us a row
                  (two cores take some 15 s for the 5 x 10^6 of 10^6 pictures) 9 x 10^4 core-s: 90 s
    comparisons   10^9 x (6 x 240 + 8 x 480 + 950) / 2 = 3 x 10^12 if hashes were uniform, twice that as those of
                  photographs are, at 1.6 x 10^9 a second and core 4,000 core-s: 4 s
    hot buckets   only if the web has as many near-blank pictures as this data: 2 x 10^7, of which 40% share the bits of
                  a mask. 8 x 10^6 rows are 250 chunks, 31,000 pairs of them, 9 s each (where most pairs are near, 0.12
                  x 10^9 a second): 3 x 10^5 core-s a mask, 4 x 10^6 in all, 70 minutes. A row goes to each pair
                  of its chunk: 2 x 10^9 rows a mask, 4 TB in all, more than the whole rest. Skew is what costs
    driver        one picture in ten has a copy, as here: 10^8 pictures with edges, 2 x 10^8 edges, 4 GB in files, 16 GB
                  while they are joined
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.copies.signature import SIGNATURE_COLUMNS, CopyLimits, Signatures
from pipeline.core.spark import SparkConfig, spark_session
from pipeline.core.storage import open_storage
from pipeline.core.tables import read_file
from pipeline.stages.dedup.components import join_copies, node
from schemas.dedup import COMPONENTS

GOAL_S = {1_000_000: 60}
LIMITS = CopyLimits(phash=4, phash256=24, chroma=16)
SIZES = (100_000, 1_000_000)
BRUTE_FORCE = 100_000
FAISS_MOST = 1_000_000
FAISS_TABLES, FAISS_BITS = 5, 12
CORES = 2
BLOCK_ROWS, BLOCK_COLUMNS = 32, 8192  # 2 MiB of differences


class Planted(NamedTuple):
    """Signatures, and pairs of rows: those that are copies, and those whose phash alone is near."""

    signatures: Signatures
    copies: np.ndarray  # [K, 2]
    decoys: np.ndarray  # [D, 2]


def planted(n: int, seed: int) -> Planted:
    """``n`` rows in random order; the same ones each time."""
    rng = np.random.default_rng(seed)
    phash = rng.integers(0, 2**64, n, dtype=np.uint64)
    phash256 = rng.integers(0, 2**64, (n, 4), dtype=np.uint64)
    chroma4 = rng.integers(20, 236, (n, 32), dtype=np.uint8)
    blank, near, copies, decoys = np.split(rng.permutation(n), np.cumsum([n // 100, n // 50, n // 10, n // 20]))[:4]
    originals = rng.choice(np.setdiff1d(np.arange(n), np.concatenate([blank, near, copies, decoys])), n // 10)
    phash[blank], phash256[blank], chroma4[blank] = phash[blank[0]], phash256[blank[0]], 128
    phash[near] = phash[blank[0]] ^ flips(rng, len(near), 6, 64)[:, 0]
    alike = near[::2]
    phash256[alike], chroma4[alike] = phash256[blank[0]] ^ flips(rng, len(alike), 10, 256), 128
    phash[copies] = phash[originals] ^ flips(rng, len(copies), 4, 64)[:, 0]
    phash256[copies] = phash256[originals] ^ flips(rng, len(copies), 20, 256)
    chroma4[copies] = chroma4[originals] + rng.integers(-16, 17, (len(copies), 32))
    phash[decoys] = phash[originals[: len(decoys)]] ^ flips(rng, len(decoys), 4, 64)[:, 0]
    return Planted(
        Signatures(phash, phash256, chroma4),
        np.column_stack([originals, copies]),
        np.column_stack([originals[: len(decoys)], decoys]),
    )


def flips(rng: np.random.Generator, rows: int, most: int, bits: int) -> np.ndarray:
    """[rows, bits / 64] uint64, each row with 0 to ``most`` bits set."""
    found = np.zeros((rows, bits // 64), np.uint64)
    for number in range(most):
        place = rng.integers(0, bits, rows)
        wanted = rng.integers(0, most + 1, rows) > number
        found[np.arange(rows), place // 64] |= wanted.astype(np.uint64) << (place % 64).astype(np.uint64)
    return found


def write_planted(n: int, path: Path) -> None:
    """The rows in a file, as int64 and binary, the way a run has them."""
    signatures = planted(n, seed=0).signatures
    octets = [
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), n, [None, pa.py_buffer(values.tobytes())]).cast(pa.binary())
        for values in signatures[1:]
    ]
    columns = {"phash": signatures.phash.view(np.int64), "phash256": octets[0], "chroma4": octets[1]}
    pq.write_table(pa.table(columns), path)


def join(spark: SparkSession, path: Path, folder: str) -> tuple[float, pa.Table, int]:
    """(seconds from the file to components, the components, edges)."""
    begun, storage = time.perf_counter(), open_storage(folder)
    joined = join_copies(spark.read.parquet(str(path)), storage, LIMITS)
    took = time.perf_counter() - begun
    components = read_file(storage, joined.components, COMPONENTS.names)
    return took, components, sum(record.rows for record in joined.edges)


def labels(spark: SparkSession, path: Path, components: pa.Table) -> np.ndarray:
    """The component of each row of the file, as the smallest node in it."""
    nodes = spark.read.parquet(str(path)).select(node(*SIGNATURE_COLUMNS).alias("node")).toPandas()["node"].to_numpy()
    known, component = components["node"].to_numpy(), components["component"].to_numpy()
    place = np.minimum(np.searchsorted(known, nodes), max(len(known) - 1, 0))
    return np.where(known[place] == nodes, component[place], nodes) if len(known) else nodes


def brute_force(signatures: Signatures) -> tuple[float, np.ndarray]:
    """(seconds, the component of each row) by comparing each row with all later ones."""
    begun, found = time.perf_counter(), []
    phash = signatures.phash
    for top in range(0, len(phash), BLOCK_ROWS):
        rows = phash[top : top + BLOCK_ROWS, None]
        for left in range(top, len(phash), BLOCK_COLUMNS):
            near = np.bitwise_count(rows ^ phash[left : left + BLOCK_COLUMNS]) <= LIMITS.phash
            if near.any():
                found.append(np.argwhere(near) + np.array([top, left]))
    one, other = np.concatenate(found).T
    bits = np.bitwise_count(signatures.phash256[one] ^ signatures.phash256[other]).sum(1)
    chroma = signatures.chroma4.astype(np.int16)
    stand = (bits <= LIMITS.phash256) & (np.abs(chroma[one] - chroma[other]).max(1) <= LIMITS.chroma)
    ends = one[stand], other[stand]
    graph = coo_array((np.ones(len(ends[0]), bool), ends), shape=(len(phash), len(phash)))
    return time.perf_counter() - begun, connected_components(graph, directed=False)[1]


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two labellings put the same rows together."""
    pairs = np.unique(np.column_stack([one, other]), axis=0)
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


def faiss_seconds(phash: np.ndarray) -> float | None:
    """Adding and searching all, on one core; None where faiss is not installed."""
    if not importlib.util.find_spec("faiss") or len(phash) > FAISS_MOST:
        return None
    import faiss

    faiss.omp_set_num_threads(1)
    codes = np.unique(phash).view(np.uint8).reshape(-1, 8)
    begun = time.perf_counter()
    index = faiss.IndexBinaryMultiHash(64, FAISS_TABLES, FAISS_BITS)
    index.add(codes)
    index.range_search(codes, LIMITS.phash + 1)  # faiss: below the radius
    return time.perf_counter() - begun


def measure(spark: SparkSession, n: int) -> dict[str, Any]:
    """One size: times, and whether the answer is right."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "signatures.parquet"
        maker = multiprocessing.get_context("spawn").Process(target=write_planted, args=(n, path))
        maker.start()  # its memory is not the join's
        maker.join()
        forget_peak()
        took, components, edges = join(spark, path, folder)
        driver_mb, jvm_mb = peak_mb("self"), peak_mb(spark.sparkContext._gateway.proc.pid)
        rows = planted(n, seed=0)
        found = labels(spark, path, components)
    (a, b), (c, d) = rows.copies.T, rows.decoys.T
    brute_s, exact = None, None
    if n <= BRUTE_FORCE:
        brute_s, compared = brute_force(rows.signatures)
        exact = same_partition(found, compared)
    faiss_s = faiss_seconds(rows.signatures.phash)
    return {
        "n": n,
        "seconds": round(took, 2),
        "edges": edges,
        "components": len(np.unique(components["component"])),
        "copies": len(a),
        "copies_found": int((found[a] == found[b]).sum()),
        "decoys": len(c),
        "decoys_joined": int((found[c] == found[d]).sum()),
        "exact": exact,
        "brute_force_s": brute_s and round(brute_s, 2),
        "faiss_s": faiss_s and round(faiss_s, 2),
        "driver_mb": driver_mb,
        "jvm_mb": jvm_mb,
    }


def forget_peak() -> None:
    """Let this process's peak memory begin anew, where /proc can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb(process: int | str) -> int | None:
    """Most megabytes that a process has been resident with; None where /proc does not say."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return None
    return next(int(line.split()[1]) // 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--n", type=int, action="append", help="pictures; may be given again")
    arguments.add_argument("--driver-memory", default="2g", help="of the JVM")
    given = arguments.parse_args()
    config = SparkConfig(master=f"local[{CORES}]", partitions=2 * CORES, driver_memory=given.driver_memory)
    spark = spark_session(config)
    sizes = [measure(spark, n) for n in given.n or SIZES]
    spark.stop()
    wrong = [size["n"] for size in sizes if size["exact"] is False or size["copies_found"] < size["copies"]]
    late = [size["n"] for size in sizes if size["seconds"] > GOAL_S.get(size["n"], math.inf)]
    print(
        json.dumps(
            {
                "benchmark": "near_dup",
                "limits": LIMITS._asdict(),
                "sizes": sizes,
                "goal": f"exact; {GOAL_S[1_000_000]} s for 10^6",
                "goal_met": not (wrong or late),
                "peer": f"NumPy {np.__version__}, all pairs, one core; faiss, one core",
                "cores": os.cpu_count(),
                "python": platform.python_version(),
            }
        )
    )
    if wrong:
        print(f"near_dup: the join is not exact at {wrong}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
