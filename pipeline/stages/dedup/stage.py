"""dedup: the duplicate cluster of every fetched image. Measured here; which image stays is chosen in select.

Reads   fetch  url_id, sha256, phash, phash_margin, phash256, chroma4
        text   caption_id of the pairs that show an image
Adds    cluster_id, cluster_images, same_bytes_images, same_picture_*, nearest_bits, eval_name, eval_bits
Source  phash: imagehash (Krawetz, "Looks like it"); the join: `pipeline/stages/dedup/join.py`; the limits: ours,
        measured in benchmarks/copies.py (docs/duplicates.md)

Two images belong together if their bytes are equal, or if they are copies: their phash differs in at most
``dedup.max_distance`` bits, their phash256 in at most ``dedup.max_distance256``, and each of their chroma4 in at most
``dedup.max_chroma``. A cluster is what such pairs connect, so its ends may be farther apart; select checks every
row again. The join is exact. Only keys and hashes are shuffled; edges are joined into clusters on the driver.

A phash without information about the image (at most 4 or at least 60 bits set, or a coefficient so near the median
that rounding decides its bit) is never near another: such images belong together only by equal bytes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipeline.copies.signature import DEGENERATE_BITS, DEGENERATE_MARGIN, PHASH_BITS, SIGNATURE_COLUMNS, CopyLimits
from pipeline.core.config import Decide, Field, Measure, MeasuredContent, StageConfig
from pipeline.core.context import Context
from pipeline.core.rules import Rule, col
from pipeline.core.stage import Measured, Stage
from pipeline.core.tables import empty, read_table, spark_schema
from pipeline.stages.dedup.components import join_copies, node
from pipeline.stages.dedup.eval_lists import overlaps, read_listed
from schemas.dedup import ADDS, COMPONENTS, OVERLAPS
from schemas.pairs import PICTURE_COLUMNS


class Reason(StrEnum):
    """Why all images of a kind are dropped. A mere duplicate is dropped by select, which has the pairs and scores."""

    EVAL_OVERLAP = "eval_overlap"  # a copy of an image that models are tested on
    PLACEHOLDER_IMAGE = "placeholder_image"  # "photo not available": one image under many URLs, with many texts


class Config(StageConfig):
    """When two images are the same, and when an image is only a placeholder."""

    max_distance: Measure[int] = Field(4, ge=0, le=15, description="phash bits in which copies of an image may differ")
    max_distance256: Measure[int] = Field(
        24, ge=0, le=256, description="phash256 bits in which they may differ; 256: phash256 is ignored"
    )
    max_chroma: Measure[int] = Field(
        16, ge=0, le=255, description="levels by which each mean of chroma4 may differ; 255: chroma4 is ignored"
    )
    eval_hashes: MeasuredContent[list[str]] = Field(
        [], description="lists of evaluation images, made by pairmill hashes build; copies of these images are dropped"
    )
    placeholder_images: Decide[int] = Field(
        20, ge=2, description="image URLs of one image (the same bytes, or equal hashes) that make a placeholder"
    )
    placeholder_captions: Decide[int] = Field(
        10, ge=2, description="distinct captions of these images that are needed as well"
    )

    placeholder_domains: Decide[int] = Field(
        1, ge=1, description="registered domains of these images that are needed; 1: also within one shop"
    )

    @property
    def limits(self) -> CopyLimits:
        """The limits for copies, also used by select."""
        return CopyLimits(self.max_distance, self.max_distance256, self.max_chroma)


class Dedup(Stage[Config]):
    """Clusters by equal bytes, and by copies."""

    name = "dedup"
    unit, key = "image", "url_id"
    keeps = ("image", "url_id")
    reads = ("fetch", "text")
    carries: ClassVar = ("url_id", *PICTURE_COLUMNS)
    measure_version = 2  # 2: the second look
    Reason, adds = Reason, ADDS

    def check(self, context: Context[Config]) -> None:
        """Reject a missing list, because without it the images it lists would pass."""
        read_listed(context.config.eval_hashes)

    def measure(self, context: Context[Config]) -> Measured:
        """One row per image, with its cluster."""
        images, config = context.kept("fetch"), context.config
        pictures = pictures_of(images)
        tellable = pictures.where("node is not null").select(*(f"signature.{name}" for name in SIGNATURE_COLUMNS))
        joined = join_copies(tellable, context.storage, config.limits)
        components = read_table(context.spark, context.storage, [joined.components], COMPONENTS)
        clustered = clusters_of(pictures, components)
        beside = counted(context.kept("text"), images, pictures)
        met = overlapping(pictures, config)
        measured = images.select(*self.carries).join(clustered, "sha256", "left")
        measured = measured.join(beside, "sha256", "left").join(met, "sha256", "left")
        return Measured(measured, files={"edges": joined.edges, "components": [joined.components]})

    def rules(self, config: Config) -> list[Rule]:
        """The ledger's detail is the name of the evaluation image that an image overlaps with."""
        images, captions, bits = col("same_picture_images"), col("same_picture_captions"), col("eval_bits")
        placeholder = (images >= config.placeholder_images) & (captions >= config.placeholder_captions)
        placeholder = placeholder & (col("same_picture_domains") >= config.placeholder_domains)
        return [
            Rule(
                Reason.EVAL_OVERLAP,
                when=bits <= config.max_distance,
                value=bits,
                threshold=config.max_distance,
                detail=col("eval_name"),
                nulls_ok=True,
            ),
            Rule(Reason.PLACEHOLDER_IMAGE, when=placeholder, value=images, threshold=config.placeholder_images),
        ]


def pictures_of(images: DataFrame) -> DataFrame:
    """A row per sha256: ``url_id`` (the smallest), ``same_bytes_images``, ``signature`` (one for all, should two
    decoders have given two), and its ``node``, null if the signature has no information."""
    telling = F.when(~says_nothing(), F.struct(*SIGNATURE_COLUMNS))
    pictures = (
        images.where("sha256 is not null")
        .groupBy("sha256")
        .agg(
            F.min("url_id").alias("url_id"),
            F.count(F.lit(1)).alias("same_bytes_images"),
            F.min(telling).alias("signature"),
        )
    )
    number = node(*(f"signature.{name}" for name in SIGNATURE_COLUMNS))
    return pictures.withColumn("node", F.when(F.col("signature").isNotNull(), number))


def counted(pairs: DataFrame, images: DataFrame, pictures: DataFrame) -> DataFrame:
    """``sha256`` and the columns same_picture_*: the URLs, captions and domains of an image, over all its bytes.

    Equal hashes without information do not count: two blank cards are one image only by equal bytes.
    """
    looks = pictures.select("sha256", F.coalesce(F.col("node").cast("string"), "sha256").alias("look"))
    shown = pairs.select("url_id", "caption_id", "image_domain").join(images.select("url_id", "sha256"), "url_id")
    counts = (
        shown.join(looks, "sha256")
        .groupBy("look")
        .agg(
            F.countDistinct("url_id").alias("same_picture_images"),
            F.countDistinct("image_domain").alias("same_picture_domains"),
            F.countDistinct("caption_id").alias("same_picture_captions"),
        )
    )
    return looks.join(counts, "look").drop("look")


def overlapping(pictures: DataFrame, config: Config) -> DataFrame:
    """``sha256``, ``eval_name`` and ``eval_bits`` of those of `pictures_of` that are copies of a listed one."""
    if not config.eval_hashes:
        return empty(pictures.sparkSession, OVERLAPS)
    listed, limits = read_listed(config.eval_hashes), config.limits
    tells = F.col("node").isNotNull()
    signature = [F.when(tells, F.col(f"signature.{name}")).alias(name) for name in SIGNATURE_COLUMNS]
    rows = pictures.select("sha256", *signature)
    return rows.mapInArrow(lambda batches: overlaps(batches, listed, limits), spark_schema(OVERLAPS))


def says_nothing() -> Column:
    """Whether the hashes of an image have no information or are missing."""
    bits = F.bit_count("phash")
    measured = F.lit(True)
    for name in (*SIGNATURE_COLUMNS, "phash_margin"):
        measured = measured & F.col(name).isNotNull()
    blank = (bits <= DEGENERATE_BITS) | (bits >= PHASH_BITS - DEGENERATE_BITS)
    return ~measured | blank | (F.col("phash_margin") < DEGENERATE_MARGIN)


def clusters_of(pictures: DataFrame, components: DataFrame) -> DataFrame:
    """A row per sha256: the columns that dedup adds, without the captions."""
    alone = F.concat(F.lit("sha256:"), "sha256")
    label = F.coalesce(F.col("component").cast("string"), F.col("node").cast("string"), alone)
    cluster, twins = Window.partitionBy("label"), Window.partitionBy("label", "node")
    is_twin = F.sum("same_bytes_images").over(twins) > 1
    return (
        pictures.join(components, "node", "left")
        .withColumn("label", label)
        .select(
            "sha256",
            F.min("url_id").over(cluster).alias("cluster_id"),
            F.sum("same_bytes_images").over(cluster).alias("cluster_images"),
            "same_bytes_images",
            F.when(is_twin, F.lit(0)).otherwise(F.col("nearest_bits")).cast("int").alias("nearest_bits"),
        )
    )
