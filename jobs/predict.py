"""`pairmill predict`: which text fits an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jobs.command import examples, run_job
from jobs.options import Debug, Device, ModelArgument


@examples(
    'pairmill predict models/web/model.pt fox.jpg --text "a fox" --text "a boat"',
    'pairmill predict ViT-B/32 *.jpg --text fox --text boat --template "a photo of a {}"',
)
def predict(
    model: ModelArgument,
    pictures: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files.")],
    text: Annotated[list[str], typer.Option("--text", metavar="TEXT", help="One of the texts. Repeatable.")],
    template: Annotated[str, typer.Option(metavar="TEMPLATE", help="Prompt; {} is replaced by the text.")] = "{}",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Show which of several texts fits each image, as probabilities over these texts."""
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
