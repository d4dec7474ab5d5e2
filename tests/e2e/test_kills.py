"""kill -9 costs time and nothing else: of the driver in the middle of every stage, of its Python workers.

One run loses its workers and then its driver in fetch. The others are long: a chain kills the driver of one run in each
stage; a matrix kills each stage at two moments, each in a run of its own, and prints what it cost.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline import audit

# Small parts, so that there is a middle. None of it changes a byte of the corpus.
SMALL_PARTS = {"fetch.part_images": 10, "fetch.lanes": 2, "crawl.lanes": 2}
WORK_BEGUN, ROWS_WRITTEN = "work begun", "rows written"
STAGES = ("crawl", "extract", "text", "fetch", "dedup", "attach", "clip", "select", "export")
# What a stage leaves first; the others leave nothing before their rows.
FIRST_FILES = {
    "crawl": "parts/*.json",
    "extract": "parts/*.json",
    "fetch": "parts/*.json",
    "dedup": "edges/*.parquet",
    "clip": "parts/*.json",
    "export": "parts/*.json",
}
# One kill a stage: early in some, late in others.
CHAIN = {
    "crawl": WORK_BEGUN,
    "extract": WORK_BEGUN,
    "text": ROWS_WRITTEN,
    "fetch": WORK_BEGUN,
    "dedup": WORK_BEGUN,
    "attach": ROWS_WRITTEN,
    "clip": WORK_BEGUN,
    "select": ROWS_WRITTEN,
    "export": WORK_BEGUN,
}


def reached(building, run, stage: str, moment: str) -> bool:
    """Whether a build is at that moment of the stage, or a little later."""
    if moment == WORK_BEGUN:
        if stage in FIRST_FILES:
            return any((run.folder / stage).glob(FIRST_FILES[stage]))
        return building.has_ended(STAGES[STAGES.index(stage) - 1]) and building.python_workers()
    if stage == "export":  # its rows are of the verification; then it packs, and swaps the corpus in
        return (run.folder / "corpus.next").exists() or (run.folder / "corpus").exists()
    return run.has_rows(stage)


def kill_in(building, run, stage: str, moment: str) -> None:
    building.wait_for(lambda: reached(building, run, stage, moment))
    building.kill()
    assert not run.has_result(stage), f"{stage} was over before it could be killed"


def urls(requests: list[tuple[str, str]]) -> set[str]:
    return {f"http://{host}{path}" for host, path in requests}


def kill_workers(building) -> None:
    """As the OOM killer takes them, all at once."""
    for worker in building.python_workers():
        os.kill(worker, signal.SIGKILL)


def test_workers_and_then_a_driver_killed_in_fetch_cost_time_only_r8_r9_r10(
    start, copied, on_disk, folder, small_web, digests, build
) -> None:
    """R10: the workers' tasks go on. R9: what is committed is kept and not asked for again, nothing half-written shows.
    R8: no lock stays in the way, of a build in another process."""
    run = on_disk(copied("text"))
    building = start(run.folder, SMALL_PARTS)
    building.wait_for(lambda: run.parts("fetch"))
    answered, before = run.answered("fetch"), len(small_web.requests())
    kill_workers(building)
    building.wait_for(lambda: len(run.answered("fetch")) > len(answered))
    building.kill()
    assert not run.has_rows("fetch"), "fetch was over before it could be killed"
    run.assert_whole()
    assert answered
    assert not answered & urls(small_web.requests()[before:])
    answered, before = run.answered("fetch"), len(small_web.requests())
    finished, _ = build(run.folder, SMALL_PARTS)
    assert not answered & urls(small_web.requests()[before:])
    assert digests(run.folder) == digests(folder)
    assert audit.check(finished) == []


@pytest.mark.long
def test_a_driver_killed_once_in_every_stage_costs_time_only_r8_r9(
    start, on_disk, folder, small_web, tmp_path, digests, build
) -> None:
    """R9: what is committed is kept, nothing half-written shows, no stored image is asked for again. R8: no lock stays
    in the way."""
    run = on_disk(tmp_path / "run")
    answered: set[str] = set()
    for stage, moment in CHAIN.items():
        before = len(small_web.requests())
        first = not run.folder.exists()
        building = start(run.folder, SMALL_PARTS)
        kill_in(building, run, stage, moment)
        run.assert_whole()
        assert ("taking over the lock" in building.said()) != first
        assert not answered & urls(small_web.requests()[before:])
        answered = run.answered("fetch")
    assert answered
    before = len(small_web.requests())
    last = start(run.folder, SMALL_PARTS)
    last.finish()
    assert "taking over the lock" in last.said()
    assert small_web.requests()[before:] == []
    assert digests(run.folder) == digests(folder)
    again, manifests = build(run.folder)
    assert {manifest.measured for manifest in manifests.values()} == {0}
    assert audit.check(again) == []


@pytest.mark.long
def test_killed_workers_cost_time_only_r10(start, copied, on_disk, folder, small_web, digests) -> None:
    """R10: in the middle of extract, and again of fetch."""
    run = on_disk(copied("crawl"))
    building = start(run.folder, SMALL_PARTS)
    for stage in ("extract", "fetch"):
        building.wait_for(lambda: run.parts(stage))  # noqa: B023
        answered, before = run.answered("fetch"), len(small_web.requests())
        kill_workers(building)
        assert not run.has_rows(stage), f"{stage} was over before its workers could be killed"
    building.finish()
    assert answered
    assert not answered & urls(small_web.requests()[before:])
    assert digests(run.folder) == digests(folder)


@dataclass(frozen=True)
class Cost:
    """What one kill cost."""

    stage: str
    moment: str
    seconds: float  # beyond an undisturbed build from the same start; a start of Python and Spark is among them
    requests_repeated: int  # URLs asked for before the kill and after it


@pytest.fixture(scope="module")
def costs(request: pytest.FixtureRequest) -> Iterator[list[Cost]]:
    """The rows of the matrix, written to the terminal as a Markdown table when all are there."""
    rows: list[Cost] = []
    yield rows
    terminal = request.config.get_terminal_writer()
    terminal.line("\n| stage | killed when | seconds lost | requests repeated |\n| --- | --- | --- | --- |")
    for row in rows:
        terminal.line(f"| {row.stage} | {row.moment} | {row.seconds:.1f} | {row.requests_repeated} |")


@pytest.fixture
def start_of(copied, tmp_path: Path) -> Callable[[str, str], Path]:
    """A run whose next stage is the given one."""

    def run_before(stage: str, name: str) -> Path:
        place = STAGES.index(stage)
        return copied(STAGES[place - 1], name) if place else tmp_path / name

    return run_before


@pytest.mark.long
@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_at_either_end_of_a_stage_costs_time_only_r9(
    start, start_of, on_disk, folder, small_web, digests, costs, stage
) -> None:
    """R9. Each kill is followed by a build to the end."""
    undisturbed_s = start(start_of(stage, "undisturbed"), SMALL_PARTS).finish()
    for moment in (WORK_BEGUN, ROWS_WRITTEN):
        run = on_disk(start_of(stage, moment.replace(" ", "_")))
        begun = len(small_web.requests())
        building = start(run.folder, SMALL_PARTS)
        kill_in(building, run, stage, moment)
        lost_s = time.monotonic() - building.begun_s
        run.assert_whole()
        answered = run.answered("fetch")
        killed = len(small_web.requests())
        lost_s += start(run.folder, SMALL_PARTS).finish()
        before, after = (urls(part) for part in (small_web.requests()[begun:killed], small_web.requests()[killed:]))
        assert not answered & after
        assert digests(run.folder) == digests(folder)
        costs.append(Cost(stage, moment, lost_s - undisturbed_s, len(before & after)))
