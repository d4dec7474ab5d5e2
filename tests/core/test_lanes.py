"""What lanes say, how it is told, and what happens when they stand still."""

from __future__ import annotations

import io
import re
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.core import lanes, progress
from pipeline.core.errors import StageError
from pipeline.core.lanes import LaneState, LaneWatch, folder_of, heard, say, told
from pipeline.core.progress import Done, Reporter
from pipeline.core.storage import Storage, open_storage

NOW = 1_000_000.0


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path))


@pytest.mark.parametrize(
    ("states", "text"),
    [
        ([], ""),
        ([LaneState(5, asked=9)], ""),
        ([LaneState(5, asked=9), LaneState(5, parked=2, next_at=NOW + 3)], "9 hosts asked, 2 parked"),
        ([LaneState(5, parked=1, next_at=NOW + 42)], "waiting: 1 host parked, next in 42 s"),
        (
            [LaneState(5, parked=1, next_at=NOW + 42, ends_at=NOW + 60), LaneState(9, parked=2, next_at=NOW - 1)],
            f"waiting: 3 hosts parked, next in 0 s, ends by {time.strftime('%H:%M:%S', time.localtime(NOW + 60))}",
        ),
    ],
)
def test_what_a_person_reads(states: list[LaneState], text: str) -> None:
    assert told(states, NOW) == text


def test_lanes_are_heard_and_nothing_of_it_stays(storage: Storage) -> None:
    with LaneWatch(storage, "fetch", lambda: None).watching():
        say(storage, "fetch", 0, LaneState(3, asked=1))
        say(storage, "fetch", 1, LaneState(4, parked=1, next_at=9.5))
        say(storage, "fetch", 1, LaneState(5, parked=1))
        assert heard(storage, "fetch") == [LaneState(3, asked=1), LaneState(5, parked=1)]
        storage.replace(f"{folder_of('fetch')}/2.json", b'{"done": ')  # never half there, but whatever it is
        assert len(heard(storage, "fetch")) == 2
    assert heard(storage, "fetch") == []


@pytest.mark.parametrize("waits", [False, True])
def test_a_stage_whose_lanes_stand_still_ends_and_one_that_waits_does_not(
    storage: Storage, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R17"""
    monkeypatch.setattr(lanes, "WATCH_S", 0.02)
    cancelled = threading.Event()
    watch = LaneWatch(storage, "fetch", cancelled.set, stalled_s=0.3)

    def job() -> None:
        for done in range(5):  # as long as there is progress nothing ends
            say(storage, "fetch", 0, LaneState(done, asked=1))
            assert not cancelled.wait(0.15)
        say(storage, "fetch", 1, LaneState(9, idle=True))  # done long ago
        say(storage, "fetch", 0, LaneState(5, asked=not waits, parked=2, idle=waits))
        if cancelled.wait(1.0):
            raise RuntimeError("the job was cancelled")

    if waits:
        with watch.watching():
            job()
        return
    stalled = re.escape("stage_stalled: fetch: no answer and no planned wait for 0.3 s")
    with pytest.raises(StageError, match=stalled), watch.watching():
        job()


def test_another_failure_of_the_job_stays_what_it_is(storage: Storage) -> None:
    with pytest.raises(ZeroDivisionError), LaneWatch(storage, "fetch", lambda: None).watching():
        raise ZeroDivisionError


def test_without_a_terminal_news_are_a_line_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "NEWS_S", 0.1)
    reporter = Reporter()
    reporter.console = Console(file=io.StringIO(), force_terminal=False, width=160)
    news = ["", "waiting: 3 hosts parked"]
    with reporter.bar("fetch", lambda: Done(7, 7, 12, news=news.pop(0) if len(news) > 1 else news[0])):
        time.sleep(0.35)
    lines = reporter.console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert set(lines) == {"   fetch: 7 of 12 done; waiting: 3 hosts parked"}
