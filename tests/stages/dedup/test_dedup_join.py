"""The near-duplicate join is exact: its components are those of comparing all with all, whatever the hashes."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.copies.signature import SIGNATURE_COLUMNS, CopyLimits, Signatures, signatures_of
from pipeline.core.storage import open_storage
from pipeline.core.tables import read_file, spark_schema
from pipeline.stages.dedup import join as joining
from pipeline.stages.dedup.components import join_copies, node
from pipeline.stages.dedup.join import block_masks, forest_edges, near_edges, whole_buckets
from schemas.dedup import COMPONENTS, EDGES, SIGNATURES

LIMITS = CopyLimits(phash=4, phash256=24, chroma=16)
MASK = 2**64 - 1


class Picture(NamedTuple):
    phash: int  # unsigned
    phash256: bytes = bytes(32)
    chroma4: bytes = bytes([128] * 32)


def flipped(phash: int, bits: int, dice: random.Random) -> int:
    return phash ^ sum(1 << bit for bit in dice.sample(range(64), bits))


def uniform(count: int, most: int, dice: random.Random) -> list[Picture]:
    """Random hashes; every third has a copy up to two bits beyond the limit."""
    found = []
    for number in range(count):
        found.append(Picture(dice.getrandbits(64)))
        if number % 3 == 0:
            found.append(
                Picture(
                    flipped(found[-1].phash, dice.randint(0, most + 2), dice),
                    bytes([dice.choice([0, 1, 255])]) + bytes(31),
                )
            )
    return found


def skewed(count: int, most: int, dice: random.Random) -> list[Picture]:
    """All within a few bits of one hash, in three shapes and three colours."""
    base = dice.getrandbits(64)
    return [
        Picture(
            flipped(base, dice.randint(0, max(most // 2, 1)), dice),
            bytes([dice.choice([0, 1, 255])] * 4) + bytes(28),
            bytes([dice.choice([100, 116, 133])] * 32),
        )
        for _ in range(count)
    ]


def low_bits(count: int, most: int, dice: random.Random) -> list[Picture]:
    """Sequential numbers: every block but one or two is the same in all."""
    return [Picture((number * 2**20 + dice.getrandbits(3)) & MASK) for number in range(count)]


def table_of(pictures: list[Picture]) -> pa.Table:
    rows = [
        {
            "phash": int(np.uint64(picture.phash).astype(np.int64)),
            "phash256": picture.phash256,
            "chroma4": picture.chroma4,
        }
        for picture in pictures
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema([SIGNATURES.field(name) for name in SIGNATURE_COLUMNS]))


def compared(pictures: list[Picture], limits: CopyLimits) -> tuple[list[int], list[int | None]]:
    """(component, least distance to a copy) of each picture, by comparing all with all."""
    signatures = signatures_of(table_of(pictures))
    bits = np.bitwise_count(signatures.phash[:, None] ^ signatures.phash).astype(int)
    fine = np.bitwise_count(signatures.phash256[:, None] ^ signatures.phash256).sum(2)
    chroma = signatures.chroma4.astype(int)
    colours = np.abs(chroma[:, None] - chroma).max(2)
    near = (bits <= limits.phash) & (fine <= limits.phash256) & (colours <= limits.chroma)
    component = connected_components(coo_array(near), directed=False)[1]
    np.fill_diagonal(near, False)
    least = np.where(near, bits, 99).min(1)
    return component.tolist(), [int(bits) if bits < 99 else None for bits in least]


@pytest.fixture
def joined(spark, tmp_path: Path) -> Callable[..., tuple[list[int], list[int | None], pa.Table]]:
    """joined(pictures, limits): what `compared` gives, by the join; and the edges."""
    runs = (str(tmp_path / f"run{number}") for number in range(100))

    def run_join(pictures: list[Picture], limits: CopyLimits = LIMITS, partitions: int = 2):
        storage, table = open_storage(next(runs)), table_of(pictures)
        frame = spark.createDataFrame([tuple(row.values()) for row in table.to_pylist()], spark_schema(table.schema))
        found = join_copies(frame.repartition(partitions), storage, limits)
        components = read_file(storage, found.components, COMPONENTS.names).to_pylist()
        by_node = {row["node"]: row for row in components}
        nodes = [row["node"] for row in frame.select(node(*SIGNATURE_COLUMNS).alias("node")).collect()]
        component = [by_node[node]["component"] if node in by_node else node for node in nodes]
        nearest = [by_node[node]["nearest_bits"] if node in by_node else None for node in nodes]
        return component, nearest, pa.concat_tables(read_file(storage, record, EDGES.names) for record in found.edges)

    return run_join


def same_partition(one: list[int], other: list[int]) -> bool:
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))


@pytest.mark.parametrize("make", [uniform, skewed, low_bits])
@pytest.mark.parametrize("most", [0, 1, 4, 15])
def test_the_components_are_those_of_comparing_all_with_all(joined, make, most: int) -> None:
    pictures = list(dict.fromkeys(make(120, most, random.Random(most))))
    limits = LIMITS._replace(phash=most)
    component, nearest, edges = joined(pictures, limits)
    expected, least = compared(pictures, limits)
    assert same_partition(component, expected)
    assert nearest == least
    assert edges.num_rows >= len(pictures) - len(set(expected))


@pytest.mark.parametrize("seed", range(30))
def test_the_kernel_is_exact_for_any_masks_and_limits(seed: int) -> None:
    """Without Spark: buckets of every mask, small or cut into chunks, against all pairs."""
    dice = random.Random(seed)
    most = dice.choice([0, 1, 2, 3, 4, 5, 7, 11, 15])
    limits = CopyLimits(most, dice.choice([0, 24, 256]), dice.choice([0, 16, 255]))
    pictures = list(dict.fromkeys(dice.choice([uniform, skewed, low_bits])(dice.randint(2, 60), most, dice)))
    table, masks = table_of(pictures), block_masks(dice.choice([10, 10**6, 10**9]), min(most, 5))
    masks = masks if most <= 5 else block_masks(10**6, most)
    chunks = dice.choice([1, 1, 3])
    rows = []
    for number, mask in enumerate(masks):
        for place, row in enumerate(table.to_pylist()):
            own = place % chunks
            for other in range(chunks):
                rows.append(
                    row
                    | {
                        "number": number,
                        "key": pictures[place].phash & mask,
                        "own": own,
                        "node": place,
                        "first": min(own, other),
                        "second": max(own, other),
                    }
                )
    rows.sort(key=lambda row: (row["number"], row["key"], row["first"], row["second"], row["own"], row["node"]))
    schema = pa.schema(
        [
            *((name, pa.int64()) for name in ("number", "first", "second", "own", "node")),
            ("key", pa.uint64()),
            *table.schema,
        ]
    )
    keys = pa.Table.from_pylist(rows, schema=schema)
    signed = keys["key"].to_numpy().view(np.int64)
    keys = keys.set_column(keys.schema.get_field_index("key"), "key", pa.array(signed))
    edges = forest_edges(keys, np.array(masks, np.uint64), limits)
    expected, least = compared(pictures, limits)
    graph = coo_array(
        (np.ones(edges.num_rows, bool), (edges["node_a"].to_numpy(), edges["node_b"].to_numpy())),
        shape=(len(pictures),) * 2,
    )
    assert same_partition(connected_components(graph, directed=False)[1].tolist(), expected)
    for place, bits in enumerate(least):
        found = [row["bits"] for row in edges.to_pylist() if place in (row["node_a"], row["node_b"])]
        assert min(found, default=None) == bits


@pytest.mark.parametrize(
    ("pictures", "max_distance", "blocks"),
    [(10**6, 4, 5), (10**9, 4, 6), (10**11, 4, 7), (10**6, 0, 1), (10**6, 15, 16), (10**9, 15, 17)],
)
def test_more_pictures_are_cut_into_more_blocks(pictures: int, max_distance: int, blocks: int) -> None:
    masks = block_masks(pictures, max_distance)
    covered = [sum(mask >> bit & 1 for mask in masks) for bit in range(64)]
    choices = len(masks) * (blocks - max_distance) / blocks
    assert covered == [choices] * 64  # each bit is in as many masks as any other


@pytest.mark.parametrize("max_distance", [0, 1, 2, 3, 4, 7, 15])
def test_any_two_near_hashes_agree_under_a_mask(max_distance: int) -> None:
    dice = random.Random(max_distance)
    for pictures in (10, 10**6, 10**9):
        masks = block_masks(pictures, max_distance)
        for _ in range(300):
            difference = flipped(0, max_distance, dice)
            assert any(difference & mask == 0 for mask in masks)


def test_equal_signatures_are_one_row_of_the_join_d3(spark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D3: a hundred times the rows of one picture are the same work: what is compared are distinct signatures."""
    seen = []

    def counting(signatures, limits, pictures):
        seen.append((signatures.count(), pictures))
        return near_edges(signatures, limits, pictures)

    monkeypatch.setattr("pipeline.stages.dedup.components.near_edges", counting)
    path = tmp_path / "few.parquet"
    pq.write_table(table_of([Picture(1 << 40), Picture(3 << 40), Picture(1 << 20)]), path)
    for copies in (10, 1000):
        many = spark.read.parquet(str(path)).crossJoin(spark.range(copies)).drop("id")
        join_copies(many, open_storage(str(tmp_path / f"run{copies}")), LIMITS)
    assert seen == [(3, 3), (3, 3)]


def test_a_hot_bucket_is_cut_into_pairs_of_chunks_d3(spark, joined, monkeypatch: pytest.MonkeyPatch) -> None:
    """D3: no task gets more than two chunks of a bucket (about: chunks are drawn by a hash), and the answer stays."""
    pictures = list(dict.fromkeys(skewed(400, 8, random.Random(1))))
    whole = joined(pictures)
    monkeypatch.setattr(joining, "LARGEST_BUCKET", 20)
    cut = joined(pictures)
    expected, least = compared(pictures, LIMITS)
    assert same_partition(whole[0], expected)
    assert same_partition(cut[0], expected)
    assert whole[1] == cut[1] == least
    table = table_of(pictures)
    frame = spark.createDataFrame(
        [(place, *row.values()) for place, row in enumerate(table.to_pylist())], spark_schema(SIGNATURES)
    )
    rows = joining._in_buckets(frame, block_masks(len(pictures), 4), len(pictures))
    sizes = {tuple(row)[:4]: row["count"] for row in rows.groupBy(*joining.BUCKET).count().collect()}
    assert max(sizes.values()) < 60
    assert (
        max(sum(size for key, size in sizes.items() if key[:2] == bucket) for bucket in {key[:2] for key in sizes})
        > 200
    )


def test_rows_come_in_tables_that_end_where_a_bucket_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "ROWS_AT_ONCE", 7)
    keys = [number for number in range(12) for _ in range(number % 5 + 1)]
    columns = {name: keys if name == "key" else [0] * len(keys) for name in joining.BUCKET}
    batches = pa.RecordBatch.from_pydict(columns)
    tables = list(whole_buckets(batches.slice(start, 3) for start in range(0, len(keys), 3)))
    assert [key for table in tables for key in table["key"].to_pylist()] == keys
    ends = [(one["key"][-1].as_py(), other["key"][0].as_py()) for one, other in pairwise(tables)]
    assert len(ends) > 2
    assert all(one != other for one, other in ends)


def test_neither_order_nor_partitions_move_an_edge_d4(joined) -> None:
    """D4: the same forests, not merely the same components."""
    dice = random.Random(3)
    pictures = list(dict.fromkeys(uniform(60, 4, dice) + skewed(60, 4, dice)))
    found = []
    for partitions in (1, 200):
        dice.shuffle(pictures)
        found.append(sorted(tuple(row.values()) for row in joined(pictures, partitions=partitions)[2].to_pylist()))
    assert found[0] == found[1]
    assert found[0]


def test_signatures_are_read_from_slices_and_nulls() -> None:
    table = table_of([Picture(number, bytes([number] * 32), bytes([number + 1] * 32)) for number in range(5)])
    part = table.to_batches()[0].slice(2, 2)
    signatures = signatures_of(part)
    assert signatures.phash.tolist() == [2, 3]
    assert signatures.phash256[0].tobytes() == bytes([2] * 32)
    assert signatures.chroma4[1].tobytes() == bytes([4] * 32)
    nothing = signatures_of(pa.Table.from_pylist([{}], schema=table.schema))
    assert not any(values.any() for values in nothing)
    assert all(isinstance(values, np.ndarray) and values.flags.writeable for values in Signatures(*signatures))
