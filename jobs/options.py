"""The arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RunFolder = Annotated[str, typer.Option("--run", metavar="DIR", help="the run's folder, or its URL on a store")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="the run's folder")]
ConfigFile = Annotated[Path | None, typer.Option("-c", "--config", metavar="FILE", help="YAML config")]
Preset = Annotated[str | None, typer.Option("--preset", metavar="NAME", help="a preset of conf/")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="one setting; VALUE is YAML; repeatable")
]
Log = Annotated[
    Literal["text", "json"], typer.Option("--log", metavar="text|json", help="how progress is written to stderr")
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="a checkpoint, or a name such as ViT-B/32")]
Templates = Annotated[
    list[str] | None, typer.Option("--template", metavar="TEMPLATE", help="class names go into its {}; repeatable")
]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(metavar="auto|cpu|cuda", help="where the model runs")]
Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]
