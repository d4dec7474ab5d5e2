"""attach: joins each pair with its image. One image serves all its captions.

Reads   text   the pairs
        fetch  verdicts of the images that were requested
        dedup  the kept images, with their cluster
Adds    image_verdict; carries the pair's columns and its image's
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.core.config import StageConfig
from pipeline.core.context import Context, LooksAt
from pipeline.core.rules import Rule, col
from pipeline.core.stage import Measured, Stage
from pipeline.core.verdict import REASON
from schemas.attach import ADDS
from schemas.fields import OK
from schemas.pairs import CHOICE_COLUMNS, IMAGE_COLUMNS, PAIR_COLUMNS


class Reason(StrEnum):
    """Why a pair has no image."""

    IMAGE_DROPPED = "image_dropped"


class Config(StageConfig):
    """No settings."""


class Attach(Stage[Config]):
    """Joins pairs with images on url_id; keys and small columns only."""

    name = "attach"
    unit, key = "pair", "pair_id"
    keeps = ("pair", "pair_id")
    reads = ("text", "fetch", "dedup")
    carries: ClassVar = PAIR_COLUMNS + CHOICE_COLUMNS + IMAGE_COLUMNS
    Reason, adds = Reason, ADDS

    def looks_at(self, config: Config) -> LooksAt:
        """The reason of every dropped image."""
        return LooksAt(rows=("fetch", "dedup"))

    def measure(self, context: Context[Config]) -> Measured:
        """One row per pair, also if its image was dropped."""
        fetched = _verdicts(context, "fetch")
        clustered = _verdicts(context, "dedup").withColumnRenamed("verdict", "dedup_verdict")
        images = context.rows("dedup").select("url_id", *IMAGE_COLUMNS)
        verdict = F.when(F.col("verdict") == OK, F.col("dedup_verdict")).otherwise(F.col("verdict"))
        pairs = context.kept("text").select(*PAIR_COLUMNS, *CHOICE_COLUMNS)
        joined = pairs.join(fetched, "url_id", "left").join(clustered, "url_id", "left").join(images, "url_id", "left")
        return Measured(joined.withColumn("image_verdict", verdict).select(*self.carries, *ADDS.names))

    def rules(self, config: Config) -> list[Rule]:
        """A pair is dropped if its image was dropped."""
        verdict = col("image_verdict")
        return [Rule(Reason.IMAGE_DROPPED, when=verdict != OK, value=verdict, detail=verdict)]


def _verdicts(context: Context[Config], stage: str) -> DataFrame:
    reason = F.col(REASON)
    verdict = F.when(reason.isNull(), F.lit(OK)).otherwise(F.concat(F.lit(f"{stage}/dropped/"), reason))
    return context.judged(stage).select("url_id", verdict.alias("verdict"))
