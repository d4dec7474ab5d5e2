"""The ledgers on disk: counted, and sampled by hash of the key. Spark counts; the driver gets only samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipeline.audit.counts import Finding, closed_set
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.manifest import Manifest
from pipeline.core.run import Run
from pipeline.core.tables import read_table
from schemas.ledger import LEDGER

SUBJECT_COLUMNS = ("caption", "image_url", "request_url", "url", "page_url")  # what a row is about, for a person
MAX_VALUE = 1e300
UNREADABLE = (PySparkException, Py4JJavaError)


@dataclass(frozen=True)
class Entry:
    """One row of a ledger, with its subjects: the first text columns of the stage's row."""

    key: str
    value: str | None
    threshold: str | None
    detail: str | None
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class ReasonCount:
    """One reason as the ledger has it. ``lowest`` and ``highest`` are null if the values are not numbers."""

    reason: str | None
    rows: int
    lowest: float | None
    highest: float | None
    entries: tuple[Entry, ...]


def require_tables(run: Run, manifests: Mapping[str, Manifest]) -> None:
    """InputError `input_missing` if rows or ledger of a stage are missing: without them nothing can be proved."""
    for name, manifest in manifests.items():
        for role in ("rows", "ledger"):
            files = manifest.files.get(role)
            if not files:
                raise InputError(
                    ErrorCode.INPUT_MISSING, f"{name}/manifest.json lists no {role}; run pairmill build again"
                )
            for file in files:
                if not run.storage.exists(file.path):
                    raise InputError(ErrorCode.INPUT_MISSING, f"{file.path} is missing; run pairmill build again")


def recorded(run: Run, manifest: Manifest) -> DataFrame:
    """A stage's ledger as it was written."""
    return read_table(run.spark, run.storage, manifest.files["ledger"], LEDGER)


def counts_by_reason(ledger: DataFrame) -> dict[str | None, int]:
    """Rows dropped by reason (None: an entry without one)."""
    return {
        row["reason"]: int(row["rows"] or 0)
        for row in ledger.groupBy("reason").agg(F.sum("count").alias("rows")).collect()
    }


def ledger_findings(run: Run, manifest: Manifest, counts: Mapping[str | None, int]) -> Iterator[Finding]:
    """Ledger rows without a reason or with an unknown one, and counts per reason that differ from the manifest."""
    stage, known = manifest.stage, closed_set(run, manifest.stage)
    for reason, rows in sorted(counts.items(), key=lambda item: str(item[0])):
        if reason is None:
            yield Finding.invalid(stage, f"{rows:,} rows of the ledger have no reason")
        elif reason not in known:
            yield Finding.invalid(
                stage, f"{rows:,} rows of the ledger have {reason!r}, which is not a reason of this stage"
            )
    for reason in sorted({reason for reason in counts if reason is not None} | set(manifest.dropped)):
        found, listed = counts.get(reason, 0), manifest.dropped.get(reason, 0)
        if found != listed:
            yield Finding.mismatch(stage, f"{found:,} rows of the ledger have {reason!r}, the manifest says {listed:,}")


def reasons_of(run: Run, manifest: Manifest, samples: int) -> list[ReasonCount]:
    """The reasons of a stage, most rows first, each with the ``samples`` entries of smallest hash.

    InputError `input_unreadable` for a ledger that cannot be read.
    """
    try:
        return _reasons_of(run, manifest, samples)
    except UNREADABLE as error:
        raise InputError(
            ErrorCode.INPUT_UNREADABLE, f"{manifest.stage}/ledger: {type(error).__name__}; run pairmill audit --check"
        ) from error


def _reasons_of(run: Run, manifest: Manifest, samples: int) -> list[ReasonCount]:
    ledger = recorded(run, manifest)
    value = F.col("value").cast("double")
    number = F.when(value.between(-MAX_VALUE, MAX_VALUE), value)  # "nan" is a language code, not a number
    counted = (
        ledger.groupBy("reason")
        .agg(F.sum("count").alias("rows"), F.min(number).alias("lowest"), F.max(number).alias("highest"))
        .collect()
    )
    by_hash = Window.partitionBy("reason").orderBy(F.xxhash64("key"), *LEDGER.names)
    drawn = (
        ledger.withColumn("place", F.row_number().over(by_hash))
        .where(F.col("place") <= samples)
        .orderBy("place")
        .collect()
    )
    subjects = _subjects(run, manifest, {row["key"] for row in drawn if row["key"] is not None})
    entries: dict[str | None, list[Entry]] = {}
    for row in drawn:
        entry = Entry(row["key"], row["value"], row["threshold"], row["detail"], subjects.get(row["key"], ()))
        entries.setdefault(row["reason"], []).append(entry)
    found = [
        ReasonCount(
            row["reason"], int(row["rows"] or 0), row["lowest"], row["highest"], tuple(entries.get(row["reason"], ()))
        )
        for row in counted
    ]
    return sorted(found, key=lambda reason: (-reason.rows, str(reason.reason)))


def _subjects(run: Run, manifest: Manifest, keys: set[str]) -> dict[str, tuple[str, ...]]:
    """Caption and URL of the rows with these keys, if the stage has these columns."""
    stage, schema = run.stages[manifest.stage], run.schema(manifest.stage)
    columns = [name for name in SUBJECT_COLUMNS if name in schema.names][:2]
    if not keys or not columns:
        return {}
    rows = read_table(run.spark, run.storage, manifest.files["rows"], schema)
    found = rows.where(F.col(stage.key).isin(sorted(keys))).select(stage.key, *columns).collect()  # as many as samples
    return {row[stage.key]: tuple(row[name] for name in columns if row[name]) for row in found}
