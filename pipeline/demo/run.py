"""`pairmill demo`: serve the small web, build a corpus from it, audit it, and hold every filter against the truth."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline import audit, funnel
from pipeline.core.errors import InputError
from pipeline.core.progress import Reporter
from pipeline.core.settings import load_config
from pipeline.demo.score import FilterScore, score
from pipeline.demo.server import serving
from pipeline.demo.site import SiteSpec, build_site, seed_urls
from pipeline.demo.truth import read_truth

PRESET = "demo"
FOLDER = "demo"  # inside the run: site/, server.log


def run_demo(
    location: str, sets: Sequence[str], scenes: int | None, seed: int, reporter: Reporter, console: Console
) -> list[FilterScore]:
    """Everything, printed; a second call skips what is finished. Returns the filters' scores."""
    begun = time.monotonic()
    spec = SiteSpec(seed=seed) if scenes is None else replace(SiteSpec(seed=seed), scenes=scenes)
    site = require_site(Path(location) / FOLDER, spec, reporter)
    with serving(site, site.parent / "server.log") as resolve:
        found: dict[str, Any] = {"web": {"resolve": resolve}, "crawl": {"seeds": seed_urls(site)}}
        ours = [
            f"{section}.{key}={json.dumps(value)}" for section, keys in found.items() for key, value in keys.items()
        ]
        config = load_config(funnel.Config, preset=PRESET, sets=[*ours, *sets])
        run = funnel.open_run(location, config, reporter)
        manifests = funnel.build(run)
    account = audit.funnel_table(run)
    report = audit.write_report(run, account)
    scores = score(read_truth(site), run)
    audit.print_funnel(account, console)
    print_scores(scores, console)
    console.print(f"corpus: {manifests[-1].kept:,} pairs in {run.storage.path('corpus')}", soft_wrap=True)
    console.print(f"report: {report}", soft_wrap=True)
    console.print(f"time: {time.monotonic() - begun:.0f} s")
    return scores


def require_site(folder: Path, spec: SiteSpec, reporter: Reporter) -> Path:
    """The site of this spec under ``folder``, generated unless it is there; InputError where it is another one."""
    site, note = folder / "site", folder / "site.json"
    wanted = json.dumps(asdict(spec), sort_keys=True)
    if note.exists():
        if note.read_text(encoding="utf-8") != wanted:
            raise InputError("output_exists", f"{folder} holds a site of other settings; choose another --run")
        return site
    for leftover in (site, aside := folder / "site.new"):
        shutil.rmtree(leftover, ignore_errors=True)
    begun = time.monotonic()
    built = build_site(spec, aside)
    aside.rename(site)
    note.write_text(wanted, encoding="utf-8")
    reporter.line(
        f"{'web':>8}: {built.kinds.total():,} images on {built.pages['article']:,} articles "
        f"of {len(built.seeds)} hosts, {time.monotonic() - begun:.1f} s"
    )
    return site


def print_scores(scores: Sequence[FilterScore], console: Console) -> None:
    """Precision and recall of each filter, in images with their text."""
    table = Table(title="filters against the planted truth", title_justify="left", box=None)
    table.add_column("fate")
    for heading in ("planted", "dropped", "precision", "recall"):
        table.add_column(heading, justify="right")
    for found in scores:
        table.add_row(
            found.fate, f"{found.planted:,}", f"{found.dropped:,}", _share(found.precision), _share(found.recall)
        )
    console.print(table)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
