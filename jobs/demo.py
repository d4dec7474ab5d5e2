"""`pairmill demo`: the closed loop on a small web."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from jobs.command import run_job
from jobs.options import Debug, Log, RunFolder, Sets
from pipeline.core.progress import Reporter


def demo(
    run: RunFolder = "demo-run",
    sets: Sets = None,
    scenes: Annotated[int, typer.Option(min=1, help="good scenes on the hosts of the first corpus")] = 1500,
    steps: Annotated[int, typer.Option(min=2, help="steps of each training")] = 180,
    seed: Annotated[int, typer.Option(help="seed of the small web")] = 0,
    log: Log = "text",
    debug: Debug = False,
) -> None:
    """Serve a small web, build a corpus, train on it, filter a second corpus with that model, and measure it all."""
    from pipeline.demo.run import run_demo

    console = Console(highlight=False)
    run_demo(run, sets or [], scenes=scenes, steps=steps, seed=seed, reporter=Reporter(log), console=console)


if __name__ == "__main__":
    run_job(demo)
