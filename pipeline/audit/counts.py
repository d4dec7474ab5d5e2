"""The funnel: what entered each stage, what it kept, what it dropped and why. Reads only manifests, without Spark.

A stage is counted in its own unit (pages, candidates, images, pairs). It may hand on another unit: `text` judges
candidates and keeps pairs. Every row is accounted for when three conditions are true: ``rows_in == kept + Σ dropped``
in each stage; every reader of a stage read what that stage kept, by count and by digest of the keys; and every
reason is in the stage's closed set. A condition that is false is a `Finding`, never a silent "other".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pipeline.audit.masking import shown
from pipeline.core.errors import ErrorCode, InputError, StageError
from pipeline.core.manifest import Manifest, read_manifest
from pipeline.core.run import Run
from pipeline.core.stage import Stage


class FindingCode(StrEnum):
    """What a finding is about; the error of a finding has the code of that name."""

    LEDGER_MISMATCH = "ledger_mismatch"  # numbers, files or verdicts that do not agree
    LEDGER_INVALID = "ledger_invalid"  # a reason that is not in the stage's set, or not exactly one per row


@dataclass(frozen=True)
class Finding:
    """Something that does not add up. ``text`` is one line with the numbers."""

    code: FindingCode
    stage: str
    text: str

    @classmethod
    def mismatch(cls, stage: str, text: str) -> Finding:
        """Numbers, files or verdicts that do not agree."""
        return cls(FindingCode.LEDGER_MISMATCH, stage, text)

    @classmethod
    def invalid(cls, stage: str, text: str) -> Finding:
        """A reason that is not in the stage's set, or not exactly one per row."""
        return cls(FindingCode.LEDGER_INVALID, stage, text)

    def error(self) -> StageError:
        """The error that a command ends with."""
        return StageError(ErrorCode(self.code), self.text)

    def __str__(self) -> str:
        return f"{self.code}: {self.stage}: {self.text}"


@dataclass(frozen=True)
class StageCount:
    """One stage of the funnel, in its own unit. ``handed_on`` is counted in ``keeps_unit``."""

    stage: str
    unit: str
    keeps_unit: str
    rows_in: int
    kept: int
    handed_on: int
    dropped: tuple[tuple[str, int], ...]  # (reason, rows), most rows first
    measured: int
    seconds: float
    off: bool

    @property
    def rows_dropped(self) -> int:
        return sum(rows for _, rows in self.dropped)

    @property
    def kept_share(self) -> float | None:
        """0..1; None if nothing entered."""
        return self.kept / self.rows_in if self.rows_in else None

    @property
    def rows_per_s(self) -> float | None:
        return self.rows_in / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True)
class Incomplete:
    """A stage without a result."""

    stage: str
    half_done: bool  # parts are committed, the stage is not

    def __str__(self) -> str:
        return f"{self.stage} is half done" if self.half_done else f"{self.stage} has not run"


@dataclass(frozen=True)
class Funnel:
    """The stages that have run, in order; those that have not; and what does not add up."""

    stages: tuple[StageCount, ...]
    incomplete: tuple[Incomplete, ...]
    broken: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """One line: whether every row is accounted for."""
        if self.broken:
            more = f" (and {len(self.broken) - 1} more)" if len(self.broken) > 1 else ""
            return f"BROKEN: {self.broken[0]}{more}"
        missing = "; ".join(str(stage) for stage in self.incomplete)
        return f"incomplete: {missing}; so far every row is accounted for" if missing else "every row is accounted for"


def published(run: Run) -> dict[str, Manifest]:
    """The existing manifests by stage, in funnel order.

    InputError `input_missing` if no stage has one, `input_unreadable` if one is not a manifest.
    """
    found = {name: read_manifest(run.storage, name) for name in run.stages}
    manifests = {name: manifest for name, manifest in found.items() if manifest is not None}
    if not manifests:
        raise InputError(
            ErrorCode.INPUT_MISSING,
            f"no stage has run in {run.storage.root}; run pairmill build first, or name another --run",
        )
    return manifests


def funnel_table(run: Run) -> Funnel:
    """The funnel according to the manifests. Raises what `published` raises."""
    manifests = published(run)
    return Funnel(
        stages=tuple(_count_of(manifest) for manifest in manifests.values()),
        incomplete=tuple(
            Incomplete(name, bool(run.storage.names(f"{name}/parts"))) for name in run.stages if name not in manifests
        ),
        broken=tuple(
            finding
            for name, manifest in manifests.items()
            for finding in _findings(run, run.stages[name], manifest, manifests)
        ),
    )


def as_json(funnel: Funnel, findings: Sequence[Finding] = ()) -> dict[str, Any]:
    """The funnel and further ``findings`` as plain values, counts under paths (``text/dropped/text_too_short``)."""
    counts: dict[str, int] = {}
    for stage in funnel.stages:
        counts |= {f"{stage.stage}/in": stage.rows_in, f"{stage.stage}/kept": stage.kept}
        counts |= {f"{stage.stage}/handed_on": stage.handed_on, f"{stage.stage}/measured": stage.measured}
        counts |= {f"{stage.stage}/dropped/{reason}": rows for reason, rows in stage.dropped}
    whole = replace(funnel, broken=tuple(dict.fromkeys((*funnel.broken, *findings))))
    return {
        "verdict": shown(whole.verdict),
        "findings": [{"code": str(f.code), "stage": f.stage, "text": shown(f.text)} for f in whole.broken],
        "incomplete": [stage.stage for stage in funnel.incomplete],
        "units": {stage.stage: [stage.unit, stage.keeps_unit] for stage in funnel.stages},
        "seconds": {stage.stage: stage.seconds for stage in funnel.stages},
        "counts": counts,
    }


def closed_set(run: Run, stage: str) -> set[str]:
    """The reasons a row of the stage may have under this config: the stage's, the core's and the user's own."""
    users = [f"user:{rule.name}" for rule in run.config.rules if rule.stage == stage]
    return {*run.stages[stage].reasons, *users}


def _count_of(manifest: Manifest) -> StageCount:
    dropped = sorted(manifest.dropped.items(), key=lambda item: (-item[1], item[0]))
    return StageCount(
        stage=manifest.stage,
        unit=manifest.unit,
        keeps_unit=manifest.keeps.unit,
        rows_in=manifest.rows_in,
        kept=manifest.kept,
        handed_on=manifest.keeps.rows,
        dropped=tuple(dropped),
        measured=manifest.measured,
        seconds=manifest.seconds,
        off=manifest.off,
    )


def _findings(run: Run, stage: Stage[Any], manifest: Manifest, manifests: dict[str, Manifest]) -> Iterator[Finding]:
    """Contradictions between one manifest and itself, its sources or its closed set."""
    name, unit = stage.name, stage.unit
    dropped = sum(manifest.dropped.values())
    if manifest.rows_in != manifest.kept + dropped:
        yield Finding.mismatch(name, f"{manifest.rows_in:,} {unit}s in, {manifest.kept:,} kept, {dropped:,} dropped")
    if stage.keeps[1] == stage.key and manifest.keeps.rows != manifest.kept:
        yield Finding.mismatch(name, f"{manifest.kept:,} {unit}s kept, {manifest.keeps.rows:,} handed on")
    for read in manifest.inputs:
        source = manifests.get(read.stage)
        if source is not None and source.keeps != read:
            text = (
                f"read {read.rows:,} {read.unit}s of {read.stage} (digest {read.digest}), which keeps "
                f"{source.keeps.rows:,} (digest {source.keeps.digest}); pairmill build brings it up to date"
            )
            yield Finding.mismatch(name, text)
    yield from _looked_at_others(run, stage, manifest, manifests)
    first = manifest.inputs[0] if manifest.inputs else None
    if first is not None and not stage.fans_out and first.unit == unit and first.rows != manifest.rows_in:
        yield Finding.mismatch(name, f"{first.rows:,} {unit}s read of {first.stage}, {manifest.rows_in:,} counted in")
    for reason in sorted(set(manifest.dropped) - closed_set(run, name)):
        yield Finding.invalid(
            name, f"{manifest.dropped[reason]:,} rows have {reason!r}, which is not a reason of this stage"
        )


def _looked_at_others(
    run: Run, stage: Stage[Any], manifest: Manifest, manifests: dict[str, Manifest]
) -> Iterator[Finding]:
    """Compare the rows and verdicts that a stage read from others with the present ones."""
    wanted = () if manifest.off else stage.looks_at(run.config_of(stage.name)).rows
    seen = {looked.stage: looked for looked in manifest.looked_at}
    for name in wanted:
        source = manifests.get(name)
        if source is not None and seen.get(name) != source.as_looked_at():
            what = (
                f"rows or verdicts of {name} changed after this stage read them"
                if name in seen
                else f"the version of {name} that this stage read is not recorded (result of an older pairmill)"
            )
            text = f"{what}; pairmill build brings it up to date"
            yield Finding.mismatch(stage.name, text)
