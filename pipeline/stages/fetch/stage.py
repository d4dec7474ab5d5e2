"""fetch: the image of every image URL, requested once, measured, stored.

Reads   text  the kept pairs' images: one row per url_id, requested at request_url
Adds    outcome, HTTP facts, measures of the bytes, and the place of the stored image (schemas/fetch.py)
Source  politeness: docs/safety.md; resize: img2dataset; filters too small, banner, blank: docs/faults.md, F38 and F39

With `fetch.engine: shards` nothing is requested: images are measured in the tars that extract read (`shards.py`).
If a URL has failed for good, the lane asks for the image's alternate URL on the same host (`alternates.py`).
Lanes: the limits of a host hold over the whole run (`pipeline/stages/fetch/spread.py`). A lane writes its results to
`fetch/store/`, which only grows: a later build with other pairs requests only what is missing under these settings.
A stored failure is a measurement too. Only `--retry-failed` requests it again, if a retry can help. Bytes
are written and read by tasks; Spark moves keys and columns.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import cache, partial
from typing import ClassVar

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipeline.core.context import Context, LooksAt
from pipeline.core.parts import Part, committed, files_of, swept
from pipeline.core.rules import CoreReason, Rule, col, outcome_rules
from pipeline.core.stage import Measured, Stage
from pipeline.core.tables import read_table
from pipeline.stages import robots_files
from pipeline.stages.fetch import shards
from pipeline.stages.fetch.blocklist import Blocklist, read_blocklist
from pipeline.stages.fetch.config import Config
from pipeline.stages.fetch.image_lane import run_fetch_lane
from pipeline.stages.fetch.reasons import OUTCOMES, RETRYABLE, Reason
from pipeline.stages.fetch.spread import spread
from pipeline.stages.fetch.store import FOLDERS
from pipeline.vision.reasons import ImageReason
from pipeline.web.config import longest_pause_s, require_contact
from pipeline.web.left_over import DDL, tell
from schemas.fetch import ADDS, STORE
from schemas.fields import OK

KEPT_OF_BLOCKLISTED = ("tries", "try_number", "fetched_at", "optouts")


class Fetch(Stage[Config]):
    """Requests images, once each, on polite lanes."""

    name = "fetch"
    unit, key = "image", "url_id"
    keeps = ("image", "url_id")
    reads = ("text",)
    carries: ClassVar = ("url_id", "request_url")
    retryable = RETRYABLE
    measure_version = 2  # 2: our own decoding and resizing; phash256, chroma4
    Reason, adds = Reason, ADDS

    def looks_at(self, config: Config) -> LooksAt:
        """How the web is used; or, for tars read in place, where they and their images are."""
        return shards.LOOKS_AT if config.reads_shards else LooksAt(settings=("web",))

    def contents(self, config: Config) -> Mapping[str, str]:
        """One digest under the operator's key names all lists, because a manifest must not reveal them."""
        blocklist = _blocklist(config)
        return {"blocklist_key": blocklist.digest} if blocklist else {}

    def check(self, context: Context[Config]) -> None:
        """Nothing is requested without a contact."""
        _blocklist(context.config)
        if not context.config.reads_shards:
            require_contact(context.setting("web"))

    def measure(self, context: Context[Config]) -> Measured:
        """Request what the store does not have, then read this input's images from the store."""
        config, measure_key = context.config, context.measure_key
        before, blocklist = swept(context.storage, self.name, FOLDERS), _blocklist(config)
        pairs = context.kept("text")
        # All are equal for all rows of a url_id.
        names = {
            "request_url": "request_url",
            "image_boxes": "boxes",
            "image_sha256s": "listed",
            "request_alternate": "alternate_url",
        }
        images = pairs.groupBy("url_id").agg(*(F.min(old).alias(new) for old, new in names.items()))
        stored = newest(context, _under(measure_key, before), images)
        if config.reads_shards:
            places = shards.places_of(images, context)
            places = places.join(images.select("url_id", "boxes"), "url_id")
            todo = missing(places, stored, context.retry_failed, by_place=True).join(
                places.drop("boxes"), ["url_id", "request_url"]
            )
            shards.measure_all(todo, before, context, blocklist)
        else:
            fetch_all(missing(images, stored, context.retry_failed), before, context)
        parts = committed(context.storage, self.name)
        known = {part.name for part in before}
        new = [part for part in parts if part.name not in known]
        ours = _under(measure_key, parts)
        stored = newest(context, ours, images).drop("request_url")
        measured = as_listed(images.join(stored, "url_id", "left"))
        if config.reads_shards:
            measured = shards.in_place(measured, places)
        if blocklist.sha256:
            measured = hidden(measured, blocklist)
        return Measured(
            measured.select(*self.carries, *ADDS.names),
            rows_in=pairs.select("url_id").distinct().count(),
            measured=_total("rows", new),
            files={"store": files_of(ours, "rows"), "images": files_of(ours, "images")},
            facts={"parts": len(new), "requests": _total("requests", new), "served_bytes": _total("served_bytes", new)},
        )

    def rules(self, config: Config) -> list[Rule]:
        """First whether there is an image, then whether to keep it."""
        short_side, aspect, spread, entropy = col("short_side"), col("aspect"), col("spread"), col("entropy")
        return [
            *outcome_rules([*OUTCOMES, CoreReason.RULE_ERROR]),
            Rule(
                ImageReason.HASH_MISMATCH,
                when=~col("expected_sha256").is_null(),
                value=col("sha256"),
                detail=col("expected_sha256"),
                nulls_ok=True,
            ),
            Rule(ImageReason.TOO_SMALL, when=short_side < config.min_side, value=short_side, threshold=config.min_side),
            Rule(ImageReason.ASPECT_RATIO, when=aspect > config.max_aspect, value=aspect, threshold=config.max_aspect),
            Rule(ImageReason.BLANK_IMAGE, when=spread < config.min_spread, value=spread, threshold=config.min_spread),
            Rule(
                ImageReason.LOW_ENTROPY, when=entropy < config.min_entropy, value=entropy, threshold=config.min_entropy
            ),
        ]


def newest(context: Context[Config], parts: Iterable[Part], images: DataFrame) -> DataFrame:
    """The row that counts for each url_id: of the highest try_number; among equal ones an image before a failure, then
    that in the smallest part. An image with other boxes blurred than ``images`` wants does not count."""
    rows = read_table(context.spark, context.storage, files_of(parts, "rows"), STORE)
    wanted = images.where("boxes is not null").select("url_id", F.col("boxes").alias("wanted"))  # few, mostly none
    is_picture = F.col("outcome") == OK
    rows = rows.join(wanted, "url_id", "left").where(~is_picture | F.col("blurred_boxes").eqNullSafe(F.col("wanted")))
    newest_first = Window.partitionBy("url_id").orderBy(F.col("try_number").desc(), is_picture.desc(), "part")
    return rows.withColumn("place", F.row_number().over(newest_first)).where("place = 1").drop("place", "wanted")


def as_listed(rows: DataFrame) -> DataFrame:
    """``rows`` with ``expected_sha256`` if its sha256 is not in ``listed``, the sha256s of its inputs."""
    is_other = F.col("sha256").isNotNull() & ~F.array_contains("listed", F.col("sha256"))
    return rows.withColumn("expected_sha256", F.when(is_other, F.element_at("listed", 1)))


def hidden(rows: DataFrame, blocklist: Blocklist) -> DataFrame:
    """``rows`` as if the lists had always been set: of an image whose sha256 is listed nothing is shown."""
    listed = [(sha256, blocklist.trace(sha256)) for sha256 in sorted(digest.hex() for digest in blocklist.sha256)]
    traces = rows.sparkSession.createDataFrame(listed, "sha256 string, trace string")
    met = F.col("trace").isNotNull()
    told = {name: F.when(~met, F.col(name)) for name in ADDS.names if name not in KEPT_OF_BLOCKLISTED}
    told["outcome"] = F.when(met, ImageReason.BLOCKLISTED.value).otherwise(F.col("outcome"))
    told["detail"] = F.when(met, F.col("trace")).otherwise(F.col("detail"))
    return rows.join(traces, "sha256", "left").withColumns(told)


def missing(images: DataFrame, stored: DataFrame, retry_failed: bool, by_place: bool = False) -> DataFrame:
    """Images to request, with the number of this try: those never measured and, on demand, those worth a retry.

    With ``by_place`` request_url names a place, and an image measured at another place does not count.
    """
    known = stored.select("url_id", "outcome", F.col("try_number").alias("tried"), F.col("request_url").alias("asked"))
    unmeasured = F.col("tried").isNull()
    if by_place:
        unmeasured = unmeasured | (F.col("asked") != F.col("request_url"))
    wanted = unmeasured | F.col("outcome").isin(*RETRYABLE) if retry_failed else unmeasured
    try_number = F.coalesce("tried", F.lit(0)) + 1
    joined = images.join(known, "url_id", "left").where(wanted)
    alternate = [] if by_place else ["alternate_url"]
    return joined.select("url_id", "request_url", try_number.alias("try_number"), "boxes", *alternate)


def fetch_all(todo: DataFrame, before: Iterable[Part], context: Context[Config]) -> None:
    """Request all images of ``todo``; when this returns, each has a row in a committed part."""
    config = context.config
    lanes = config.lanes or context.spark.sparkContext.defaultParallelism
    ends_at = time.time() + 3600 * config.max_hours if config.max_hours else None
    web = context.setting("web")
    robots = robots_files.usable(context.spark, context.storage, web.robots_max_age_s)
    by_host = spread(todo, lanes, config, robots).persist()
    fetch = partial(
        run_fetch_lane,
        storage=context.storage,
        known=frozenset(part.name for part in before),
        measure_key=context.measure_key,
        config=config,
        web=web,
        lanes=lanes,
        ends_at=ends_at,
        blocklist=_blocklist(config),
    )
    try:
        total = by_host.where("url_id is not null").count()
        if total:
            with context.lanes_at_work(longest_pause_s(lanes * config.delay_s, config.timeout_s, web), total):
                found = by_host.mapInArrow(fetch, DDL).collect()  # a few rows per lane
            tell("fetch", found, context.reporter)
    finally:
        by_host.unpersist()


def _blocklist(config: Config) -> Blocklist:
    """The lists that the settings name; read once per process."""
    lists = (tuple(files) for files in (config.blocked_sha256, config.blocked_md5, config.blocked_pdq))
    return _read(*lists, config.pdq_bits, config.blocklist_key)


_read = cache(read_blocklist)


def _under(measure_key: str, parts: Iterable[Part]) -> list[Part]:
    return [part for part in parts if part.measure_key == measure_key]


def _total(stat: str, parts: Iterable[Part]) -> int:
    return sum(part.stats.get(stat, 0) for part in parts)


__all__ = ["Config", "Fetch", "Reason"]
