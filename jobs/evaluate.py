"""`pairmill evaluate`: how good a CLIP model is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.command import run_job
from jobs.options import Debug, Device, ModelArgument, Templates
from pipeline.core.errors import ErrorCode, InputError


def evaluate(
    model: ModelArgument,
    data: Annotated[
        list[str], typer.Option("--data", metavar="PATH", help="as for train; for zero-shot a folder of folders")
    ],
    task: Annotated[
        Literal["retrieval", "zero-shot"], typer.Option(metavar="retrieval|zero-shot", help="what is measured")
    ] = "retrieval",
    images: Annotated[str, typer.Option(metavar="DIR", help="folder that the paths of JSON lists begin at")] = "",
    training_data: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="count the test pictures that stand in it; repeatable")
    ] = None,
    require_clean: Annotated[bool, typer.Option("--require-clean", help="refuse where there are any")] = False,
    classes: Annotated[Path | None, typer.Option(metavar="FILE", help="class names, a line for each folder")] = None,
    template: Templates = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="the result as JSON")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the result as JSON on stdout")] = False,
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Measure a CLIP model: retrieval on pairs, or zero-shot classification of labelled pictures."""
    from pipeline.evaluation import result as evaluation
    from pipeline.vision.clip_model import load

    loaded = load(model, device)
    if task == "retrieval":
        measured = evaluation.evaluate_retrieval(loaded, data, images, training_data or [], require_clean)
    else:
        measured = evaluation.evaluate_zero_shot(loaded, Path(_only(data)), classes, template or evaluation.TEMPLATES)
    if out:
        measured.write(out)
    print(json.dumps(measured.as_json(), indent=1) if as_json else "\n".join(measured.lines()))


def _only(data: list[str]) -> str:
    if len(data) != 1:
        raise InputError(ErrorCode.CONFIG_INVALID, f"--data stands {len(data)} times; zero-shot takes one folder")
    return data[0]


if __name__ == "__main__":
    run_job(evaluate)
