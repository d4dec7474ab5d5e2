"""The funnel and the answer of `why` on a terminal, from 80 columns up. The last line is the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.audit.counts import Funnel, StageCount
from pipeline.audit.fate import Station, Why
from pipeline.audit.masking import shown
from pipeline.core.visible import visible

COLUMNS = ("stage", "unit", "in", "kept", "kept %", "dropped", "s", "top reasons")
TOP_REASONS = 4


def print_funnel(funnel: Funnel, console: Console) -> None:
    """One line per stage, and a second one if it hands on another unit; as many reasons as the width allows."""
    rows = [line for stage in funnel.stages for line in _lines(stage)]
    rows += [
        (missing.stage, "half done" if missing.half_done else "not run", *[""] * 6) for missing in funnel.incomplete
    ]
    widths = [max(len(row[place]) for row in (COLUMNS, *rows)) for place in range(len(COLUMNS) - 1)]
    room = max(len(COLUMNS[-1]), console.width - sum(widths) - len(widths))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for place, heading in enumerate(COLUMNS):
        table.add_column(heading, justify="right" if 2 <= place <= 6 else "left", no_wrap=True)
    for *cells, reasons in rows:
        table.add_row(*map(_text, cells), _text(reasons if len(reasons) <= room else f"{reasons[: room - 1]}…", "dim"))
    console.print(table)
    for finding in funnel.broken:
        console.print(_text(str(finding), "red"), soft_wrap=True)
    style = "bold red" if funnel.broken else "bold yellow" if funnel.incomplete else "bold green"
    console.print(_text(funnel.verdict, style), soft_wrap=True)


def print_why(why: Why, console: Console) -> None:
    """What happened to one thing, stage by stage, and the answer."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for station in why.stations:
        table.add_row(_text(station.stage), _text(station.key), _text(_fate(station), "red" if station.reason else ""))
        for tried in station.tried:
            table.add_row("", "", _text(f"before: {tried}", "dim"))
    for stage in why.not_run if why.stations else ():
        table.add_row(_text(stage), Text("has not run", "dim"))
    if why.stations:
        console.print(table)
    console.print(_text(why.answer, "bold"), soft_wrap=True)


def _text(text: str, style: str = "") -> Text:
    return Text(visible(shown(text)), style)


def _lines(stage: StageCount) -> Iterator[tuple[str, ...]]:
    share = "" if stage.kept_share is None else f"{stage.kept_share:.1%}"
    reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in stage.dropped[:TOP_REASONS] if rows)
    numbers = (f"{stage.rows_in:,}", f"{stage.kept:,}", share, f"{stage.rows_dropped:,}", f"{stage.seconds:,.1f}")
    yield stage.stage, stage.unit, *numbers, "off" if stage.off else reasons
    if stage.keeps_unit != stage.unit:
        yield "", f"→ {stage.keeps_unit}", "", f"{stage.handed_on:,}", "", "", "", ""


def _fate(station: Station) -> str:
    if station.reason is None:
        parts = ["kept"]
    elif station.threshold is not None:
        parts = [f"{station.full_name} ({station.value}, threshold {station.threshold})"]
    else:
        parts = [f"{station.full_name}{f' ({station.value})' if station.value not in (None, station.reason) else ''}"]
    if station.detail not in (None, station.value):
        parts.append(f": {station.detail}")
    if station.at is not None:
        parts.append(f", {station.at}")
    return "".join(parts)
