"""What a person sees while a stage works: a bar on a terminal, one line per stage everywhere, JSON for machines.

Progress goes to stderr, results to stdout.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipeline.core.secrets import without_secrets
from pipeline.core.visible import json_text, visible

POLL_S = 0.5
NEWS_S = 60.0  # between two lines of news without a terminal


@dataclass(frozen=True)
class Done:
    """Progress of a stage: ``rows`` done of ``total`` (None: not known yet); ``good`` of them have a result (None: not
    counted)."""

    rows: int
    good: int | None
    total: int | None = None
    unit: str = ""  # of the count, if it is not the stage's rows
    news: str = ""  # what is going on, where it is not just more of the same


class Reporter:
    """Prints for one command. ``log`` is ``text`` or ``json``."""

    def __init__(self, log: str = "text", quiet: bool = False) -> None:
        self.json = log == "json"
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars: list[Progress] = []  # the last one is shown

    def line(self, text: str, **facts: Any) -> None:
        """Print one line, whatever is in it; as JSON it has the facts and the text."""
        if self.quiet:
            return
        if self.json:
            print(json_text(_masked({"text": text, **facts})), file=sys.stderr, flush=True)
        else:
            self.console.print(visible(without_secrets(text)), markup=False)

    @contextlib.contextmanager
    def bar(self, name: str, probe: Callable[[], Done]) -> Iterator[None]:
        """Show ``probe()`` every half second while the block runs; without a terminal its news, once a minute.

        A bar inside the block has better numbers: it replaces this one until it ends.
        """
        if self.quiet:
            yield
            return
        if self.json or not self.console.is_terminal:
            with _repeated(NEWS_S, lambda: self._tell_news(name, probe())):
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
            TextColumn("{task.fields[news]}"),
        )
        shown = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
        with self._innermost(shown) as progress:
            task = progress.add_task(name, total=None, unit="", rate="", share="", news="")

            def poll() -> None:
                done = probe()
                share = f"{done.good / done.rows:.0%} ok" if done.rows and done.good is not None else ""
                progress.update(
                    task, completed=done.rows, total=done.total, unit=done.unit, share=share, news=done.news
                )
                speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
                progress.update(task, rate=f"{speed:,.0f}/s" if speed else "")

            with _repeated(POLL_S, poll):
                yield

    def _tell_news(self, name: str, done: Done) -> None:
        if done.news:
            total = "" if done.total is None else f" of {done.total:,}"
            facts = {"stage": name, "rows": done.rows, "total": done.total}
            self.line(f"{name:>8}: {done.rows:,}{total} done; {done.news}", event="progress", **facts)

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


@contextlib.contextmanager
def _repeated(pause_s: float, act: Callable[[], None]) -> Iterator[None]:
    """Do it again and again in a thread while the block runs. What it raises never stops the work it shows."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(pause_s):
            with contextlib.suppress(Exception):
                act()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _masked(fact: Any) -> Any:
    """A fact without secrets in any text of it."""
    if isinstance(fact, str):
        return without_secrets(fact)
    if isinstance(fact, dict):
        return {name: _masked(value) for name, value in fact.items()}
    return [_masked(value) for value in fact] if isinstance(fact, list | tuple) else fact
