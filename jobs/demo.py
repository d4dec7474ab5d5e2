"""`pairmill demo`: the closed loop on a small web."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from jobs.command import examples, run_job
from jobs.options import Debug, Log, Sets
from pipeline.core.progress import Reporter


@examples(
    "pairmill demo",
    "pairmill demo --run runs/small --scenes 300 --steps 40",
)
def demo(
    run: Annotated[str, typer.Option("--run", metavar="DIR", help="Folder of the demo.")] = "demo-run",
    sets: Sets = None,
    scenes: Annotated[int, typer.Option(min=1, help="Scenes on the hosts of the first corpus.")] = 1500,
    steps: Annotated[int, typer.Option(min=2, help="Steps per training.")] = 180,
    seed: Annotated[int, typer.Option(help="Seed of the small web.")] = 0,
    log: Log = "text",
    debug: Debug = False,
) -> None:
    """Run the whole pipeline on a small local web. Builds a corpus, trains a model on it, filters a second corpus
    with that model, and evaluates both models."""
    from pipeline.demo.run import run_demo

    console = Console(highlight=False)
    run_demo(run, sets or [], scenes=scenes, steps=steps, seed=seed, reporter=Reporter(log), console=console)


if __name__ == "__main__":
    run_job(demo)
