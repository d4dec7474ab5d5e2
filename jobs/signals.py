"""SIGINT and SIGTERM end a command: the first lets it clean up, a second ends it at once.

Ctrl-C reaches every process of the terminal's group. Spark's JVM ignores it and ends after this process; its Python
workers are in a group of their own and end with the JVM.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal ended the command. Not an Exception, so that nothing treats it as a failure and retries."""


class StopSignals:
    """Handles signals from its creation on. ``number`` is the first signal, 0 before."""

    def __init__(self) -> None:
        self.number = 0
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # ignored by nohup, and by shells for background jobs
                signal.signal(number, self._first)

    def _first(self, number: int, _: object) -> NoReturn:
        self.number = number
        for each in ENDING:
            signal.signal(each, _end_at_once)
        raise Stopped


def _end_at_once(number: int, _: object) -> NoReturn:
    os._exit(128 + number)
