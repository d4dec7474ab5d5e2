"""The web of `pairmill demo`: what it consists of, and building it once.

Three quarters, none of which shows a picture of another: four *old* hosts, whose captions are right, make the first
corpus; the *judge's* host is crawled with them but kept out of training, because a fifth of its captions are wrong
and known to be: a threshold is chosen on it; the *new* hosts, with the same share of wrong captions, make the second
corpus. A model that has seen a wrong pair scores it too kindly, hence the separation.

Judge's and new hosts write English. A nano model learns that from the old hosts; of each of the eleven other languages
it sees some thirty captions, which is too little to judge by.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.progress import Reporter
from pipeline.core.storage import disk_errors
from pipeline.smallweb.site import Quarter, SiteSpec, build_site

SCENES = 1500  # good ones of the old hosts; the other figures grow with it
CONCEPTS = 100  # each recurs in some thirty scenes
ENGLISH_SHARE = 0.8  # of the old hosts' images
WRONG_SHARE = 0.2  # of the pairs of the judge's and of the new hosts
LOG = "server.log"
NOTE = "spec.json"  # inside the site: what it was built from


def demo_spec(scenes: int = SCENES, seed: int = 0) -> SiteSpec:
    """The demo's web, for a number of good scenes on the old hosts."""
    share = scenes / SCENES
    old = Quarter(
        hosts=4,
        scenes=scenes,
        defects_each=_part(60, share),
        wrong_captions=0,
        slow=_part(50, share),
        rate_limited=_part(5, share),
        english_share=ENGLISH_SHARE,
    )
    judge = _with_wrong(hosts=1, scenes=_part(160, share), defects_each=0, slow=0, rate_limited=0)
    new = _with_wrong(
        hosts=2,
        scenes=_part(400, share),
        defects_each=_part(12, share),
        slow=_part(6, share),
        rate_limited=_part(1, share),
    )
    return SiteSpec((old, judge, new), seed=seed, concepts=min(CONCEPTS, scenes), held_out=_part(500, share))


def old_hosts(spec: SiteSpec) -> list[str]:
    """Page hosts of the first corpus, the judge's not among them."""
    return spec.hosts()[0]


def judge_host(spec: SiteSpec) -> str:
    """The page host that a threshold is chosen on."""
    return spec.hosts()[1][0]


def new_hosts(spec: SiteSpec) -> list[str]:
    """Page hosts of the second corpus."""
    return spec.hosts()[2]


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
            raise InputError(ErrorCode.OUTPUT_EXISTS, f"{site} is no site of the demo; choose another --run")
        if note.read_text(encoding="utf-8") != wanted:
            raise InputError(ErrorCode.OUTPUT_EXISTS, f"{folder} holds a site of other settings; choose another --run")
        return site
    if strangers := names_in(folder) - {aside.name, LOG}:
        raise InputError(
            ErrorCode.OUTPUT_EXISTS, f"{folder} is no demo's: it holds {min(strangers)}; choose another --run"
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
    """Names of what lies in a folder; none where there is no such folder."""
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def _with_wrong(scenes: int, **rest: int) -> Quarter:
    """A quarter in which ``WRONG_SHARE`` of the captions of pictures of their own are wrong."""
    honest = scenes + 3 * rest["defects_each"] + rest["rate_limited"]  # redirects, twins and copies are honest too
    wrong = round(honest * WRONG_SHARE / (1 - WRONG_SHARE))
    return Quarter(scenes=scenes, wrong_captions=wrong, english_share=1.0, **rest)


def _part(figure: int, share: float) -> int:
    return max(1, round(figure * share))
