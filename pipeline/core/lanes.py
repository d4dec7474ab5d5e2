"""What lanes do while a stage waits for them: each says it in a small file, and the driver reads them.

The driver shows it (`pipeline.core.progress`), and ends a stage without progress (docs/faults.md, R17).
Nothing else depends on these files; they are removed when the stage ends.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from pipeline.core.errors import ErrorCode, StageError
from pipeline.core.storage import Storage

STALLED_S = 600.0
WATCH_S = 2.0


@dataclass(frozen=True)
class LaneState:
    """One lane now. Times are seconds since 1970."""

    done: int  # answers handled
    asked: int = 0  # hosts
    parked: int = 0
    next_at: float | None = None  # when a parked host is due
    ends_at: float | None = None  # when the lane waits no longer
    idle: bool = False  # as planned: it is done, or all hosts left are parked


def folder_of(stage: str) -> str:
    return f"{stage}/lanes"


def say(storage: Storage, stage: str, lane: int, state: LaneState) -> None:
    """Write down what a lane does now; a failure costs nothing but the news."""
    with suppress(OSError):
        storage.replace(f"{folder_of(stage)}/{lane}.json", json.dumps(asdict(state)).encode())


def heard(storage: Storage, stage: str) -> list[LaneState]:
    """What all lanes have said last."""
    found = []
    for name in storage.names(folder_of(stage)):
        with suppress(OSError, ValueError, TypeError):
            found.append(LaneState(**json.loads(storage.read(f"{folder_of(stage)}/{name}"))))
    return found


def told(states: list[LaneState], now: float) -> str:
    """The lanes in a few words; empty while there is nothing to say."""
    asked, parked = sum(state.asked for state in states), sum(state.parked for state in states)
    if not parked:
        return ""
    if asked:
        return f"{asked:,} hosts asked, {parked:,} parked"
    due = [state.next_at for state in states if state.next_at is not None]
    ends = [state.ends_at for state in states if state.ends_at is not None]
    text = f"waiting: {parked:,} host{'s' * (parked != 1)} parked"
    if due:
        text += f", next in {max(0.0, min(due) - now):.0f} s"
    if ends:
        text += f", ends by {time.strftime('%H:%M:%S', time.localtime(max(ends)))}"
    return text


class LaneWatch:
    """Follows the lanes of a stage; ``cancel`` ends their job."""

    def __init__(self, storage: Storage, stage: str, cancel: Callable[[], None], stalled_s: float = STALLED_S) -> None:
        self._storage, self._stage, self._cancel, self._stalled_s = storage, stage, cancel, stalled_s
        self._states: list[LaneState] = []
        self._stop, self._stalled = threading.Event(), False

    def news(self) -> str:
        """What the lanes do, in a few words."""
        return told(self._states, time.time())

    @contextmanager
    def watching(self) -> Iterator[Callable[[], str]]:
        """Watch while the block runs its Spark job. Raises StageError `stage_stalled` without progress."""
        self._storage.sweep(folder_of(self._stage), set())
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield self.news
        except Exception as error:
            if not self._stalled:
                raise
            text = f"{self._stage}: no answer and no planned wait for {self._stalled_s:g} s; the same command resumes"
            raise StageError(ErrorCode.STAGE_STALLED, text) from error
        finally:
            self._stop.set()
            thread.join()
            self._storage.sweep(folder_of(self._stage), set())

    def _watch(self) -> None:
        last, since = -1, time.monotonic()
        while not self._stop.wait(WATCH_S):
            with suppress(OSError):
                self._states = heard(self._storage, self._stage)
            done = sum(state.done for state in self._states)
            if done != last or all(state.idle for state in self._states):
                last, since = done, time.monotonic()
            elif time.monotonic() - since > self._stalled_s:
                self._stalled = True
                self._cancel()
                return
