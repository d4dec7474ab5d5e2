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
from pipeline.core.run import require_ours
from pipeline.core.settings import load_config
from pipeline.core.storage import Storage, disk_errors
from pipeline.demo.score import FilterScore, score
from pipeline.demo.server import serving
from pipeline.demo.site import SiteSpec, build_site, seed_urls
from pipeline.demo.truth import read_truth

PRESET = "demo"
FOLDER = "demo"  # inside the run: site/, server.log
LOG = "server.log"
NOTE = "spec.json"  # inside the site: what it was built from


def run_demo(
    location: str, sets: Sequence[str], scenes: int | None, seed: int, reporter: Reporter, console: Console
) -> list[FilterScore]:
    """Everything, printed; a second call skips what is finished. Returns the filters' scores."""
    begun = time.monotonic()
    spec = SiteSpec(seed=seed) if scenes is None else replace(SiteSpec(seed=seed), scenes=scenes)
    root = Path(Storage.at(location).root)
    require_ours(root)
    site = require_site(root / FOLDER, spec, reporter)
    with serving(site, site.parent / LOG) as resolve:
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
    """The site of this spec under ``folder``, generated unless it is there.

    It is built aside, with the note of its spec, and appears in one step: a site without that note is none of ours.
    Raises InputError ``output_exists`` for anything else that is there, ``output_unwritable``.
    """
    site, aside = folder / "site", folder / ".site.new"
    wanted = json.dumps(asdict(spec), sort_keys=True)
    if site.exists():
        note = site / NOTE
        if not note.is_file():
            raise InputError("output_exists", f"{site} is no site of the demo; choose another --run")
        if note.read_text(encoding="utf-8") != wanted:
            raise InputError("output_exists", f"{folder} holds a site of other settings; choose another --run")
        return site
    if strangers := _names(folder) - {aside.name, LOG}:
        raise InputError("output_exists", f"{folder} is no demo's: it holds {min(strangers)}; choose another --run")
    begun = time.monotonic()
    try:
        with disk_errors():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(aside, ignore_errors=True)  # of a demo that was stopped
            built = build_site(spec, aside)
            (aside / NOTE).write_text(wanted, encoding="utf-8")
            aside.rename(site)
    except OSError as error:
        raise InputError("output_unwritable", f"{folder}: {error.strerror or error}") from None
    reporter.line(
        f"{'web':>8}: {built.kinds.total():,} images on {built.pages['article']:,} articles "
        f"of {len(built.seeds)} hosts, {time.monotonic() - begun:.1f} s"
    )
    return site


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


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
