"""dedup: the duplicate cluster of every fetched image. Measured here; which image stays is chosen in select.

Reads   fetch  url_id, sha256, phash
        text   caption_id of the pairs that show an image
Adds    cluster_id, cluster_images, same_bytes_images, same_bytes_captions, nearest_bits
Source  phash: imagehash (Krawetz, "Looks like it"); exact Hamming join by the pigeonhole principle
        (Norouzi et al., "Fast exact search in Hamming space with multi-index hashing", 2014)

Two images belong together when their bytes are equal, or their phash differs in at most ``dedup.max_distance``
bits. The join is exact: of d+1 blocks of bits at least one is equal in two hashes at distance d. Equal hashes are
collapsed before it, so a bucket holds distinct hashes only. Only keys and hashes are shuffled; the edges between
distinct near hashes (16 bytes each, meant for up to 1e8) are joined into components on the driver. Hashes with at
most 4 or at least 60 bits set say nothing about the picture (blank, half-dark) and are never near another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.core.config import Decide, Field, Measure, StageConfig
from pipeline.core.rules import Rule, col
from pipeline.core.run import Run
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import FileRecord
from pipeline.core.tables import read_file, read_table, write_file, write_table
from schemas.dedup import ADDS, COMPONENTS, EDGES
from schemas.pairs import PICTURE_COLUMNS

HASH_BITS = 64
DEGENERATE_BITS = 4


class Reason(StrEnum):
    """Why all images of a kind go. A mere duplicate is dropped by select, which knows the pairs and their scores."""

    PLACEHOLDER_IMAGE = "placeholder_image"  # "photo not available": one picture under many URLs, beside many texts


class Config(StageConfig):
    """When two images are the same picture, and when a picture stands for no picture."""

    max_distance: Measure[int] = Field(4, ge=0, le=15, description="phash bits in which copies of a picture may differ")
    placeholder_images: Decide[int] = Field(
        20, ge=2, description="image URLs with the same bytes that make a placeholder"
    )
    placeholder_captions: Decide[int] = Field(
        10, ge=2, description="distinct captions beside them that it takes as well"
    )


class Dedup(Stage[Config]):
    """Clusters by equal bytes and by near phash."""

    name = "dedup"
    unit, key = "image", "url_id"
    keeps = ("image", "url_id")
    reads = ("fetch", "text")
    carries: ClassVar = ("url_id", *PICTURE_COLUMNS)
    Config, Reason, adds = Config, Reason, ADDS

    def measure(self, rows: Mapping[str, DataFrame], config: Config, run: Run, measure_key: str) -> Measured:
        """One row an image, with its cluster."""
        images = rows["fetch"].select(*self.carries)
        hashes = images.where(~degenerate("phash")).groupBy("phash").agg(F.count(F.lit(1)).alias("images"))
        edges = write_table(near_pairs(hashes, config.max_distance), run.storage, "dedup/edges", EDGES)
        components = write_file(run.storage, "dedup/components", COMPONENTS, components_of(run, edges))
        run.storage.sweep("dedup/edges", {record.path for record in edges})
        run.storage.sweep("dedup/components", {components.path})
        captions = rows["text"].select("url_id", "caption_id").join(images.select("url_id", "sha256"), "url_id")
        beside = captions.groupBy("sha256").agg(F.countDistinct("caption_id").alias("same_bytes_captions"))
        joined = images.join(beside, "sha256", "left").join(
            read_table(run.spark, run.storage, [components], COMPONENTS), "phash", "left"
        )
        alone = F.when(degenerate("phash"), F.concat(F.lit("sha256:"), "sha256"))
        label = F.coalesce(alone, F.col("component").cast("string"), F.col("phash").cast("string"))
        cluster = Window.partitionBy("label")
        twin = Window.partitionBy("label", "phash")
        measured = joined.withColumn("label", label).select(
            *self.carries,
            F.min("url_id").over(cluster).alias("cluster_id"),
            F.count(F.lit(1)).over(cluster).alias("cluster_images"),
            F.count(F.lit(1)).over(Window.partitionBy("sha256")).alias("same_bytes_images"),
            "same_bytes_captions",
            F.when(F.count(F.lit(1)).over(twin) > 1, F.lit(0))
            .otherwise(F.col("nearest_bits"))
            .cast("int")
            .alias("nearest_bits"),
        )
        return Measured(measured, files={"edges": edges, "components": [components]})

    def rules(self, config: Config) -> list[Rule]:
        """Overlap with evaluation sets and blocklisted near-duplicates will be judged here, too."""
        images, captions = col("same_bytes_images"), col("same_bytes_captions")
        placeholder = (images >= config.placeholder_images) & (captions >= config.placeholder_captions)
        return [Rule(Reason.PLACEHOLDER_IMAGE, when=placeholder, value=images, threshold=config.placeholder_images)]


def degenerate(phash: str) -> Column:
    """True for a hash that says nothing about the picture, and for none at all."""
    bits = F.bit_count(phash)
    return F.col(phash).isNull() | (bits <= DEGENERATE_BITS) | (bits >= HASH_BITS - DEGENERATE_BITS)


def near_pairs(hashes: DataFrame, max_distance: int) -> DataFrame:
    """All pairs of distinct ``phash`` at most ``max_distance`` bits apart, once each: phash_a < phash_b, bits."""
    bounds = np.linspace(0, HASH_BITS, max_distance + 2).astype(int)
    blocks = F.array(*[
        F.struct(F.lit(number).alias("number"), _bits("phash", int(low), int(high)).alias("bits"))
        for number, (low, high) in enumerate(pairwise(bounds))
        if high - low < HASH_BITS
    ])  # fmt: skip
    if max_distance == 0:
        return hashes.select(
            F.col("phash").alias("phash_a"), F.col("phash").alias("phash_b"), F.lit(0).alias("bits")
        ).limit(0)
    keyed = hashes.select("phash", F.explode(blocks).alias("block")).select("phash", "block.*")
    left = keyed.select(F.col("phash").alias("phash_a"), "number", F.col("bits").alias("block_bits"))
    right = keyed.select(F.col("phash").alias("phash_b"), "number", F.col("bits").alias("block_bits"))
    distance = F.bit_count(F.col("phash_a").bitwiseXOR(F.col("phash_b")))
    pairs = left.join(right, ["number", "block_bits"]).where(F.col("phash_a") < F.col("phash_b"))
    return (
        pairs.select("phash_a", "phash_b", distance.cast("int").alias("bits"))
        .where(F.col("bits") <= max_distance)
        .distinct()
    )


def _bits(column: str, low: int, high: int) -> Column:
    """Bits low..high-1 as a number."""
    return F.shiftrightunsigned(column, low).bitwiseAND((1 << (high - low)) - 1)


def components_of(run: Run, edges: list[FileRecord]) -> Iterator[pa.Table]:
    """Connected components of the edges: for each hash the smallest of its component and its nearest distance."""
    table = pa.concat_tables(read_file(run.storage, record, EDGES.names) for record in edges)
    if not table.num_rows:
        return
    first, second, bits = (table[name].to_numpy() for name in ("phash_a", "phash_b", "bits"))
    nodes, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    ends = place.reshape(2, -1)
    graph = coo_array((np.ones(len(first), bool), (ends[0], ends[1])), shape=(len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    smallest = np.full(component.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(smallest, component, nodes)
    nearest = np.full(len(nodes), HASH_BITS, np.int32)
    np.minimum.at(nearest, ends[0], bits)
    np.minimum.at(nearest, ends[1], bits)
    yield pa.table([nodes, smallest[component], nearest], schema=COMPONENTS)
