"""The command line `pairmill`: all jobs of this folder as its commands. Each is also a script of its own."""

from __future__ import annotations

from typing import NoReturn

from jobs.audit import audit
from jobs.build import build
from jobs.command import NAME, new_group, run
from jobs.demo import demo
from jobs.evaluate import evaluate
from jobs.hashes import hashes
from jobs.predict import predict
from jobs.queries import queries
from jobs.stages import stages
from jobs.train import train
from jobs.why import why

app = new_group(NAME, "Turn a piece of the web into an image-text corpus that accounts for every pair.")
for command in (build, audit, why, stages, train, evaluate, predict, demo):
    app.command()(command)
for group in (queries, hashes):
    app.add_typer(group)


def main() -> NoReturn:
    """The console script."""
    run(app)


if __name__ == "__main__":
    main()
