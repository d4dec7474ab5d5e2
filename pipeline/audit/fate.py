"""`why`: what happened to one page, candidate, pair, image or URL, up to its place in the corpus.

An identifier selects rows, and these select related rows: a page its candidates, a candidate its pair, a pair its
image, an image its pairs. Then each stage is searched by its own key: its rows/ show what it saw, its ledger/ what
it dropped (`check` proves that the two agree). Reads Parquet in place, without Spark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.audit.corpus import corpus_shards
from pipeline.audit.counts import published
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.ids import key_of
from pipeline.core.manifest import Manifest
from pipeline.core.run import Run
from pipeline.core.storage import FileRecord
from pipeline.core.tables import scan
from pipeline.stages.extract.candidates import URN_SHA256
from pipeline.web.urls import UrlError, url_id
from schemas.export import CORPUS
from schemas.ledger import LEDGER

ID_COLUMNS = ("page_id", "candidate_id", "pair_id", "url_id", "sha256")
TIME_COLUMN, TRIED_COLUMN = "fetched_at", "tried"
MAX_ROWS = 1_000  # rows followed per stage: for a page or image with more, the answer covers these

_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Station:
    """What one stage decided about one row. ``reason`` is None for a kept row."""

    stage: str
    unit: str
    key: str
    reason: str | None = None
    value: str | None = None
    threshold: str | None = None
    detail: str | None = None
    at: str | None = None  # when it was fetched (UTC, ISO 8601), if the stage fetches
    tried: tuple[str, ...] = ()  # what came of tries before, if it fetches: when, reason, detail

    @property
    def full_name(self) -> str:
        return f"{self.stage}/dropped/{self.reason}" if self.reason else f"{self.stage}/kept"


@dataclass(frozen=True)
class Sample:
    """A place in the corpus."""

    shard: str
    key: str


@dataclass(frozen=True)
class Why:
    """The way of one key through the stages, in funnel order, and its place in the corpus."""

    asked: str
    stations: tuple[Station, ...]
    samples: tuple[Sample, ...]
    not_run: tuple[str, ...]

    @property
    def answer(self) -> str:
        """One line: kept (with shard and key), dropped (with the last reason), or not seen."""
        if not self.stations:
            return f"{self.asked}: no stage of this run has seen it"
        if self.samples:
            first = self.samples[0]
            more = f" (and {len(self.samples) - 1} more)" if len(self.samples) > 1 else ""
            return f"kept: in the corpus as corpus/{first.shard}.tar, key {first.key}{more}"
        last = next((station for station in reversed(self.stations) if station.reason), None)
        if last is not None:
            return f"dropped: {last.full_name}{f' ({last.detail})' if last.detail else ''}"
        return (
            f"kept so far; {self.not_run[0]} has not run"
            if self.not_run
            else "kept by every stage that saw it; not in the corpus"
        )


def why(run: Run, key: str) -> Why:
    """What happened to ``key``: a pair_id, url_id, candidate_id, page_id, sha256, or the URL of a page or image.

    An unknown key gives an answer without stations. Raises what `published` raises.
    """
    manifests = published(run)
    named = _identifier(key)
    kin = _kin(run, manifests, named) if named is not None else {}
    stations = [station for name, manifest in manifests.items() for station in _stations(run, name, manifest, kin)]
    return Why(
        asked=key,
        stations=tuple(stations),
        samples=tuple(_samples(run, kin.get("pair_id", set()))),
        not_run=tuple(name for name in run.stages if name not in manifests),
    )


def _identifier(text: str) -> str | None:
    """``text`` itself if it is an id, else the id of the URL or URN; None if it cannot have one."""
    text = text.strip()
    if _ID.fullmatch(text.lower()):
        return text.lower()
    if text.startswith(URN_SHA256):
        return key_of(text)
    try:
        return url_id(text)
    except UrlError:
        return None


def _kin(run: Run, manifests: Mapping[str, Manifest], named: str) -> dict[str, set[str]]:
    """Every id in the same row as the requested id, by column. A sha256 first leads to the URLs of the image."""
    kin = _beside(run, manifests, {column: {named} for column in ID_COLUMNS})
    if named in kin.get("sha256", set()):
        kin = _beside(run, manifests, {"url_id": kin["url_id"]})
    return kin


def _beside(run: Run, manifests: Mapping[str, Manifest], ids: Mapping[str, set[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, manifest in manifests.items():
        schema = run.schema(name)
        columns = [column for column in ID_COLUMNS if column in schema.names]
        for row in _rows(run, manifest.files["rows"], schema, columns, ids):
            for column in columns:
                if row[column] is not None:
                    found.setdefault(column, set()).add(row[column])
    return found


def _stations(run: Run, name: str, manifest: Manifest, kin: Mapping[str, set[str]]) -> Iterator[Station]:
    """What one stage decided about the related rows."""
    stage, schema = run.stages[name], run.schema(name)
    keys = kin.get(stage.key, set())
    columns = [stage.key, *(name for name in (TIME_COLUMN, TRIED_COLUMN) if name in schema.names)]
    seen = {row[stage.key]: row for row in _rows(run, manifest.files["rows"], schema, columns, {stage.key: keys})}
    dropped = {
        row["key"]: row for row in _rows(run, manifest.files["ledger"], LEDGER, LEDGER.names, {"key": set(seen)})
    }
    for key in sorted(seen):
        verdict = dropped.get(key, {})
        yield Station(
            name,
            stage.unit,
            key,
            verdict.get("reason"),
            verdict.get("value"),
            verdict.get("threshold"),
            verdict.get("detail"),
            seen[key].get(TIME_COLUMN),
            tuple(seen[key].get(TRIED_COLUMN) or ()),
        )


def _samples(run: Run, pair_ids: set[str]) -> Iterator[Sample]:
    """Where these pairs are in the corpus: the manifest gives the possible shards, their Parquet the actual ones."""
    for shard in corpus_shards(run):
        within = {key for key in pair_ids if shard.holds(key)}
        for row in _rows(run, [shard.record("parquet")], CORPUS, ["key"], {"key": within}):
            yield Sample(shard.name, str(row["key"]))


def _rows(
    run: Run, files: list[FileRecord], schema: pa.Schema, columns: list[str], ids: Mapping[str, set[str]]
) -> list[dict[str, Any]]:
    """The rows where a column has one of its ids; at most `MAX_ROWS`."""
    wanted = [
        pc.field(column).isin(sorted(values)) for column, values in ids.items() if values and column in schema.names
    ]
    filled = [file.path for file in files if file.rows]
    if not wanted or not filled:
        return []
    anyone = wanted[0]
    for condition in wanted[1:]:
        anyone = anyone | condition

    def found(path: str) -> pa.Table:
        with run.storage.open(path) as stream:
            return scan(stream, schema, columns, anyone).head(MAX_ROWS)

    try:
        rows: list[dict[str, Any]] = pa.concat_tables(run.storage.each(found, filled)).slice(0, MAX_ROWS).to_pylist()
    except FileNotFoundError as error:
        raise InputError(ErrorCode.INPUT_MISSING, f"a file that a manifest lists is missing: {error}") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"{files[0].path}: {error}; run pairmill audit --check") from error
    return rows
