"""Arguments and options shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.core.config_files import preset_names

RunFolder = Annotated[str, typer.Option("--run", metavar="DIR", help="Run folder, or its URL such as s3://bucket/run.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Run folder or URL.")]
ConfigFile = Annotated[Path | None, typer.Option("-c", "--config", metavar="FILE", help="YAML file with settings.")]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help=f"Named settings to start from: {', '.join(preset_names())}.",
        autocompletion=preset_names,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; VALUE is YAML. Repeatable."),
]
Log = Annotated[
    Literal["text", "json"], typer.Option("--log", metavar="text|json", help="Format of progress on stderr.")
]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Checkpoint file, or an OpenAI model name such as ViT-B/32.")
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(metavar="auto|cpu|cuda", help="Where the model runs; auto uses a GPU if there is one."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
