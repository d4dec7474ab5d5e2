"""`pairmill why`: what happened to one row."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from jobs.command import examples, run_job
from jobs.options import Debug, RunArgument
from pipeline.core.progress import Reporter


@examples(
    "pairmill why runs/web https://example.org/fox.jpg",
    "pairmill why s3://bucket/runs/web https://example.org/gallery.html",
)
def why(
    run: RunArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Id, sha256 or URL of a pair, image or page.")],
    debug: Debug = False,
) -> None:
    """Show what happened to one pair, image or page."""
    from pipeline import audit as auditing
    from pipeline import funnel

    opened = funnel.open_existing(run, Reporter())
    auditing.print_why(auditing.why(opened, key), Console(highlight=False))


if __name__ == "__main__":
    run_job(why)
