"""`run_stage`: the one place that fingerprints, resumes, counts, derives the ledger and publishes.

A stage cannot forget to account for a row, because it never counts one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.core import verdict
from pipeline.core.config import Kind, settings_key, settings_of
from pipeline.core.errors import ErrorCode, StageError
from pipeline.core.manifest import KeptRows, Manifest, publish, read_manifest
from pipeline.core.rules import CoreReason, Rule
from pipeline.core.run import Run
from pipeline.core.spark_progress import spark_probe
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import FileRecord
from pipeline.core.tables import read_table, write_table
from schemas.ledger import LEDGER

MOST_ERRORS_SHARE = 0.01
LEAST_ERRORS = 10
"""Fewer rows that raise end no stage, however small it is (docs/faults.md, T15)."""


@dataclass(frozen=True)
class Plan:
    """What a stage would be measured and decided from now, and what is left of its last result."""

    measure_key: str
    decide_key: str
    inputs: list[KeptRows]
    input_fingerprint: str
    rules: list[Rule]
    settings: dict[str, Any]
    old: Manifest | None

    @property
    def rows_stand(self) -> bool:
        """Whether the measured rows of the last result are those that measuring now would give."""
        old = self.old
        return old is not None and (old.measure_key, old.input_fingerprint) == (
            self.measure_key,
            self.input_fingerprint,
        )

    @property
    def stands(self) -> bool:
        """Whether nothing is to be done."""
        return self.rows_stand and self.old is not None and self.old.decide_key == self.decide_key


def run_stage(stage: Stage[Any], run: Run) -> Manifest:
    """Bring one stage up to date and return its manifest. StageError leaves the old result in place."""
    plan = make_plan(stage, run)
    retry = run.retry_failed and bool(stage.retryable)
    _sweep(stage, run, plan.old)  # what a killed build left
    if plan.stands and plan.old is not None and not retry:
        return _still_stands(stage, run, plan.old)
    try:
        with run.reporter.bar(stage.name, spark_probe(run.spark)):
            return _bring_up_to_date(stage, run, plan, retry)
    except BaseException:
        _sweep(stage, run, plan.old)  # readers who list rows/ see the last result, and no other
        raise


def _bring_up_to_date(stage: Stage[Any], run: Run, plan: Plan, retry: bool) -> Manifest:
    begun = time.monotonic()
    if plan.rows_stand and plan.old is not None and not retry:
        old = plan.old
        rows_in: int | None = old.rows_in
        measured, facts = 0, old.facts
        files = {role: records for role, records in old.files.items() if role not in stage_roles(stage)}
    else:
        rows_in, measured, facts, files = _measure(stage, run, plan)
    rows = read_table(run.spark, run.storage, files["rows"], run.schema(stage.name))
    judged = verdict.with_verdict(rows, plan.rules, run.schema(stage.name))
    counts, keeps = count_verdicts(stage, judged)
    if rows_in is None:
        rows_in = sum(counts.values())
    dropped = {
        reason: count for reason, count in sorted(counts.items(), key=lambda item: str(item[0])) if reason is not None
    }
    kept = counts.get(None, 0)
    if rows_in != kept + sum(dropped.values()):
        raise StageError(
            ErrorCode.LEDGER_MISMATCH,
            f"{stage.name}: {rows_in} {stage.unit}s in, {kept} kept, {sum(dropped.values())} dropped",
        )
    _refuse_too_many_errors(stage, counts.get(CoreReason.RULE_ERROR.value, 0), rows_in)
    files["ledger"] = write_table(verdict.ledger(judged, stage.key), run.storage, f"{stage.name}/ledger", LEDGER)
    manifest = Manifest(
        stage=stage.name,
        unit=stage.unit,
        off=run.is_off(stage.name),
        rows_in=rows_in,
        kept=kept,
        dropped=dropped,
        measured=measured,
        inputs=plan.inputs,
        keeps=keeps,
        measure_key=plan.measure_key,
        decide_key=plan.decide_key,
        input_fingerprint=plan.input_fingerprint,
        result=settings_key(plan.measure_key, [record.sha256 for record in files["rows"]]),
        settings=plan.settings,
        rules=[rule.describe(run.schema(stage.name)) for rule in plan.rules],
        facts=dict(facts),
        seconds=round(time.monotonic() - begun, 3),
        files=files,
    )
    packed = stage.pack(run, manifest)
    manifest = manifest.model_copy(update={"files": {**files, **packed}, "seconds": round(time.monotonic() - begun, 3)})
    publish(run.storage, manifest)
    _sweep(stage, run, manifest)
    _report(stage, run, manifest, _why(plan))
    return manifest


def _refuse_too_many_errors(stage: Stage[Any], errors: int, rows_in: int) -> None:
    """One row that raises costs itself; many mean a fault of ours or of a library, and a corpus full of holes."""
    if errors >= LEAST_ERRORS and errors > MOST_ERRORS_SHARE * rows_in:
        share = f"{errors:,} of {rows_in:,} {stage.unit}s (limit {MOST_ERRORS_SHARE:.0%})"
        what = f"{stage.name}: measuring raised on {share}"
        raise StageError(
            ErrorCode.TOO_MANY_ERRORS, f"{what}: a fault of pairmill or of a library; the last result stands"
        )


def make_plan(stage: Stage[Any], run: Run) -> Plan:
    """Keys and fingerprints of what the stage would do now."""
    config = run.config_of(stage.name)
    rules = run.rules(stage.name)
    measure_settings = settings_of(config, Kind.MEASURE)
    manifests = [run.manifest(source) for source in stage.reads]
    inputs = [manifest.keeps for manifest in manifests]
    read = [[kept.model_dump(), manifest.result] for kept, manifest in zip(inputs, manifests, strict=True)]
    off = run.is_off(stage.name)
    further = [] if off else stage.measure_inputs(config, run)
    measure_key = settings_key(stage.name, stage.measure_version, off, measure_settings, further)
    old = read_manifest(run.storage, stage.name)
    if old is not None and not all(run.storage.each(run.storage.intact, old.all_files)):
        run.reporter.line(f"{stage.name}: files of its last result are gone or changed; made again")
        old = None
    return Plan(
        measure_key=measure_key,
        decide_key=settings_key([rule.describe(run.schema(stage.name)) for rule in rules]),
        inputs=inputs,
        input_fingerprint=settings_key(read, stage.source_fingerprint(config, run)),
        rules=rules,
        settings=measure_settings | settings_of(config, Kind.DECIDE),
        old=old,
    )


def stage_roles(stage: Stage[Any]) -> tuple[str, ...]:
    """Roles of files that are made anew with every decision."""
    return ("ledger", *stage.packs)


def _measure(
    stage: Stage[Any], run: Run, plan: Plan
) -> tuple[int | None, int, dict[str, Any], dict[str, list[FileRecord]]]:
    """Measure and write rows/: (rows in or None where the rows say it, newly measured, facts, files)."""
    inputs = {source: run.kept(source) for source in stage.reads}
    if run.is_off(stage.name):
        found = Measured(_with_null_columns(stage, inputs, run), measured=0)
    else:
        found = stage.measure(inputs, run.config_of(stage.name), run, plan.measure_key)
    rows = write_table(found.rows, run.storage, f"{stage.name}/rows", run.schema(stage.name))
    for folder in found.scratch:
        run.storage.sweep(folder, set())
    measured = found.measured
    if measured is None:
        measured = _newly_measured(stage, run, plan, rows)
    rows_in = found.rows_in
    if rows_in is None and not stage.fans_out:
        rows_in = plan.inputs[0].rows
    return rows_in, measured, dict(found.facts), {"rows": rows, **found.files}


def _with_null_columns(stage: Stage[Any], inputs: dict[str, DataFrame], run: Run) -> DataFrame:
    """The rows of a stage that is off: what entered, its own columns null (no rows where nothing enters)."""
    if not stage.reads:
        return read_table(run.spark, run.storage, [], run.schema(stage.name))
    rows = inputs[stage.reads[0]]
    types = {
        field.name: field.dataType for field in read_table(run.spark, run.storage, [], run.schema(stage.name)).schema
    }
    missing = {name: F.lit(None).cast(types[name]) for name in stage.adds.names if name not in rows.columns}
    return rows.withColumns(missing)


def _newly_measured(stage: Stage[Any], run: Run, plan: Plan, rows: list[FileRecord]) -> int:
    """Rows whose key the last result under the same measure key did not have."""
    if plan.old is None or plan.old.measure_key != plan.measure_key:
        return sum(record.rows for record in rows)
    schema = run.schema(stage.name)
    before = read_table(run.spark, run.storage, plan.old.files["rows"], schema).select(stage.key)
    return read_table(run.spark, run.storage, rows, schema).join(before, stage.key, "left_anti").count()


def count_verdicts(stage: Stage[Any], judged: DataFrame) -> tuple[dict[str | None, int], KeptRows]:
    """Rows by reason (None: kept) in the stage's unit, and what it hands on."""
    weight = F.col("count") if "count" in judged.columns else F.lit(1)
    unit, key = stage.keeps
    leading_bits = F.conv(F.substring(key, 1, 16), 16, 10).cast("decimal(20,0)")
    totals = judged.groupBy(verdict.REASON).agg(
        F.sum(weight.cast("long")).alias("weight"),
        F.count(F.lit(1)).alias("rows"),
        F.sum(leading_bits).alias("digest"),
    )
    found = {row[verdict.REASON]: row for row in totals.collect()}  # one row a reason
    counts = {reason: int(row["weight"]) for reason, row in found.items()}
    kept = found.get(None)
    rows = 0 if kept is None else int(kept["weight"] if key == stage.key else kept["rows"])
    digest = 0 if kept is None else int(kept["digest"]) % 2**64
    return counts, KeptRows(stage=stage.name, unit=unit, rows=rows, digest=f"{digest:016x}")


def _still_stands(stage: Stage[Any], run: Run, old: Manifest) -> Manifest:
    """Nothing to do. The manifest goes on to say what the newest build measured: nothing."""
    manifest = old if old.measured == 0 else old.model_copy(update={"measured": 0})
    if manifest is not old:
        publish(run.storage, manifest)
    run.reporter.line(
        f"{stage.name:>8}: up to date, {old.kept:,} of {old.rows_in:,} {old.unit}s kept",
        stage=stage.name,
        event="up_to_date",
        rows_in=old.rows_in,
        kept=old.kept,
    )
    return manifest


def _why(plan: Plan) -> str:
    """What changed since the last result, in words; empty for a first one."""
    old = plan.old
    if old is None:
        return ""
    changed = [
        f"{name} {old.settings.get(name)} → {value}"
        for name, value in plan.settings.items()
        if old.settings.get(name) != value
    ]
    what = (
        "decided again"
        if plan.rows_stand
        else "measured again"
        if old.measure_key != plan.measure_key
        else "input changed"
    )
    return f"{what}: {', '.join(changed)}" if changed else what


def _report(stage: Stage[Any], run: Run, manifest: Manifest, why: str) -> None:
    total = sum(manifest.dropped.values())
    worst = max(manifest.dropped, key=lambda reason: manifest.dropped[reason], default="")
    top = f", most {worst} {manifest.dropped[worst]:,}" if worst else ""
    off = " (off)" if manifest.off else ""
    text = (
        f"{stage.name:>8}: in {manifest.rows_in:>9,}  kept {manifest.kept:>9,}  dropped {total:>9,}  "
        f"{manifest.seconds:>7.1f} s{off}{top}{f'  [{why}]' if why else ''}"
    )
    run.reporter.line(
        text,
        event="stage",
        why=why,
        **manifest.model_dump(
            mode="json", include={"stage", "unit", "rows_in", "kept", "dropped", "measured", "seconds"}
        ),
    )


def _sweep(stage: Stage[Any], run: Run, manifest: Manifest | None) -> None:
    """Files of rows/ and ledger/ that do not count: of the last result, of attempts that lost or were killed."""
    keep = {record.path for record in manifest.all_files} if manifest is not None else set()
    for role in ("rows", "ledger"):
        run.storage.sweep(f"{stage.name}/{role}", keep)
