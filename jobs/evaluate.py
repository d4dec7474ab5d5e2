"""`pairmill evaluate`: how good a CLIP model is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from jobs.command import examples, run_job
from jobs.options import Debug, Device, ModelArgument
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.visible import visible


@examples(
    "pairmill evaluate models/web/model.pt --data test.tar --training-data runs/web",
    "pairmill evaluate ViT-B/32 --task zero-shot --data imagenet/val --classes names.txt",
)
def evaluate(
    model: ModelArgument,
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="PATH",
            help="Pairs, as for train; for zero-shot a folder with one folder per class. Repeatable.",
        ),
    ],
    task: Annotated[
        Literal["retrieval", "zero-shot"], typer.Option(metavar="retrieval|zero-shot", help="What to measure.")
    ] = "retrieval",
    images: Annotated[str, typer.Option(metavar="DIR", help="Base folder for paths in JSON lists.")] = "",
    training_data: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Count the test images that are in this data. Repeatable.")
    ] = None,
    require_clean: Annotated[
        bool, typer.Option("--require-clean", help="Fail if a test image is in the training data.")
    ] = False,
    classes: Annotated[Path | None, typer.Option(metavar="FILE", help="Class names, one line per folder.")] = None,
    template: Annotated[
        list[str] | None,
        typer.Option("--template", metavar="TEXT", help="Prompt; {} is replaced by the class name. Repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write the result to a JSON file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Evaluate a CLIP model. Measures retrieval on pairs, or zero-shot classification of labelled images."""
    from pipeline.evaluation import result as evaluation
    from pipeline.evaluation.zero_shot import TEMPLATES
    from pipeline.vision.clip_model import load

    loaded = load(model, device)
    measured: evaluation.Result[Any]
    if task == "retrieval":
        measured = evaluation.evaluate_retrieval(loaded, data, images, training_data or [], require_clean)
    else:
        measured = evaluation.evaluate_zero_shot(loaded, Path(_only(data)), classes, template or TEMPLATES)
    if out:
        measured.write(out)
    print(json.dumps(measured.as_json(), indent=1) if as_json else "\n".join(map(visible, measured.lines())))


def _only(data: list[str]) -> str:
    if len(data) != 1:
        raise InputError(ErrorCode.CONFIG_INVALID, f"--data was given {len(data)} times; zero-shot takes one folder")
    return data[0]


if __name__ == "__main__":
    run_job(evaluate)
