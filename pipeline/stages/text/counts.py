"""What text counts over all candidates that entered; no count depends on which of them are kept.

Counts are windows over few columns: one shuffle by caption, one by pair and one by image.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.window import WindowSpec

COUNTED = (
    "candidate_id",
    "caption_id",
    "pair_id",
    "url_id",
    "page_id",
    "image_domain",
    "image_url",
    "page_url",
    "queries",
)
"""The columns that the counts and the first cap of the balance read."""

DOMAIN = ("caption_id", "image_domain")


def with_counts(rows: DataFrame, signals: DataFrame, listed: DataFrame) -> DataFrame:
    """Add the counts of captions, pairs and images, and what is said of an image on any page or list.

    ``signals``: url_id, signal; each once. ``listed``: one row per url_id, whose other columns are added.
    """
    united = signals.groupBy("url_id").agg(F.array_sort(F.collect_list("signal")).alias("image_optouts"))
    of_images = _of_pairs(_of_captions(rows)).withColumn("request_url", F.min("image_url").over(_by("url_id")))
    joined = of_images.join(united, "url_id", "left").join(listed, "url_id", "left")
    return joined.withColumn("image_optouts", F.coalesce("image_optouts", F.array().cast("array<string>")))


def _of_captions(rows: DataFrame) -> DataFrame:
    """Different images of a caption, and of a caption within a domain; an empty caption has no count."""
    ranks = {"_image": _rank("url_id", "caption_id"), "_domain_image": _rank("url_id", *DOMAIN)}
    images, of_domain = F.max("_image").over(_by("caption_id")), F.max("_domain_image").over(_by(*DOMAIN))
    is_counted = F.col("caption_id").isNotNull()
    counts = {
        "caption_images": F.when(is_counted, images).cast("long"),
        "caption_domain_images": F.when(is_counted & (F.col("image_domain") != ""), of_domain)
        .otherwise(0)
        .cast("long"),
    }
    return rows.withColumns(ranks).withColumns(counts).drop(*ranks)


def _of_pairs(rows: DataFrame) -> DataFrame:
    """Different pages of a pair, and the place of each of its rows: the first is kept."""
    no_page = F.max(F.col("page_id").isNull().cast("int")).over(_by("pair_id"))
    counts = {
        "pair_pages": F.max("_page").over(_by("pair_id")) - no_page,
        "pair_rank": F.row_number().over(_by("pair_id").orderBy("page_url", "image_url", "candidate_id")),
    }
    longs = {name: count.cast("long") for name, count in counts.items()}
    return rows.withColumn("_page", _rank("page_id", "pair_id")).withColumns(longs).drop("_page")


def _by(*names: str) -> WindowSpec:
    return Window.partitionBy(*names)


def _rank(name: str, *within: str) -> Column:
    """The place of a value among the different values of a window, from 1; null comes first. The highest is their
    number."""
    return F.dense_rank().over(_by(*within).orderBy(name))
