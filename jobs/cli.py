"""The command line `pairmill`: all jobs of this folder as its commands. Each can also run as a script."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated, NoReturn

import typer

from jobs.audit import audit
from jobs.build import build
from jobs.command import NAME, add_job, new_app, run
from jobs.demo import demo
from jobs.evaluate import evaluate
from jobs.hashes import hashes
from jobs.predict import predict
from jobs.queries import queries
from jobs.stages import stages
from jobs.train import train
from jobs.why import why

app = new_app(
    completion=True,
    name=NAME,
    help="Build an image-text corpus from the web, with a record of what happened to every pair.",
    epilog="Try: pairmill demo. Documentation: README.md and docs/.",
)
for job in (build, audit, why, stages, train, evaluate, predict, demo):
    add_job(app, job)
for group in (queries, hashes):
    app.add_typer(group)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        print(f"{NAME} {metadata.version(NAME)}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> NoReturn:
    """The console script."""
    run(app)


if __name__ == "__main__":
    main()
