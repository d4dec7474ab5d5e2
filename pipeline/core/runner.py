"""`run_stage`: the one place that fingerprints, resumes, counts, derives the ledger and publishes.

A stage cannot forget to account for a row, because it never counts one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.core import verdict
from pipeline.core.config import Kind, StageConfig, kind_of, settings_key, settings_of
from pipeline.core.context import LooksAt
from pipeline.core.errors import ErrorCode, StageError
from pipeline.core.manifest import KeptRows, LookedAt, Manifest, publish, read_manifest
from pipeline.core.rules import CoreReason, Rule
from pipeline.core.run import Run
from pipeline.core.spark import plan_for
from pipeline.core.spark_progress import spark_probe
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import FileRecord
from pipeline.core.tables import read_table, write_table
from pipeline.core.tally import tallied

MOST_ERRORS_SHARE = 0.01
LEAST_ERRORS = 10
"""Fewer failing rows never fail a stage, however small it is (docs/faults.md, T15)."""


@dataclass(frozen=True)
class Plan:
    """What the stage would be measured and decided from now, and its last result if it is complete."""

    measure_key: str
    decide_key: str
    inputs: list[KeptRows]
    looked_at: list[LookedAt]
    input_fingerprint: str
    rules: list[Rule]
    settings: dict[str, Any]
    contents: dict[str, str]
    old: Manifest | None

    @property
    def rows_are_current(self) -> bool:
        """Whether measuring now would give the measured rows of the last result."""
        old = self.old
        return old is not None and (old.measure_key, old.input_fingerprint) == (
            self.measure_key,
            self.input_fingerprint,
        )

    @property
    def is_current(self) -> bool:
        """Whether the last result is up to date."""
        return self.rows_are_current and self.old is not None and self.old.decide_key == self.decide_key


def run_stage(stage: Stage[Any], run: Run) -> Manifest:
    """Bring one stage up to date and return its manifest. StageError keeps the old result."""
    plan = make_plan(stage, run)
    retry = run.retry_failed and bool(stage.retryable)
    _sweep(stage, run, plan.old)  # what a killed build left
    if not run.is_off(stage.name):
        stage.keep_notes(run.context(stage.name, plan.measure_key))
    if plan.is_current and plan.old is not None and not retry:
        return _keep_result(stage, run, plan.old)
    try:
        with run.reporter.bar(stage.name, spark_probe(run.spark)):
            return _bring_up_to_date(stage, run, plan, retry)
    except BaseException:
        _sweep(stage, run, plan.old)  # readers that list rows/ see only the last result
        raise


@dataclass(frozen=True)
class _Rows:
    """Measured rows on disk. ``rows_in``: rows that entered; None if equal to the measured rows. ``files`` by role."""

    rows_in: int | None
    measured: int
    facts: Mapping[str, Any]
    files: dict[str, list[FileRecord]]


@dataclass(frozen=True)
class _Decided:
    """The result of applying the rules."""

    rows_in: int
    kept: int
    dropped: dict[str, int]
    keeps: KeptRows
    ledger: list[FileRecord]


def _bring_up_to_date(stage: Stage[Any], run: Run, plan: Plan, retry: bool) -> Manifest:
    begun = time.monotonic()
    plan_for(run.spark, _rows_seen(stage, run))
    reused = plan.rows_are_current and not retry
    rows = _stored(stage, plan.old) if reused and plan.old is not None else _measure(stage, run, plan)
    decided = _decide(stage, run, plan, rows)
    files = {**rows.files, "ledger": decided.ledger}
    manifest = Manifest(
        stage=stage.name,
        unit=stage.unit,
        off=run.is_off(stage.name),
        rows_in=decided.rows_in,
        kept=decided.kept,
        dropped=decided.dropped,
        measured=rows.measured,
        inputs=plan.inputs,
        looked_at=plan.looked_at,
        keeps=decided.keeps,
        measure_key=plan.measure_key,
        decide_key=plan.decide_key,
        input_fingerprint=plan.input_fingerprint,
        result=settings_key(plan.measure_key, [record.sha256 for record in rows.files["rows"]]),
        settings=plan.settings,
        contents=plan.contents,
        rules=[rule.describe(run.schema(stage.name)) for rule in plan.rules],
        facts=dict(rows.facts),
        seconds=round(time.monotonic() - begun, 3),
        files=files,
    )
    packed = stage.pack(run.context(stage.name, plan.measure_key), manifest)
    manifest = manifest.model_copy(update={"files": {**files, **packed}, "seconds": round(time.monotonic() - begun, 3)})
    publish(run.storage, manifest)
    _sweep(stage, run, manifest)
    plan_for(run.spark, None)
    _report(stage, run, manifest, _why(plan))
    return manifest


def _rows_seen(stage: Stage[Any], run: Run) -> int:
    """Rows of the largest table that the stage reads. One that makes its own rows says when it knows their number."""
    looks_at = LooksAt() if run.is_off(stage.name) else stage.looks_at(run.config_of(stage.name))
    tables = [run.manifest(name).files["rows"] for name in {*stage.reads, *looks_at.rows}]
    return max((sum(record.rows for record in files) for files in tables), default=0)


def _stored(stage: Stage[Any], old: Manifest) -> _Rows:
    """The rows of the last result, without the files that every decision writes again."""
    files = {role: records for role, records in old.files.items() if role not in stage_roles(stage)}
    return _Rows(old.rows_in, 0, old.facts, files)


def _decide(stage: Stage[Any], run: Run, plan: Plan, found: _Rows) -> _Decided:
    """Apply the rules, count and write the ledger. StageError if a row is not accounted for."""
    plan_for(run.spark, sum(record.rows for record in found.files["rows"]))
    rows = read_table(run.spark, run.storage, found.files["rows"], run.schema(stage.name))
    judged = verdict.with_verdict(rows, plan.rules, run.schema(stage.name))
    unit, keeps_key = stage.keeps
    tally = tallied(judged, stage.key, keeps_key, run.storage, f"{stage.name}/ledger")
    counts = dict(tally.weights)
    rows_in = sum(counts.values()) if found.rows_in is None else found.rows_in
    kept = counts.pop(None, 0)
    dropped = {str(reason): count for reason, count in sorted(counts.items(), key=lambda item: str(item[0]))}
    if rows_in != kept + sum(dropped.values()):
        text = f"{stage.name}: {rows_in} {stage.unit}s in, {kept} kept, {sum(dropped.values())} dropped"
        raise StageError(ErrorCode.LEDGER_MISMATCH, text)
    _refuse_too_many_errors(stage, dropped.get(CoreReason.RULE_ERROR.value, 0), rows_in)
    handed_on = kept if keeps_key == stage.key else tally.kept_stored
    keeps = KeptRows(stage=stage.name, unit=unit, rows=handed_on, digest=f"{tally.digest:016x}")
    return _Decided(rows_in, kept, dropped, keeps, tally.ledger)


def _refuse_too_many_errors(stage: Stage[Any], errors: int, rows_in: int) -> None:
    """A single row that raises is dropped; many mean a bug in pairmill or a library, and many missing rows."""
    if errors >= LEAST_ERRORS and errors > MOST_ERRORS_SHARE * rows_in:
        share = f"{errors:,} of {rows_in:,} {stage.unit}s (limit {MOST_ERRORS_SHARE:.0%})"
        what = f"{stage.name}: measuring raised on {share}"
        raise StageError(
            ErrorCode.TOO_MANY_ERRORS, f"{what}: a bug in pairmill or in a library; the last result is kept"
        )


def make_plan(stage: Stage[Any], run: Run) -> Plan:
    """Keys and fingerprints of what the stage would do now, from everything that it declares."""
    config = run.config_of(stage.name)
    rules = run.rules(stage.name)
    manifests = [run.manifest(source) for source in stage.reads]
    inputs = [manifest.keeps for manifest in manifests]
    read = [[kept.model_dump(), manifest.result] for kept, manifest in zip(inputs, manifests, strict=True)]
    off = run.is_off(stage.name)
    looks_at = LooksAt() if off else stage.looks_at(config)
    contents = {} if off else dict(stage.contents(config))
    old = _last_result(stage, run)
    further = [*_of_kind(config, contents, Kind.MEASURED_CONTENT).values(), *_borrowed(run, looks_at)]
    measure_key, measure_settings = _measure_key(stage, config, off, further, old)
    looked_at = [run.manifest(name).as_looked_at() for name in looks_at.rows]
    seen = _seen(run, looks_at) | _of_kind(config, contents, Kind.INPUT_CONTENT)
    return Plan(
        measure_key=measure_key,
        decide_key=settings_key([rule.describe(run.schema(stage.name)) for rule in rules]),
        inputs=inputs,
        looked_at=looked_at,
        input_fingerprint=settings_key(read, seen or ""),
        rules=rules,
        settings=measure_settings | settings_of(config, Kind.DECIDE),
        contents=contents,
        old=old,
    )


def _last_result(stage: Stage[Any], run: Run) -> Manifest | None:
    """The manifest of the last result, if all its files are there."""
    old = read_manifest(run.storage, stage.name)
    if old is None or all(run.storage.each(run.storage.intact, old.all_files)):
        return old
    run.reporter.line(f"{stage.name}: files of its last result are missing or changed; rerunning the stage")
    return None


def _measure_key(
    stage: Stage[Any], config: StageConfig, off: bool, further: list[str], old: Manifest | None
) -> tuple[str, dict[str, Any]]:
    """The key of what would be measured now, and the settings in it.

    A file that a setting names enters by path and by content. If only the path changed, the last result was measured
    with the same content, so its key is used again.
    """

    def key(settings: dict[str, Any]) -> str:
        return settings_key(stage.name, stage.measure_version, off, settings, further)

    settings = settings_of(config, Kind.MEASURE, Kind.MEASURED_CONTENT)
    before = old.settings if old is not None else {}
    names = settings_of(config, Kind.MEASURED_CONTENT)
    moved = settings | {name: before[name] for name, path in names.items() if path and before.get(name)}
    if old is not None and key(moved) == old.measure_key:
        return old.measure_key, moved
    return key(settings), settings


def _of_kind(config: StageConfig, contents: Mapping[str, str], kind: Kind) -> dict[str, str]:
    return {name: digest for name, digest in contents.items() if kind_of(type(config), name) is kind}


def _borrowed(run: Run, looks_at: LooksAt) -> list[str]:
    """Settings of other sections that measured values depend on: all that the stage sees, except Operate settings."""
    found = []
    for name in looks_at.settings:
        section, _, setting = name.partition(".")
        config = run.config_of(section)
        for field in [setting] if setting else sorted(type(config).model_fields):
            if kind_of(type(config), field) is not Kind.OPERATE:
                found.append(f"{field} {getattr(config, field)}")
    return found


def _seen(run: Run, looks_at: LooksAt) -> dict[str, Any]:
    """Parts of the input fingerprint other than the rows that are read; empty if the stage sees nothing else."""
    seen: dict[str, Any] = {f"rows {name}": run.manifest(name).as_looked_at().model_dump() for name in looks_at.rows}
    for name in looks_at.facts:
        stage, _, fact = name.partition(".")
        seen[f"fact {name}"] = run.manifest(stage).facts.get(fact)
    for name in looks_at.files:
        stage, _, role = name.partition(".")
        seen[f"files {name}"] = [record.sha256 for record in run.manifest(stage).files.get(role, [])]
    return seen


def stage_roles(stage: Stage[Any]) -> tuple[str, ...]:
    """Roles of files that every decision writes again."""
    return ("ledger", *stage.packs)


def _measure(stage: Stage[Any], run: Run, plan: Plan) -> _Rows:
    """Measure and write rows/."""
    if run.is_off(stage.name):
        found = Measured(_with_null_columns(stage, run), measured=0)
    else:
        found = stage.measure(run.context(stage.name, plan.measure_key))
    rows = write_table(found.rows, run.storage, f"{stage.name}/rows", run.schema(stage.name), found.through)
    for folder in found.scratch:
        run.storage.sweep(folder, set())
    measured = found.measured
    if measured is None:
        measured = _newly_measured(stage, run, plan, rows)
    rows_in = found.rows_in
    if rows_in is None and not stage.fans_out:
        rows_in = plan.inputs[0].rows
    return _Rows(rows_in, measured, found.facts, {"rows": rows, **found.files})


def _with_null_columns(stage: Stage[Any], run: Run) -> DataFrame:
    """The rows of a stage that is off: the rows that entered, with its own columns null."""
    if not stage.reads:
        return read_table(run.spark, run.storage, [], run.schema(stage.name))
    rows = run.kept(stage.reads[0])
    types = {
        field.name: field.dataType for field in read_table(run.spark, run.storage, [], run.schema(stage.name)).schema
    }
    missing = {name: F.lit(None).cast(types[name]) for name in stage.adds.names if name not in rows.columns}
    return rows.withColumns(missing)


def _newly_measured(stage: Stage[Any], run: Run, plan: Plan, rows: list[FileRecord]) -> int:
    """Number of rows whose key is not in the last result under the same measure key."""
    if plan.old is None or plan.old.measure_key != plan.measure_key:
        return sum(record.rows for record in rows)
    schema = run.schema(stage.name)
    before = read_table(run.spark, run.storage, plan.old.files["rows"], schema).select(stage.key)
    return read_table(run.spark, run.storage, rows, schema).join(before, stage.key, "left_anti").count()


def _keep_result(stage: Stage[Any], run: Run, old: Manifest) -> Manifest:
    """The last result is up to date. The manifest then says that the newest build measured nothing."""
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
    """What changed since the last result, as text; empty for a first result."""
    old = plan.old
    if old is None:
        return ""
    changed = [
        f"{name} {old.settings.get(name)} → {value}"
        for name, value in plan.settings.items()
        if old.settings.get(name) != value
    ]
    changed += [
        f"{name} has other content"
        for name, digest in plan.contents.items()
        if old.contents.get(name, digest) != digest
    ]
    what = (
        "decided again"
        if plan.rows_are_current
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
    """Delete files of rows/ and ledger/ that do not count: of an old result, of lost or killed attempts."""
    keep = {record.path for record in manifest.all_files} if manifest is not None else set()
    for role in ("rows", "ledger"):
        run.storage.sweep(f"{stage.name}/{role}", keep)
