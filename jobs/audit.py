"""`pairmill audit`: what happened to every row."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from jobs.command import examples, run_job
from jobs.options import Debug, Log, RunArgument
from pipeline.core.progress import Reporter
from pipeline.core.visible import json_text, visible


@examples(
    "pairmill audit runs/web",
    "pairmill audit runs/web --check",
    "pairmill audit runs/web --json > funnel.json",
)
def audit(
    run: RunArgument,
    check: Annotated[
        bool, typer.Option("--check", help="Verify every file and count on disk; exit 1 on a mismatch.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the funnel as JSON.")] = False,
    log: Log = "text",
    debug: Debug = False,
) -> None:
    """Show what happened to every row. Prints a funnel and writes a report as one HTML page."""
    from pipeline import audit as auditing
    from pipeline import funnel

    opened = funnel.open_existing(run, Reporter(log))
    account = auditing.funnel_table(opened)
    findings = auditing.check(opened) if check else []
    if as_json:
        print(json_text(auditing.as_json(account, findings), indent=1))
    else:
        auditing.print_funnel(account, Console(highlight=False))
        for finding in findings:
            print(visible(str(finding)))
    report = auditing.write_report(opened, account, findings)
    if not as_json:
        print(f"report: {report}")
        if check and not findings:
            print("check: all files, verdicts and counts agree")
    for finding in (*findings, *account.broken):
        raise finding.error()


if __name__ == "__main__":
    run_job(audit)
