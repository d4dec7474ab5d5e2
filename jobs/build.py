"""`pairmill build`: a run, brought up to date."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.command import run_job
from jobs.options import ConfigFile, Debug, Log, Preset, RunFolder, Sets
from pipeline.core.config_files import load_config
from pipeline.core.progress import Reporter


def build(
    run: RunFolder,
    config: ConfigFile = None,
    preset: Preset = None,
    sets: Sets = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="stop after this stage")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="ask again what may succeed now")] = False,
    log: Log = "text",
    debug: Debug = False,
) -> None:
    """Bring a run up to date: measure what was never measured, decide, and write the corpus."""
    from pipeline import funnel

    settings = load_config(funnel.Config, preset, config, sets or [])
    opened = funnel.open_run(run, settings, Reporter(log), retry_failed)
    manifests = funnel.build(opened, until)
    last = manifests[-1]
    if last.stage == "export":
        print(f"{last.kept:,} pairs in {opened.storage.where('corpus')}")
    else:
        print(f"{last.keeps.rows:,} {last.keeps.unit}s kept by {last.stage} in {opened.storage.root}")


if __name__ == "__main__":
    run_job(build)
