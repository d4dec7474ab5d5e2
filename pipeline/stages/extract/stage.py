"""extract: candidates (one image with its text on one page) from pages.

Reads   crawl  the kept pages' WARC records, or `extract.inputs`: WARC, WAT, HTML folders and tars, URL lists, tars of
               images with their texts (read in place: a row has the place of its image)
Adds    every column of schemas/extract.py; alt_text is read only by text
Source  HTML by lexbor, srcset and attributes by the WHATWG HTML standard

Parts are input splits. A page or record that is lost completely is one row; equal candidates are one row with a count.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.core.context import Context, LooksAt
from pipeline.core.errors import ErrorCode, InputError, StageError
from pipeline.core.ids import key_of
from pipeline.core.parts import OpenPart, committed, files_of, is_committed, part_name, swept
from pipeline.core.rules import Rule, outcome_rules
from pipeline.core.spark import tasks_of_shuffle
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import STREAM_AHEAD_BYTES, Storage, environment_of_stores
from pipeline.core.tables import each_once, read_table, write_file
from pipeline.stages.extract.archives.warc import read_warc
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.lists.list_columns import choices
from pipeline.stages.extract.raw.places import File, is_url
from pipeline.stages.extract.reasons import Reason
from pipeline.stages.extract.sources import digests
from pipeline.stages.extract.sources.input_accounts import accounts_of, tell_after, tell_before
from pipeline.stages.extract.sources.inputs import Inputs, Split, look_at
from pipeline.stages.extract.split_rows import all_rows, batched, extract_tables, table_of
from schemas.extract import ADDS
from schemas.fields import OK

ROWS_FOLDER = "extract/parts/rows"
LISTED = ("listed_sha256s", "boxes")
MOST_REPEATED = 100_000  # keys that the driver holds, 10 MB
WITH_FIELDS = ("urls", "webdataset")  # formats whose rows may have sha256 or boxes of their images


class Extract(Stage[Config]):
    """One part per input split; resumable; parts of unchanged inputs are reused."""

    name = "extract"
    unit, key = "candidate", "candidate_id"
    keeps = ("candidate", "candidate_id")
    reads = ("crawl",)
    fans_out = True
    measure_version = 3  # 3: charsets, URLs and images as browsers find them
    Reason, adds = Reason, ADDS

    def looks_at(self, config: Config) -> LooksAt:
        """The archives of the kept pages."""
        return LooksAt(files=("crawl.warc",))

    def check(self, context: Context[Config]) -> None:
        """All inputs are looked at and hashed before any work starts."""
        _require_fields(context.config)
        if context.verify_inputs:
            digests.forget()
            _of_build(context.config).splits = None
        else:
            digests.recall(context.storage)
        tell_before(context.reporter, _looked_at(context.config), digests.unknown(_files(context.config)))
        if copies := sum(split.copies for split in _splits(context.config)):
            context.reporter.line(f"extract: {copies} of the inputs are copies of others and are not read twice")
        lists = [(split.path, split.columns) for split in _splits(context.config) if split.format == "urls"]
        for choice in choices(lists):
            context.reporter.line(f"extract: {choice}")

    def keep_notes(self, context: Context[Config]) -> None:
        """The digests of its inputs, so that unchanged ones are not hashed again."""
        if context.config.inputs:
            digests.remember(context.storage, _files(context.config))

    def contents(self, config: Config) -> Mapping[str, str]:
        """The bytes of all inputs, whatever their order and paths; for tars that are read in place, also the path."""
        splits = _splits(config)
        if not splits:
            return {}
        return {"inputs": key_of(*sorted([split.fingerprint for split in splits]), *sorted(shards_of(splits).values()))}

    def measure(self, context: Context[Config]) -> Measured:
        """Extract every split that no committed part has, then merge equal rows."""
        storage, spark, config = context.storage, context.spark, context.config
        before = {part.name for part in swept(storage, self.name, [ROWS_FOLDER])}
        work = _part_worker(storage, self.name, context.measure_key, config)
        splits = _splits(config)
        to_come = len(splits) or len(context.files("crawl.warc"))
        with context.bar(parts=to_come):
            if splits:
                names = set(spark.sparkContext.parallelize(splits, len(splits)).map(work).collect())
            else:
                pages = _crawled_splits(context.kept("crawl"), max(to_come, 1))
                crawled = pages.rdd.map(lambda row: Crawled(row["path"], tuple(row["offsets"])))
                names = set(crawled.map(work).collect())  # one name per WARC
        parts = [part for part in committed(storage, self.name) if part.name in names]
        if len(parts) != len(names):
            raise StageError(
                ErrorCode.STAGE_FAILED, f"{len(names) - len(parts)} parts of extract are gone; run build again"
            )
        files = files_of(parts, "rows")
        context.plan_for(sum(file.rows for file in files))
        found = read_table(spark, storage, files, ADDS)
        measured = sum(part.stats["rows"] for part in parts if part.name not in before)
        shards = shards_of(splits)
        accounts = accounts_of(splits, parts)
        tell_after(context.reporter, accounts)
        facts: dict[str, Any] = {"parts": len(parts)} | ({"shards": shards} if shards else {})
        facts |= {"inputs": accounts} if accounts else {}
        return Measured(_each_candidate_once(found), measured=measured, facts=facts)

    def rules(self, config: Config) -> list[Rule]:
        """A row that is not a candidate has its reason as outcome."""
        return outcome_rules(Reason)


@dataclass(frozen=True)
class Crawled:
    """The kept pages of one WARC file of the crawl."""

    path: str  # relative to the run
    offsets: tuple[int, ...]  # of their records, ascending

    @property
    def fingerprint(self) -> str:
        """Identifies what is read: the file is never rewritten, so its name and the offsets are enough."""
        return key_of(self.path, *map(str, self.offsets))


def input_formats(config: Config) -> set[str]:
    """The formats of the inputs; empty if the crawl is read."""
    return {one.format for one in _looked_at(config).seen}


def shards_of(splits: Iterable[Split]) -> dict[str, str]:
    """Paths of the tars that are read in place: path by fingerprint (column ``image_shard``)."""
    return {split.fingerprint: str(Path(split.path).absolute()) for split in splits if split.format == "webdataset"}


def _require_fields(config: Config) -> None:
    """InputError for a column of boxes or sha256 if an input is neither a list nor samples."""
    formats = input_formats(config) or {"the crawl"}
    if (config.sha256_column or config.boxes_column) and (others := formats.difference(WITH_FIELDS)):
        name = "boxes_column" if config.boxes_column else "sha256_column"
        text = f"extract.{name} names a column, and {', '.join(sorted(others))} has none; leave it empty"
        raise InputError(ErrorCode.CONFIG_INVALID, text)


@dataclass
class _Known:
    """What was found out for one config, that is, within one build."""

    config: Config
    inputs: Inputs
    splits: tuple[Split, ...] | None = None


_known: list[_Known] = []


def _of_build(config: Config) -> _Known:
    known = next((known for known in _known if known.config is config), None)
    if known is None:
        known = _Known(config, look_at(config.inputs, config.format, config.columns, config.paths_prefix))
        _known[:] = [known, *_known[:3]]
    return known


def _looked_at(config: Config) -> Inputs:
    """The inputs, each looked at once per build."""
    return _of_build(config).inputs


def _files(config: Config) -> list[File]:
    return [file for one in _looked_at(config).seen for file in one.files]


def _splits(config: Config) -> tuple[Split, ...]:
    """The input splits; each input's bytes are hashed at most once per build."""
    known = _of_build(config)
    if known.splits is None:
        known.splits = tuple(known.inputs.splits(digests.sha256s_of(_files(config))))
    return known.splits


def _crawled_splits(pages: DataFrame, warcs: int) -> DataFrame:
    """One row per WARC file of the crawl, with the offsets of the kept pages; spread over as many tasks."""
    offsets = F.sort_array(F.collect_list("warc_offset")).alias("offsets")
    return pages.repartition(warcs, "warc_file").groupBy(F.col("warc_file").alias("path")).agg(offsets)


def _part_worker(storage: Storage, stage: str, measure_key: str, config: Config) -> Callable[[Split | Crawled], str]:
    """A task: measures one split and commits it, unless it is already committed; returns the part's name."""
    on_store = any(is_url(file) for file in config.inputs) or is_url(config.paths_prefix)
    environment = dict(environment_of_stores()) if on_store else {}

    def work(split: Split | Crawled) -> str:
        os.environ.update(environment)
        name = part_name(measure_key, split.fingerprint)
        if is_committed(storage, stage, name):
            return name
        if isinstance(split, Crawled):
            opened = partial(storage.open, read_ahead=STREAM_AHEAD_BYTES)
            rows = read_warc(split.path, split.fingerprint, config, set(split.offsets), opened)
            sound = all_rows(rows, split.path, split.fingerprint)
            tables: Iterator[pa.Table] = map(table_of, batched(sound))
        else:
            tables = extract_tables(split, config)
        good = 0

        def counted() -> Iterator[pa.Table]:
            nonlocal good
            for table in tables:
                good += pc.sum(pc.equal(table["outcome"], OK)).as_py()
                yield table

        with OpenPart(storage, stage, measure_key) as part:
            record = write_file(storage, ROWS_FOLDER, ADDS, counted())
            part.add_file("rows", record)
            return part.commit(split.fingerprint, {"rows": record.rows, "good": good})

    return work


def _each_candidate_once(rows: DataFrame) -> DataFrame:
    """Rows that share their key are merged; only they are shuffled, unless there are very many, or few rows at all."""
    if tasks_of_shuffle(rows.sparkSession) == 1:
        return _merged(rows)
    counted = rows.groupBy("candidate_id").count()
    repeated = counted.filter("count > 1").select("candidate_id").limit(MOST_REPEATED + 1).collect()
    if not repeated:
        return rows
    if len(repeated) > MOST_REPEATED:
        return _merged(rows)
    keys = F.broadcast(rows.sparkSession.createDataFrame(repeated, "candidate_id string"))
    once = rows.join(keys, "candidate_id", "left_anti")
    return once.unionByName(_merged(rows.join(keys, "candidate_id", "left_semi")))


def _merged(rows: DataFrame) -> DataFrame:
    """Equal candidates become one row with the sum of their counts and all that lists say about the image; if they
    differ in anything else, the smallest row is kept."""
    others = [name for name in ADDS.names if name not in ("candidate_id", "count", *LISTED)]
    first = F.min(F.struct(*others)).alias("first")
    listed = [F.flatten(each_once(name)).alias(name) for name in LISTED]
    merged = rows.groupBy("candidate_id").agg(F.sum("count").alias("count"), first, *listed)
    return merged.select("candidate_id", "count", *LISTED, "first.*").select(*ADDS.names)


__all__ = ["Config", "Extract", "Reason"]
