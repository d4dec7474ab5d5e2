"""fetch: the picture behind every image URL, asked for once, measured, stored.

Reads   text  the kept pairs' images: one row per url_id, asked for at request_url
Adds    outcome, HTTP facts, what the bytes say, and where the stored picture lies (schemas/fetch.py)
Source  politeness: docs/safety.md; resize: img2dataset; filters too small, banner, blank: docs/faults.md, F38 and F39

Lanes: a host's URLs are all in one task, so the limits of a host hold over the whole run. What a lane learns goes into
`fetch/store/`, which only grows: whoever comes back with other pairs asks for what is not there under these settings.
A stored failure is a measurement too; only `--retry-failed` asks again, and only where asking again can help. Bytes
are written and read by tasks; Spark moves keys and columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import ClassVar

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipeline.core.parts import Part, committed, files_of, swept
from pipeline.core.rules import CoreReason, Rule, col, outcome_rules
from pipeline.core.run import Run
from pipeline.core.stage import Measured, Stage
from pipeline.core.tables import read_table
from pipeline.fetch.config import Config
from pipeline.fetch.lane import run_fetch_lane
from pipeline.fetch.reasons import OUTCOMES, RETRYABLE, Reason
from pipeline.fetch.store import FOLDER
from pipeline.vision.reasons import ImageReason
from pipeline.web.config import require_contact
from pipeline.web.urls import UrlError, origin
from schemas.fetch import ADDS, STORE

TO_ASK = "url_id string, request_url string, try_number int"


class Fetch(Stage[Config]):
    """Asks for images, once each, on polite lanes."""

    name = "fetch"
    unit, key = "image", "url_id"
    keeps = ("image", "url_id")
    reads = ("text",)
    carries: ClassVar = ("url_id", "request_url")
    retryable = RETRYABLE
    measure_version = 2  # 2: phash256 and chroma4
    Config, Reason, adds = Config, Reason, ADDS

    def check(self, config: Config, run: Run) -> None:
        """Nobody is asked for anything by somebody without a name."""
        require_contact(run.config.web)  # type: ignore[attr-defined]

    def measure(self, rows: Mapping[str, DataFrame], config: Config, run: Run, measure_key: str) -> Measured:
        """Ask for what the store does not have, then read this input's images from the store."""
        before = swept(run.storage, self.name, [FOLDER])
        request_url = F.min("request_url").alias("request_url")  # equal for all rows of a url_id
        images = rows["text"].groupBy("url_id").agg(request_url)
        todo = missing(images, newest(run, _under(measure_key, before)), run.retry_failed)
        fetch_all(todo, before, config, run, measure_key)
        parts = committed(run.storage, self.name)
        known = {part.name for part in before}
        new = [part for part in parts if part.name not in known]
        ours = _under(measure_key, parts)
        stored = newest(run, ours).drop("request_url")
        return Measured(
            images.join(stored, "url_id", "left").select(*self.carries, *ADDS.names),
            rows_in=rows["text"].select("url_id").distinct().count(),
            measured=_total("rows", new),
            files={"store": files_of(ours, "rows"), "images": files_of(ours, "images")},
            facts={"parts": len(new), "requests": _total("requests", new), "served_bytes": _total("served_bytes", new)},
        )

    def rules(self, config: Config) -> list[Rule]:
        """Whether there is a picture; then whether it is one to keep."""
        short_side, aspect, spread = col("short_side"), col("aspect"), col("spread")
        return [
            *outcome_rules([*OUTCOMES, CoreReason.RULE_ERROR]),
            Rule(ImageReason.TOO_SMALL, when=short_side < config.min_side, value=short_side, threshold=config.min_side),
            Rule(ImageReason.ASPECT_RATIO, when=aspect > config.max_aspect, value=aspect, threshold=config.max_aspect),
            Rule(ImageReason.BLANK_IMAGE, when=spread < config.min_spread, value=spread, threshold=config.min_spread),
        ]


def newest(run: Run, parts: Iterable[Part]) -> DataFrame:
    """The row that counts for each url_id: of the highest try_number; of equal ones that in the smallest part."""
    rows = read_table(run.spark, run.storage, files_of(parts, "rows"), STORE)
    newest_first = Window.partitionBy("url_id").orderBy(F.col("try_number").desc(), "part")
    return rows.withColumn("place", F.row_number().over(newest_first)).where("place = 1").drop("place")


def missing(images: DataFrame, stored: DataFrame, retry_failed: bool) -> DataFrame:
    """Images to ask for, with the number of this try: those never measured and, on demand, those worth another try."""
    known = stored.select("url_id", "outcome", F.col("try_number").alias("tried"))
    unmeasured = F.col("tried").isNull()
    wanted = unmeasured | F.col("outcome").isin(*RETRYABLE) if retry_failed else unmeasured
    try_number = F.coalesce("tried", F.lit(0)) + 1
    joined = images.join(known, "url_id", "left").where(wanted)
    return joined.select("url_id", "request_url", try_number.alias("try_number"))


def fetch_all(todo: DataFrame, before: Iterable[Part], config: Config, run: Run, measure_key: str) -> None:
    """Ask for all images of ``todo``; when this returns, each has a row in a committed part."""
    lanes = config.lanes or run.spark.sparkContext.defaultParallelism
    by_host = todo.mapInArrow(_with_origin, f"{TO_ASK}, origin string").repartition(lanes, "origin").persist()
    fetch = partial(
        run_fetch_lane, storage=run.storage, known=frozenset(part.name for part in before), measure_key=measure_key,
        config=config, web=run.config.web,  # type: ignore[attr-defined]
    )  # fmt: skip
    try:
        total = by_host.count()
        if total:
            with run.reporter.bar(Fetch.name, run.parts_probe(Fetch.name, total=total)):
                by_host.mapInArrow(fetch, "images long").collect()  # one row a lane
    finally:
        by_host.unpersist()


def _with_origin(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Add the origin of request_url; of URLs that are never requested, an empty one."""
    for batch in batches:
        origins = pa.array([_origin(url) for url in batch["request_url"].to_pylist()], pa.string())
        yield pa.RecordBatch.from_arrays([*batch.columns, origins], names=[*batch.schema.names, "origin"])


def _origin(url: str) -> str:
    try:
        return origin(url)
    except UrlError:
        return ""


def _under(measure_key: str, parts: Iterable[Part]) -> list[Part]:
    return [part for part in parts if part.measure_key == measure_key]


def _total(stat: str, parts: Iterable[Part]) -> int:
    return sum(part.stats.get(stat, 0) for part in parts)


__all__ = ["Config", "Fetch", "Reason"]
