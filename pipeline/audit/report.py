"""The audit report: one HTML page that opens offline, and the same numbers for machines.

    RUN/audit/report.html             the page: no script, no link, nothing loaded (its content policy says so)
    RUN/audit/stats.json              counts under paths: <stage>/kept, <stage>/dropped/<reason>
    RUN/audit/tables/*.parquet        funnel and reasons; balance, if a cap on queries is set

Every text on the page goes through `masking.shown` and is then escaped, so the template cannot forget either. The page
does not depend on clock, host or order of tasks: the same ledgers give the same bytes. Each file is replaced in one
step, the page last, so the old page exists until the new one is complete.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
from markupsafe import Markup

from pipeline.audit.corpus import Kept, kept_samples
from pipeline.audit.counts import Finding, Funnel, StageCount, as_json, closed_set, published
from pipeline.audit.ledgers import ReasonCount, ledger_findings, reasons_of, require_tables
from pipeline.audit.masking import shown
from pipeline.audit.query_spread import Balance, balance_of
from pipeline.core.config_files import dump_yaml
from pipeline.core.errors import ErrorCode, InputError, StageError
from pipeline.core.manifest import Manifest
from pipeline.core.run import Run
from schemas.audit import BALANCE, FUNNEL, REASONS

FOLDER = "audit"
SAMPLES_PER_REASON = 10
KEPT_SAMPLES = 24
DROP_SHADES = 4  # reasons with their own segment of the bar; the rest of the bar is "n more"


@dataclass(frozen=True)
class Reason:
    """A row of a stage's table of reasons."""

    counted: ReasonCount
    share: float
    known: bool
    threshold: str | None

    @property
    def code(self) -> str:
        return self.counted.reason if self.counted.reason is not None else "(no reason)"


@dataclass(frozen=True)
class Section:
    """One stage of the page."""

    count: StageCount
    reasons: tuple[Reason, ...]
    manifest: Manifest
    balance: Balance | None


@dataclass(frozen=True)
class Segment:
    """A piece of a bar, in percent of the width of its chart."""

    label: str
    rows: int
    width: float
    shade: str


@dataclass(frozen=True)
class Bar:
    """One stage in the chart of its unit."""

    count: StageCount
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Chart:
    """Consecutive stages with the same unit, drawn to one scale: the full width is ``full`` rows."""

    unit: str
    full: int
    bars: tuple[Bar, ...]


def write_report(run: Run, funnel: Funnel, findings: Sequence[Finding] = ()) -> str:
    """Write the report of a run, with what `check` found; returns the location of the page.

    Raises InputError `input_missing` or `input_unreadable`, and writes nothing, if a ledger cannot be counted
    (unless ``findings`` already report it as broken: then it is left out). If the ledgers contradict the manifests in
    a way that ``findings`` do not report, the report is written and marked BROKEN; then StageError is raised.
    """
    manifests = published(run)
    require_tables(run, manifests)
    known = (*funnel.broken, *findings)
    counted = {name: _counted(run, manifest, known) for name, manifest in manifests.items()}
    found = tuple(
        finding
        for name, manifest in manifests.items()
        for finding in ledger_findings(run, manifest, {reason.reason: reason.rows for reason in counted[name]})
    )
    whole = replace(funnel, broken=tuple(dict.fromkeys((*known, *found))))
    sections = [_section(run, count, counted[count.stage], manifests[count.stage], known) for count in whole.stages]
    page = _render(run, whole, sections, _kept(run, known))
    tables = {"funnel": (FUNNEL, _funnel_rows(whole)), "reasons": (REASONS, _reason_rows(sections))}
    for balance in (section.balance for section in sections if section.balance):
        tables["balance"] = (BALANCE, [vars(decade) for decade in balance.decades])
    for name, (schema, rows) in tables.items():
        run.storage.replace(f"{FOLDER}/tables/{name}.parquet", _parquet(schema, rows))
    run.storage.replace(f"{FOLDER}/stats.json", _stats(whole))
    run.storage.replace(f"{FOLDER}/report.html", page.encode())
    if found and not known:
        raise StageError(ErrorCode(found[0].code), f"{found[0].stage}: {found[0].text}; see {FOLDER}/report.html")
    return run.storage.where(f"{FOLDER}/report.html")


def _counted(run: Run, manifest: Manifest, known: Sequence[Finding]) -> list[ReasonCount]:
    try:
        return reasons_of(run, manifest, SAMPLES_PER_REASON)
    except InputError:
        if not any(finding.stage == manifest.stage for finding in known):
            raise
        return [ReasonCount(reason, rows, None, None, ()) for reason, rows in sorted(manifest.dropped.items())]


def _kept(run: Run, known: Sequence[Finding]) -> list[Kept]:
    try:
        return kept_samples(run, KEPT_SAMPLES)
    except InputError:
        if not known:
            raise
        return []


def _section(
    run: Run, count: StageCount, counted: Sequence[ReasonCount], manifest: Manifest, findings: Sequence[Finding]
) -> Section:
    known = closed_set(run, count.stage)
    thresholds = {rule["reason"]: rule["threshold"] for rule in manifest.rules}
    reasons = tuple(
        Reason(
            reason,
            reason.rows / count.rows_in if count.rows_in else 0.0,
            reason.reason in known,
            thresholds.get(reason.reason),
        )
        for reason in counted
    )
    return Section(count, reasons, manifest, _balance(run, manifest, findings))


def _balance(run: Run, manifest: Manifest, known: Sequence[Finding]) -> Balance | None:
    try:
        return balance_of(run, manifest)
    except InputError:
        if not known:
            raise
        return None


def charts(stages: Sequence[StageCount]) -> list[Chart]:
    """The funnel as bars: one chart per group of stages with one unit. A stage that is off and empty has no bar."""
    found = []
    drawn = [count for count in stages if count.rows_in or not count.off]
    for unit, members in groupby(drawn, key=lambda count: count.unit):
        counts = list(members)
        full = max(count.rows_in for count in counts)
        found.append(Chart(unit, full, tuple(Bar(count, _segments(count, full)) for count in counts)))
    return found


def _segments(count: StageCount, full: int) -> tuple[Segment, ...]:
    apart, rest = count.dropped[:DROP_SHADES], count.dropped[DROP_SHADES:]
    pieces = [("kept", count.kept, "kept")]
    pieces += [(reason, rows, f"drop{place}") for place, (reason, rows) in enumerate(apart)]
    if rest:
        pieces.append((f"{len(rest)} more reasons", sum(rows for _, rows in rest), "rest"))
    return tuple(
        Segment(label, rows, round(100 * rows / full, 3), shade) for label, rows, shade in pieces if rows and full
    )


def _render(run: Run, funnel: Funnel, sections: Sequence[Section], kept: Sequence[Kept]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.audit"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: shown(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "number": _number, "data_uri": Markup}
    return environment.get_template("report.html").render(
        name=Path(run.storage.root).name,
        funnel=funnel,
        status="broken" if funnel.broken else "incomplete" if funnel.incomplete else "whole",
        charts=charts(funnel.stages),
        sections=sections,
        kept=kept,
        settings=dump_yaml(run.config).splitlines(),
    )


def _share(share: float | None) -> str:
    """A share for people: 0 % only for none, 100 % only for all."""
    if share is None:
        return "–"
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def _number(value: float) -> str:
    """A number for people: thousands separated; a fraction has four significant digits."""
    return f"{int(value):,}" if value == int(value) else f"{value:.4g}"


def _stats(funnel: Funnel) -> bytes:
    return (json.dumps(as_json(funnel), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _funnel_rows(funnel: Funnel) -> list[Mapping[str, Any]]:
    return [
        {
            "stage": count.stage,
            "unit": count.unit,
            "rows_in": count.rows_in,
            "kept": count.kept,
            "dropped": count.rows_dropped,
            "keeps_unit": count.keeps_unit,
            "handed_on": count.handed_on,
            "measured": count.measured,
            "seconds": count.seconds,
            "off": count.off,
        }
        for count in funnel.stages
    ]


def _reason_rows(sections: Sequence[Section]) -> list[Mapping[str, Any]]:
    return [
        {
            "stage": section.count.stage,
            "unit": section.count.unit,
            "reason": reason.counted.reason,
            "rows": reason.counted.rows,
            "share": reason.share,
            "known": reason.known,
            "lowest": reason.counted.lowest,
            "highest": reason.counted.highest,
            "threshold": reason.threshold,
        }
        for section in sections
        for reason in section.reasons
    ]


def _parquet(schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), stream, compression="zstd")
    return stream.getvalue()
