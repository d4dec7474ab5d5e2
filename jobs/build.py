"""`pairmill build`: create a run or bring it up to date."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.command import examples, run_job
from jobs.options import ConfigFile, Debug, Log, Preset, RunFolder, Sets
from pipeline.core.config_files import load_config
from pipeline.core.progress import Reporter


@examples(
    "pairmill build --run runs/web --set web.contact=you@example.org \\",
    "    --set 'crawl.seeds=[https://example.org/]'",
    "pairmill build --run runs/list --set web.contact=you@example.org \\",
    "    --set 'extract.inputs=[urls.parquet]'",
    "pairmill build --run runs/list -c list.yaml --until text",
    "pairmill build --run runs/list --retry-failed",
)
def build(
    run: RunFolder,
    config: ConfigFile = None,
    preset: Preset = None,
    sets: Sets = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage, such as text.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Request again what failed for a temporary reason.")
    ] = False,
    verify_inputs: Annotated[
        bool, typer.Option("--verify-inputs", help="Hash all inputs again, also those of unchanged size and time.")
    ] = False,
    log: Log = "text",
    debug: Debug = False,
) -> None:
    """Build or update a run. Measures new rows, decides which to keep, and writes the corpus."""
    from pipeline import funnel

    settings = load_config(funnel.Config, preset, config, sets or [])
    opened = funnel.open_run(run, settings, Reporter(log), retry_failed, verify_inputs)
    manifests = funnel.build(opened, until)
    last = manifests[-1]
    if last.stage == "export":
        print(f"{last.kept:,} pairs in {opened.storage.where('corpus')}")
    else:
        print(f"{last.keeps.rows:,} {last.keeps.unit}s kept by {last.stage} in {opened.storage.root}")


if __name__ == "__main__":
    run_job(build)
