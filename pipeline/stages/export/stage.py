"""export: sharded tar and Parquet, the finished corpus.

Reads   select  the chosen pairs
Adds    outcome, and the columns of the image that is packed (its cluster representative's)
Source  WebDataset layout; column names of img2dataset if it has one

First every image is read and compared with its sha256 (a pair whose bytes are gone is dropped, not packed broken).
Then shards are written as parts: samples in pair_id order, KEY.jpg, KEY.txt, KEY.json adjacent in this order. The
same rows give the same bytes on any number of cores: no clock, owner or path enters a shard.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from itertools import groupby
from typing import ClassVar

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from pipeline.core import verdict
from pipeline.core.config import Field, Measure, Operate, StageConfig
from pipeline.core.context import Context, LooksAt
from pipeline.core.corpus_manifest import MANIFEST
from pipeline.core.errors import ErrorCode, InputError, StageError
from pipeline.core.manifest import Manifest
from pipeline.core.parts import committed
from pipeline.core.rules import Rule, outcome_rules
from pipeline.core.spark import tasks_at_once
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import FileRecord, Storage, read_pictures
from pipeline.core.tables import by_place, only_row, read_table, spark_schema, with_columns
from pipeline.stages.export.corpus import publish_corpus, recover_swap
from pipeline.stages.export.shard import write_shard
from schemas.export import ADDS, PICTURE
from schemas.fields import OK
from schemas.pairs import CLUSTER_COLUMNS, PAIR_COLUMNS

PREFIX_DIGITS = 4  # hex digits of pair_id by which rows are numbered in parallel: 65,536 runs


class Reason(StrEnum):
    """Why a chosen pair is not in the corpus."""

    IMAGE_BYTES_LOST = "image_bytes_lost"


class Config(StageConfig):
    """The layout of the corpus."""

    shard_size: Measure[int] = Field(
        10_000, ge=1, le=1_000_000, description="samples per shard (the last one has the rest)"
    )
    min_pairs: Operate[int] = Field(
        0, ge=0, description="fewer pairs than this stop the build with an error; 0: no limit"
    )


class Export(Stage[Config]):
    """Verifies, then packs."""

    name = "export"
    unit, key = "pair", "pair_id"
    keeps = ("pair", "pair_id")
    reads = ("select",)
    packs = ("corpus",)
    carries: ClassVar = (*PAIR_COLUMNS, *CLUSTER_COLUMNS, "clip_score", "image_of")
    Reason, adds = Reason, ADDS

    def looks_at(self, config: Config) -> LooksAt:
        """The place of a representative's image, because its own pair may be dropped."""
        return LooksAt(rows=("fetch",))

    def check(self, context: Context[Config]) -> None:
        """A folder `corpus` that this run did not write is not touched."""
        storage = context.storage
        recover_swap(storage)
        if "corpus" in storage.entries() and not storage.exists(MANIFEST):
            raise InputError(
                ErrorCode.OUTPUT_EXISTS,
                f"{storage.where('corpus')} was not written by pairmill; move it away or choose another --run",
            )

    def measure(self, context: Context[Config]) -> Measured:
        """One row per pair: the image to pack, and whether its bytes exist and are intact."""
        located = ("image_file", "image_offset", "image_bytes")
        pictures = context.rows("fetch").select(
            F.col("url_id").alias("image_of"), *[field.name for field in PICTURE], *located
        )
        pairs = context.kept("select").select(*self.carries).join(pictures, "image_of", "left")
        schema = context.schema
        unverified = pa.schema([field for field in schema if field.name != "outcome"])
        verify = partial(_verify, context.storage, schema)
        return Measured(by_place(pairs.select(*unverified.names)).mapInArrow(verify, spark_schema(schema)))

    def rules(self, config: Config) -> list[Rule]:
        """Only bytes that are gone or changed are left out."""
        return outcome_rules(Reason, detail="image_file")

    def pack(self, context: Context[Config], manifest: Manifest) -> Mapping[str, list[FileRecord]]:
        """Write the shards of the kept rows and replace the last corpus with them."""
        config, storage, schema = context.config, context.storage, context.schema
        if manifest.kept < config.min_pairs:
            raise StageError(
                ErrorCode.TOO_FEW_PAIRS, f"{manifest.kept} pairs are left; export.min_pairs is {config.min_pairs}"
            )
        if not manifest.kept:
            context.reporter.line("export: no pair is left; the corpus is empty")
        rows = read_table(context.spark, storage, manifest.files["rows"], schema)
        kept = verdict.kept(rows, context.rules, schema)
        size = only_row(kept.agg(F.sum("image_bytes").alias("bytes")))["bytes"]
        storage.require_room(int(1.2 * (size or 0)))
        numbered = numbered_by_pair_id(context.spark, kept, config.shard_size)
        write = _shard_writer(storage, schema.names)
        tasks = min(math.ceil(manifest.kept / config.shard_size), tasks_at_once(context.spark))
        sharded = numbered.repartition(max(tasks, 1), "shard").sortWithinPartitions("shard", "pair_id")
        names = {row["part"] for row in sharded.mapInArrow(write, "part string").collect()}  # one row per shard
        shards = [part for part in committed(storage, self.name) if part.name in names]
        return {"corpus": publish_corpus(storage, shards, manifest)}


def numbered_by_pair_id(spark: SparkSession, rows: DataFrame, shard_size: int) -> DataFrame:
    """Add ``shard``: the place of the row in pair_id order over ``shard_size``, without one global sort."""
    prefixed = rows.withColumn("prefix", F.substring("pair_id", 1, PREFIX_DIGITS))
    counts = sorted(
        (row["prefix"], row["count"]) for row in prefixed.groupBy("prefix").count().collect()
    )  # at most 16^4
    starts, before = [], 0
    for prefix, count in counts:
        starts.append((prefix, before))
        before += count
    offsets = spark.createDataFrame(starts, "prefix string, before long")
    place = F.col("before") + F.row_number().over(Window.partitionBy("prefix").orderBy("pair_id")) - 1
    shard = F.floor(place / shard_size).cast("int")
    return prefixed.join(F.broadcast(offsets), "prefix").withColumn("shard", shard).drop("prefix", "before")


def _verify(storage: Storage, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        places = zip(*(batch[name].to_pylist() for name in ("image_file", "image_offset", "image_bytes")), strict=True)
        outcomes = []
        for data, sha256 in zip(read_pictures(storage, places), batch["image_sha256"].to_pylist(), strict=True):
            whole = data is not None and hashlib.sha256(data).hexdigest() == sha256
            outcomes.append(OK if whole else Reason.IMAGE_BYTES_LOST.value)
        yield with_columns(batch, schema, {"outcome": pa.array(outcomes, pa.string())})


def _shard_writer(
    storage: Storage, columns: list[str]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = (row for batch in batches for row in batch.to_pylist())
        for shard, members in groupby(rows, key=lambda row: row["shard"]):
            part = write_shard(storage, shard, [{name: row[name] for name in columns} for row in members])
            yield pa.RecordBatch.from_pydict({"part": [part]})

    return write


__all__ = ["Config", "Export", "Reason"]
