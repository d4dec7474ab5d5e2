"""Which lane requests which image. One host's images are in one lane, so that its limits hold over the whole run.

A lane is chosen by the host's name without ``www.``, since http and https of a name, and a name with and without www,
redirect to each other more than to any other. A host so large and allowed so fast that one lane could not keep up
with its rate is split over k lanes; each uses 1/k of the rate and of the connections. If a redirect
leads to a host of another lane, this lane uses at most 1/lanes of that host's rate
(`pipeline.web.lane`): no host gets twice its rate. Each lane has at least one connection, so a host behind
redirects may get as many connections as lanes that reach it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.stages.fetch.config import Config
from pipeline.web.host import origin_of
from pipeline.web.urls import split

TO_ASK = "url_id string, request_url string, try_number int, boxes array<double>, alternate_url string"
LANE_IMAGES_PER_S = 50  # what a lane fetches and decodes on one core, at least
LANE_IMAGES = 10_000  # of one host: fewer do not need another lane


def spread(todo: DataFrame, lanes: int, config: Config, robots: DataFrame | None = None) -> DataFrame:
    """``todo`` (columns TO_ASK) in one partition per lane, sorted by ``origin``; with ``host``, ``origin`` and the
    host's number of lanes, ``share``. ``robots`` (`pipeline.stages.robots_files`) come ahead of their rows."""
    by_host = todo.mapInArrow(_with_host, f"{TO_ASK}, host string, origin string")
    share = F.lit(1)
    most = _most_lanes(lanes, config)
    if most > 1:
        large = by_host.groupBy("host").agg(F.floor(F.count(F.lit(1)) / LANE_IMAGES).alias("loads")).where("loads > 1")
        by_host = by_host.join(F.broadcast(large), "host", "left")
        share = F.least(F.lit(most), F.coalesce("loads", F.lit(1)))
    names = ("url_id", "request_url", "try_number", "boxes", "alternate_url", "host", "origin")
    asked = by_host.select(*names, share.cast("int").alias("share"))
    if robots is not None:
        asked = asked.unionByName(robots.withColumn("share", F.lit(1)), allowMissingColumns=True)
    name = F.regexp_replace("host", r"^www\.", "")
    in_lanes = asked.repartition(lanes, name, F.pmod(F.xxhash64("url_id"), "share"))
    return in_lanes.sortWithinPartitions("origin", "url_id")


def _most_lanes(lanes: int, config: Config) -> int:
    """Lanes over which one host may be split: each has a connection, and one alone is too slow for the rate."""
    needed = -(-config.rate_per_host // LANE_IMAGES_PER_S) if config.rate_per_host else lanes
    return int(min(lanes, config.per_host, needed))


def _with_host(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Add host and origin of request_url; both are empty for URLs that are never requested."""
    for batch in batches:
        origins = [origin_of(url) for url in batch["request_url"].to_pylist()]
        hosts = [split(origin).host if origin else "" for origin in origins]
        added = [pa.array(values, pa.string()) for values in (hosts, origins)]
        yield pa.RecordBatch.from_arrays([*batch.columns, *added], names=[*batch.schema.names, "host", "origin"])
