"""robots.txt as files of a run: what one lane of crawl or fetch has fetched, no other lane, round or build asks again.

A lane keeps what it fetched beside the next part that it commits. Before a round, those that may still be used go to
the lanes of their hosts, ahead of the host's own rows (`pipeline.web.spool`).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.core.parts import OpenPart, committed
from pipeline.core.storage import Storage
from pipeline.core.tables import read_table, write_file
from pipeline.web.robots import Robots
from schemas.robots import ROBOTS

ROLE, STAT = "robots", "robots_fetched_at"  # of a part: its file; when the newest in it was fetched, seconds since 1970
STAGES = ("crawl", "fetch")


def folder_of(stage: str) -> str:
    """Where the files of a stage are."""
    return f"{stage}/robots"


def add_to(part: OpenPart, stage: str, robots: Robots) -> dict[str, int]:
    """Keep what was fetched since the last part; returns the statistics to commit the part with."""
    fetched = robots.drained()
    if not fetched:
        return {}
    part.add_file(ROLE, write_file(part.storage, folder_of(stage), ROBOTS, [pa.Table.from_pylist(fetched, ROBOTS)]))
    return {STAT: int(time.time())}


def usable(spark: SparkSession, storage: Storage, max_age_s: float) -> DataFrame | None:
    """Those that are young enough, with their ``host``; None if there are none."""
    oldest = time.time() - max_age_s
    parts = [part for stage in STAGES for part in committed(storage, stage) if part.stats.get(STAT, 0) > oldest]
    if not parts:
        return None
    robots = read_table(spark, storage, [part.files[ROLE] for part in parts], ROBOTS)
    since = datetime.fromtimestamp(oldest, UTC).isoformat(timespec="seconds")
    return robots.where(F.col("robots_fetched_at") > since).withColumn("host", F.regexp_extract("origin", "//(.*):", 1))
