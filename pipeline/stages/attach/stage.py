"""attach: a pair meets its image. One image serves all its captions.

Reads   text   the pairs
        fetch  verdicts of the images that were asked for
        dedup  the images that stand, with their cluster
Adds    image_verdict; carries the pair's columns and its image's
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.core.config import StageConfig
from pipeline.core.rules import Rule, col
from pipeline.core.run import Run
from pipeline.core.stage import Measured, Stage
from pipeline.core.verdict import REASON
from schemas.attach import ADDS
from schemas.fields import OK
from schemas.pairs import CHOICE_COLUMNS, IMAGE_COLUMNS, PAIR_COLUMNS


class Reason(StrEnum):
    """Why a pair has no image."""

    IMAGE_DROPPED = "image_dropped"


class Config(StageConfig):
    """Nothing to set."""


class Attach(Stage[Config]):
    """Joins pairs with images on url_id; keys and small columns only."""

    name = "attach"
    unit, key = "pair", "pair_id"
    keeps = ("pair", "pair_id")
    reads = ("text", "fetch", "dedup")
    carries: ClassVar = PAIR_COLUMNS + CHOICE_COLUMNS + IMAGE_COLUMNS
    Config, Reason, adds = Config, Reason, ADDS

    def measure(self, rows: Mapping[str, DataFrame], config: Config, run: Run, measure_key: str) -> Measured:
        """One row a pair, whatever became of its image."""
        fetched = _verdicts(run, "fetch")
        clustered = _verdicts(run, "dedup").withColumnRenamed("verdict", "dedup_verdict")
        images = run.rows("dedup").select("url_id", *IMAGE_COLUMNS)
        verdict = F.when(F.col("verdict") == OK, F.col("dedup_verdict")).otherwise(F.col("verdict"))
        pairs = rows["text"].select(*PAIR_COLUMNS, *CHOICE_COLUMNS)
        joined = pairs.join(fetched, "url_id", "left").join(clustered, "url_id", "left").join(images, "url_id", "left")
        return Measured(joined.withColumn("image_verdict", verdict).select(*self.carries, *ADDS.names))

    def source_fingerprint(self, config: Config, run: Run) -> str:
        """Of the rules about images: the reason of a dropped image is read, and no key of a kept one shows it."""
        return " ".join(run.manifest(stage).decide_key for stage in ("fetch", "dedup"))

    def rules(self, config: Config) -> list[Rule]:
        """A pair goes where its image goes."""
        verdict = col("image_verdict")
        return [Rule(Reason.IMAGE_DROPPED, when=verdict != OK, value=verdict, detail=verdict)]


def _verdicts(run: Run, stage: str) -> DataFrame:
    reason = F.col(REASON)
    verdict = F.when(reason.isNull(), F.lit(OK)).otherwise(F.concat(F.lit(f"{stage}/dropped/"), reason))
    return run.judged(stage).select("url_id", verdict.alias("verdict"))
