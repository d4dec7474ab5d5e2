"""The near-duplicate join is exact, and clusters are what brute force finds."""

from __future__ import annotations

import itertools
import random

import pytest

from pipeline.core.tables import spark_schema
from pipeline.dedup.stage import degenerate, near_pairs
from schemas.dedup import COMPONENTS

HASHES = spark_schema(COMPONENTS)["phash"]


def signed(bits: int) -> int:
    return bits - 2**64 if bits >= 2**63 else bits


def planted(seed: int, count: int) -> list[int]:
    """Random hashes, and for every third a copy with one to six bits flipped."""
    rng = random.Random(seed)
    found = set()
    for number in range(count):
        bits = rng.getrandbits(64)
        found.add(bits)
        if number % 3 == 0:
            found.add(bits ^ sum(1 << bit for bit in rng.sample(range(64), rng.randint(1, 6))))
    return sorted(found)


@pytest.mark.parametrize("max_distance", [0, 1, 4, 6])
def test_the_join_finds_exactly_what_brute_force_finds(spark, max_distance: int) -> None:
    hashes = planted(max_distance, 300)
    frame = spark.createDataFrame([(signed(bits),) for bits in hashes], "phash long")
    found = {(row["phash_a"], row["phash_b"], row["bits"]) for row in near_pairs(frame, max_distance).collect()}
    expected = set()
    for one, other in itertools.combinations(hashes, 2):
        if (one ^ other).bit_count() <= max_distance:
            low, high = sorted((signed(one), signed(other)))
            expected.add((low, high, (one ^ other).bit_count()))
    assert found == expected
    assert bool(expected) == (max_distance > 0)


def test_a_hash_of_nearly_one_value_says_nothing_d1(spark) -> None:
    """D1: blank and half-dark pictures never merge by hash; D7: nor does a missing hash."""
    rows = [(0,), (0b1111,), (0b11111,), (-1,), (signed(2**64 - 1 - 0b1111),), (signed(0xF0F0F0F0F0F0F0F0),), (None,)]
    frame = spark.createDataFrame(rows, "phash long")
    marks = {row["phash"]: row["d"] for row in frame.select("phash", degenerate("phash").alias("d")).collect()}
    assert marks == {
        0: True,
        15: True,
        31: False,
        -1: True,
        signed(2**64 - 16): True,
        signed(0xF0F0F0F0F0F0F0F0): False,
        None: True,
    }
