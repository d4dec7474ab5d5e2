"""Engine ``shards``: images in local tars, measured in place. Nothing is requested.

A plain JPEG (no EXIF turn, no colour profile, no CMYK) stays in its tar whatever its size: the row of fetch/rows names
the tar, and clip and export read it there. Any other image (PNG, WebP, GIF,
a turned JPEG) is encoded again without resizing and stored like a fetched image.

In fetch/store a tar is identified by its fingerprint, never by its path. A moved tar is not measured again; a tar with
other bytes is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.core.context import Context, LooksAt
from pipeline.core.parts import Part
from pipeline.core.storage import Storage, read_pictures
from pipeline.stages.fetch.blocklist import NO_BLOCKLIST, Blocklist
from pipeline.stages.fetch.config import Config
from pipeline.stages.fetch.image_rows import Examiner, image_settings
from pipeline.stages.fetch.store import AskedSince, ImagePart, StoredRow
from pipeline.web.reasons import NetReason
from schemas.fields import OK

PLACE = ("image_file", "image_offset", "image_bytes")
LOOKS_AT = LooksAt(rows=("extract",), facts=("extract.shards",))


def places_of(images: DataFrame, context: Context[Config]) -> DataFrame:
    """The place of each image: url_id, request_url (names the place in fetch/store), and PLACE.

    Of several samples with one URL the one in the tar of the smallest fingerprint, there the first: not by path.
    """
    shards: dict[str, str] = context.fact("extract.shards") or {}  # path by fingerprint
    paths = context.spark.createDataFrame(sorted(shards.items()), "image_shard string, image_file string")
    place = F.struct("image_shard", "image_offset", "image_bytes")
    first = context.kept("extract").where("image_shard is not null").groupBy("url_id").agg(F.min(place).alias("place"))
    name = F.concat_ws(" ", F.lit("shard"), "image_shard", "image_offset", "image_bytes").alias("request_url")
    located = images.select("url_id").join(first.select("url_id", "place.*"), "url_id")
    return located.join(F.broadcast(paths), "image_shard").select("url_id", name, *PLACE)


def in_place(rows: DataFrame, places: DataFrame) -> DataFrame:
    """``rows`` of the store with PLACE filled in for images left in their tars."""
    is_there = (F.col("outcome") == OK) & F.col("image_file").isNull()
    tars = places.select("url_id", *[F.col(name).alias(f"tar_{name}") for name in PLACE])
    filled = {name: F.when(is_there, F.col(f"tar_{name}")).otherwise(F.col(name)) for name in PLACE}
    return rows.join(tars, "url_id", "left").withColumns(filled)


def measure_all(todo: DataFrame, before: Iterable[Part], context: Context[Config], blocklist: Blocklist) -> None:
    """Measure all images of ``todo`` (url_id, request_url, try_number, boxes, PLACE), tar by tar and from front to
    back; when this returns, each has a row in a committed part."""
    todo, config = todo.persist(), context.config
    measure = partial(
        measure_in_place,
        storage=context.storage,
        known=frozenset(part.name for part in before),
        measure_key=context.measure_key,
        config=config,
        blocklist=blocklist,
    )
    try:
        if total := todo.count():
            tasks = max(context.spark.sparkContext.defaultParallelism, math.ceil(total / config.part_images))
            by_place = todo.repartitionByRange(tasks, *PLACE).sortWithinPartitions(*PLACE)
            with context.bar(total):
                by_place.mapInArrow(measure, "images long").collect()  # one row a task
    finally:
        todo.unpersist()


def measure_in_place(
    batches: Iterator[pa.RecordBatch],
    storage: Storage,
    known: Collection[str],
    measure_key: str,
    config: Config,
    blocklist: Blocklist = NO_BLOCKLIST,
) -> Iterator[pa.RecordBatch]:
    """One task: rows in, parts committed, the number of images out."""
    rows = (row for batch in batches for row in batch.to_pylist())
    images = 0
    # else each of thousands of tasks would read all earlier parts
    done = AskedSince(storage, known, measure_key) if is_repeated() else ()
    with Examiner(replace(image_settings(config), mode="no"), blocklist) as examiner:
        while some := list(islice(rows, config.part_images)):
            todo = [row for row in some if row not in done]
            if todo:
                with ImagePart(storage, measure_key) as part:
                    for row, picture in _measured(todo, storage, examiner, config.max_bytes):
                        part.add(row, picture)
                    part.close()
            images += len(todo)
    yield pa.RecordBatch.from_pydict({"images": [images]})


def is_repeated() -> bool:
    """Whether an earlier attempt at this task may have committed parts; unknown outside of Spark.

    A task of a stage that Spark runs again counts from 0: it measures again, and its parts have the names they had.
    """
    context = TaskContext.get()
    return context is None or context.attemptNumber() > 0


def _measured(rows: list[dict[str, Any]], storage: Storage, examiner: Examiner, max_bytes: int) -> Iterator[StoredRow]:
    """Columns of each image, and its image if it is to be stored: not rejected and not left in its tar."""
    nowhere = (None, None, None)
    places = [nowhere if row["image_bytes"] > max_bytes else tuple(row[name] for name in PLACE) for row in rows]
    for row, data in zip(rows, read_pictures(storage, places), strict=True):
        columns: dict[str, Any] = {name: row[name] for name in ("url_id", "request_url", "try_number")}
        columns |= {"tries": 0, "optouts": []}
        picture = None
        if row["image_bytes"] > max_bytes:
            columns |= {"outcome": NetReason.BODY_TOO_LARGE.value, "detail": f"{row['image_bytes']} bytes in its tar"}
        elif data is None:
            columns |= {"outcome": NetReason.TRUNCATED_BODY.value, "detail": "its tar ends before the picture does"}
        else:
            measured, picture = examiner.measure(data, row["boxes"] or ())
            columns |= measured
        yield columns, None if picture == data else picture
