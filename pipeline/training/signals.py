"""SIGINT and SIGTERM while a training runs: the step ends, a checkpoint is saved, then the program."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from pipeline.core.errors import ErrorCode, PairmillError

_NAMES = {signal.SIGINT: ErrorCode.INTERRUPTED, signal.SIGTERM: ErrorCode.TERMINATED}


class Stopped(PairmillError):
    """A signal ended the training; exit code 130 or 143. The same command resumes from ``step``."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(
            _NAMES[signal.Signals(number)], f"stopped and saved at step {step}; the same command resumes from there"
        )
        self.exit_code = 128 + number  # type: ignore[misc]


@contextlib.contextmanager
def noted() -> Iterator[Callable[[], int]]:
    """Signals are noted, not obeyed, while the block runs: the first one's number, 0 before. More change nothing (N1).

    Elsewhere than in the main thread Python delivers no signals, and there is nothing to note.
    """
    received: list[int] = []

    def note(number: int, _: object) -> None:
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {number: signal.signal(number, note) for number in _NAMES}
    try:
        yield lambda: received[0] if received else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
