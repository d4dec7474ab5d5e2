"""The web of `pairmill demo`: the groups of its hosts, and how it is built once. Its contents: size.py."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.progress import Reporter
from pipeline.core.storage import disk_errors
from pipeline.smallweb.site import SiteSpec, build_site

LOG = "server.log"
NOTE = "spec.json"  # inside the site: what it was built from


def old_hosts(spec: SiteSpec) -> list[str]:
    """Page hosts of the first corpus, without the judge's."""
    return spec.hosts()[0]


def judge_host(spec: SiteSpec) -> str:
    """The page host that a threshold is chosen on."""
    return spec.hosts()[1][0]


def new_hosts(spec: SiteSpec) -> list[str]:
    """Page hosts of the second corpus."""
    return spec.hosts()[2]


def require_site(folder: Path, spec: SiteSpec, reporter: Reporter) -> Path:
    """The site of this spec under ``folder``, generated unless it is there.

    It is built in a temporary folder, with a note of its spec, and renamed in one step: a folder without that note was
    not made by the demo. Raises InputError ``output_exists`` for any other files there, ``output_unwritable``.
    """
    site, aside = folder / "site", folder / ".site.new"
    wanted = json.dumps(asdict(spec), sort_keys=True)
    if site.exists():
        note = site / NOTE
        if not note.is_file():
            raise InputError(ErrorCode.OUTPUT_EXISTS, f"{site} was not made by the demo; choose another --run")
        if note.read_text(encoding="utf-8") != wanted:
            raise InputError(ErrorCode.OUTPUT_EXISTS, f"{folder} was made with other settings; choose another --run")
        return site
    if strangers := names_in(folder) - {aside.name, LOG}:
        raise InputError(
            ErrorCode.OUTPUT_EXISTS,
            f"{folder} is not a demo folder: it contains {min(strangers)}; choose another --run",
        )
    begun = time.monotonic()
    try:
        with disk_errors():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(aside, ignore_errors=True)  # of a demo that was stopped
            built = build_site(spec, aside)
            (aside / NOTE).write_text(wanted, encoding="utf-8")
            aside.rename(site)
    except OSError as error:
        raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"{folder}: {error.strerror or error}") from None
    reporter.line(
        f"{'web':>8}: {built.kinds.total():,} images on {built.pages['article']:,} articles "
        f"of {len(built.seeds)} hosts, {time.monotonic() - begun:.1f} s"
    )
    return site


def names_in(folder: Path) -> set[str]:
    """Names of the entries of a folder; empty if it does not exist."""
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
