"""`pairmill demo`: the whole pipeline on a small local web."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console

from jobs.command import examples, run_job
from jobs.extras import require_extra
from jobs.options import Debug, Log, Sets
from pipeline.core.progress import Reporter


@examples(
    "pairmill demo",
    "pairmill demo --full --run runs/full",
    "pairmill demo --run runs/tiny --scenes 300 --steps 40",
)
def demo(
    run: Annotated[str, typer.Option("--run", metavar="DIR", help="Folder of the demo.")] = "demo-run",
    full: Annotated[bool, typer.Option("--full", help="Corpora three times as large, twice the minutes.")] = False,
    sets: Sets = None,
    scenes: Annotated[int | None, typer.Option(min=1, help="Scenes on the hosts of the first corpus.")] = None,
    steps: Annotated[int | None, typer.Option(min=2, help="Steps per training.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the small web.")] = 0,
    log: Log = "text",
    debug: Debug = False,
) -> None:
    """Run the whole pipeline on a small local web. Builds a corpus, trains a model on it, filters a second corpus
    with that model, and evaluates both models."""
    require_extra("demo")
    from pipeline.demo.run import run_demo
    from pipeline.demo.size import FULL, SMALL

    size = FULL if full else SMALL
    size = replace(size.scaled(scenes) if scenes else size, steps=steps or size.steps)
    run_demo(run, size, sets or [], seed, Reporter(log), Console(highlight=False))


if __name__ == "__main__":
    run_job(demo)
