"""`pairmill predict`: which text fits a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jobs.command import run_job
from jobs.options import Debug, Device, ModelArgument


def predict(
    model: ModelArgument,
    pictures: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="pictures")],
    text: Annotated[list[str], typer.Option("--text", metavar="TEXT", help="one of the texts; repeatable")],
    template: Annotated[str, typer.Option(metavar="TEMPLATE", help="what each text is put into, as {}")] = "{}",
    as_json: Annotated[bool, typer.Option("--json", help="as JSON on stdout")] = False,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Say which of some texts fits each picture, as probabilities among these texts."""
    from pipeline.evaluation.predict import predict as run_predict
    from pipeline.evaluation.predict import print_table
    from pipeline.vision.clip_model import load

    found = run_predict(load(model, device), pictures, text, template)
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print_table(found, Console(highlight=False))


if __name__ == "__main__":
    run_job(predict)
