"""Ctrl-C and SIGTERM: one line, the exit code of the signal, no process left, and the same command goes on."""

from __future__ import annotations

import os
import signal
import time

import pytest

SMALL_PARTS = {"fetch.part_images": 5}
STOPPED = "stopped; finished parts are kept, run the same command again to resume"
INTERRUPTED = (130, [f"pairmill: error: interrupted: {STOPPED}"])
TERMINATED = (143, [f"pairmill: error: terminated: {STOPPED}"])


@pytest.fixture
def archives(small_web, built):
    """Settings of a build from the WARC files of a crawl, in parts enough that there is a middle."""
    warcs = [str(built[0].storage.path(record.path)) for record in built[0].manifest("crawl").files["warc"]]
    return {"extract.inputs": warcs, "crawl.seeds": None} | SMALL_PARTS


def to_the_group(building, number: int) -> None:
    """As a terminal sends it: to the command, and to Spark's JVM."""
    os.killpg(building.process.pid, number)


def to_the_driver(building, number: int) -> None:
    building.process.send_signal(number)


def ending(building) -> tuple[int, list[str]]:
    """Exit code and what a person reads, once no process is left."""
    code = building.process.wait(30)
    building.wait_until_alone(30)
    return code, building.lines_for_people()


PLACES = (
    (lambda building, run: building.jvm(), to_the_group, signal.SIGINT, INTERRUPTED),
    (lambda building, run: run.parts("extract"), to_the_group, signal.SIGINT, INTERRUPTED),
    (lambda building, run: run.parts("fetch"), to_the_group, signal.SIGTERM, TERMINATED),
    (lambda building, run: building.has_ended("fetch"), to_the_driver, signal.SIGTERM, TERMINATED),
)


def stopped(start, settings, run, places) -> None:
    """One build after another, each stopped at its place."""
    for place, signalled, number, said in places:
        building = start(run.folder, settings)
        building.wait_for(lambda: place(building, run))  # noqa: B023
        signalled(building, number)
        assert ending(building) == said, place
        run.assert_whole()


def test_ctrl_c_at_the_start_and_sigterm_in_fetch_end_a_build_with_one_line_r13(
    start, copied, on_disk, folder, build
) -> None:
    """R13: Ctrl-C while Spark starts, SIGTERM while the JVM and its workers are at work."""
    run = on_disk(copied("text"))
    stopped(start, SMALL_PARTS, run, [PLACES[0], PLACES[2]])
    build(run.folder, SMALL_PARTS, until="fetch")
    assert run.images() == on_disk(folder).images()


@pytest.mark.long
def test_ctrl_c_and_sigterm_end_a_build_with_one_line_and_it_goes_on_r13(
    start, archives, on_disk, tmp_path, folder, digests
) -> None:
    """R13: while Spark starts, and while the JVM and its workers are at work in extract and in fetch."""
    run = on_disk(tmp_path / "run")
    stopped(start, archives, run, PLACES)
    start(run.folder, archives).finish()
    assert digests(run.folder) == digests(folder)


def test_a_second_signal_ends_a_build_that_cannot_put_its_things_away_r13(start, copied, on_disk) -> None:
    """R13: the JVM does not answer."""
    run = on_disk(copied("text"))
    building = start(run.folder, SMALL_PARTS)
    building.wait_for(lambda: run.parts("fetch"))
    os.kill(building.jvm(), signal.SIGSTOP)
    building.process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert building.process.poll() is None
    building.process.send_signal(signal.SIGTERM)
    assert building.process.wait(5) == 143
    assert building.lines_for_people() == []
