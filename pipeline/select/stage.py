"""select: the choices among rows, made once, last, among the pairs that passed everything else.

Reads   clip  scored pairs
Adds    cluster_rank, repeated, duplicate_of, image_of
Source  order of choice inside a cluster: ours (most pixels as served, then CLIP score, caption length, pair_id)

A changed setting here runs over keys and scores only. Today's choices: one representative a duplicate cluster, and
``select.captions_per_image`` captions over the whole cluster, all of them beside the representative's picture. A
caption that a better pair of the cluster already has says nothing new: it ranks after all others and never stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipeline.core.config import Field, Measure, StageConfig
from pipeline.core.rules import Rule, col
from pipeline.core.run import Run
from pipeline.core.stage import Measured, Stage
from schemas.pairs import IMAGE_COLUMNS, PAIR_COLUMNS
from schemas.select import ADDS


class Reason(StrEnum):
    """Which choice a pair lost."""

    DUPLICATE_IMAGE = "duplicate_image"


class Config(StageConfig):
    """How much of a duplicate cluster stays. Measure settings: the ranks are computed for them."""

    captions_per_image: Measure[int] = Field(
        1, ge=1, description="pairs kept of a duplicate cluster, with distinct captions"
    )


class Select(Stage[Config]):
    """Ranks the pairs of each duplicate cluster."""

    name = "select"
    unit, key = "pair", "pair_id"
    keeps = ("pair", "pair_id")
    reads = ("clip",)
    carries: ClassVar = (*PAIR_COLUMNS, *IMAGE_COLUMNS, "clip_score")
    measure_version = 2  # 2: the column repeated
    Config, Reason, adds = Config, Reason, ADDS

    def measure(self, rows: Mapping[str, DataFrame], config: Config, run: Run, measure_key: str) -> Measured:
        """One row a pair, ranked; windows over keys and scores."""
        best_first = [
            (F.col("original_width").cast("long") * F.col("original_height")).desc(),
            F.col("clip_score").desc_nulls_last(), F.col("caption_chars").desc(), F.col("pair_id"),
        ]  # fmt: skip
        cluster = Window.partitionBy("cluster_id")
        repeated = F.row_number().over(Window.partitionBy("cluster_id", "caption_id").orderBy(*best_first)) > 1
        ranked = rows["clip"].withColumn("repeated", repeated)
        rank = F.row_number().over(cluster.orderBy("repeated", *best_first))
        representative = F.first(F.struct("pair_id", "url_id")).over(cluster.orderBy("repeated", *best_first))
        measured = ranked.withColumns({"cluster_rank": rank.cast("long"), "best": representative}).select(
            *self.carries, "cluster_rank", "repeated",
            F.when(F.col("cluster_rank") > 1, F.col("best.pair_id")).alias("duplicate_of"),
            F.col("best.url_id").alias("image_of"),
        )  # fmt: skip
        return Measured(measured)

    def rules(self, config: Config) -> list[Rule]:
        """The ledger's detail is the representative's pair_id. The representative is first and never repeated."""
        rank = col("cluster_rank")
        return [
            Rule(Reason.DUPLICATE_IMAGE, when=(rank > config.captions_per_image) | col("repeated"), value=rank,
                 threshold=config.captions_per_image, detail=col("duplicate_of")),
        ]  # fmt: skip
