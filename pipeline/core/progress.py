"""What a person sees while a stage works: a bar on a terminal, one line per stage everywhere, JSON for machines.

Progress goes to stderr, results to stdout.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

POLL_S = 0.5


@dataclass(frozen=True)
class Done:
    """Progress of a stage: ``rows`` done of ``total`` (None: not known yet); ``good`` of them have a result (None: not
    counted)."""

    rows: int
    good: int | None
    total: int | None = None
    unit: str = ""  # of the count, if it is not the stage's rows


class Reporter:
    """Prints for one command. ``log`` is ``text`` or ``json``."""

    def __init__(self, log: str = "text", quiet: bool = False) -> None:
        self.json = log == "json"
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars: list[Progress] = []  # the last one is shown

    def line(self, text: str, **facts: Any) -> None:
        """Print one line; as JSON it has the facts and the text."""
        if self.quiet:
            return
        if self.json:
            print(json.dumps({"text": text, **facts}, sort_keys=True), file=sys.stderr, flush=True)
        else:
            self.console.print(text, markup=False)

    @contextlib.contextmanager
    def bar(self, name: str, probe: Callable[[], Done]) -> Iterator[None]:
        """Show ``probe()`` every half second while the block runs. Quiet when stderr is not a terminal.

        A bar inside the block has better numbers: it replaces this one until it ends.
        """
        if self.quiet or self.json or not self.console.is_terminal:
            yield
            return
        columns = (
            TextColumn("{task.description:>8}"),
            BarColumn(30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[share]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        stop = threading.Event()
        shown = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
        with self._innermost(shown) as progress:
            task = progress.add_task(name, total=None, unit="", rate="", share="")

            def poll() -> None:
                while not stop.wait(POLL_S):
                    with contextlib.suppress(Exception):  # a bar must never stop the work it shows
                        done = probe()
                        share = f"{done.good / done.rows:.0%} ok" if done.rows and done.good is not None else ""
                        progress.update(task, completed=done.rows, total=done.total, unit=done.unit, share=share)
                        speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
                        progress.update(task, rate=f"{speed:,.0f}/s" if speed else "")

            thread = threading.Thread(target=poll, daemon=True)
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()

    @contextlib.contextmanager
    def _innermost(self, progress: Progress) -> Iterator[Progress]:
        """Show this bar and hide the one around it."""
        around = self._bars[-1] if self._bars else None
        if around is not None:
            around.stop()
        self._bars.append(progress)
        try:
            with progress:
                yield progress
        finally:
            self._bars.pop()
            if around is not None:
                around.start()
