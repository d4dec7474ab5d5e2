"""`pairmill train`: train a CLIP model; also a script, because torchrun needs one."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from jobs.command import examples, run_job
from jobs.options import ConfigFile, Debug, Log, Sets
from pipeline.core.config_files import load_config
from pipeline.core.progress import Reporter


@examples(
    "pairmill train --data runs/web --out models/web",
    "pairmill train --data runs/web --data 'more/*.tar' --out models/both --set steps=20000",
    "torchrun --nproc-per-node 8 jobs/train.py --data runs/web --out models/web",
)
def train(
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="PATH", help="Run, corpus, tar or JSON list (setting data). Repeatable."),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Folder of the model (setting output).")
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    log: Log = "text",
    debug: Debug = False,
) -> None:
    """Train a CLIP model on a corpus, or resume a training. docs/training.md lists the settings."""
    from pipeline.training.config import TrainConfig
    from pipeline.training.loop import train as run_training

    named = [f"{key}={json.dumps(value)}" for key, value in (("data", data), ("output", out)) if value]
    settings = load_config(TrainConfig, None, config, [*named, *(sets or [])])
    result = run_training(settings, Reporter(log))
    print(f"{result.model} after {result.steps:,} steps on {result.samples:,} pairs, last loss {result.losses[-1]:.4f}")


if __name__ == "__main__":
    run_job(train)
