"""`pairmill why`: what became of one row."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from jobs.command import run_job
from jobs.options import Debug, RunArgument
from pipeline.core.progress import Reporter


def why(
    run: RunArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="a pair, image or page: id, sha256 or URL")],
    debug: Debug = False,
) -> None:
    """Say what became of one pair, image or page."""
    from pipeline import audit as auditing
    from pipeline import funnel

    opened = funnel.open_existing(run, Reporter())
    auditing.print_why(auditing.why(opened, key), Console(highlight=False))


if __name__ == "__main__":
    run_job(why)
