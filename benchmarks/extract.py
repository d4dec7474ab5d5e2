"""Candidates of real HTML pages against the HTML parser alone, pages a second on one core.

Three ways over the same pages, in interleaved rounds: selectolax alone (parse the bytes, ``css("img")``), which is the
floor; ``candidates_of_page`` (charset, base, srcset and lazy loading, URLs, keys); and the same behind its wall, in the
child process that a build uses, in batches as a build sends them. The fastest round of each counts (as timeit advises:
what slows the others down is the rest of the machine). The pages are those of the data folder beside the checkout,
which is not part of the repository; where it is missing, the line says so.
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser

from pipeline.stages.extract.candidates import Row
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages.html import URN_PREFIX, candidates_of_page
from pipeline.stages.extract.pages.page_parser import PageParser, PageTask

PAGES = Path(__file__).resolve().parents[2] / "shared" / "data" / "html_pages.tar.gz"
ROUNDS = 9

Page = tuple[str, bytes]  # URL, HTML


def read_pages(archive: Path) -> list[Page]:
    """All pages of the archive with their URLs, as its index.tsv names them."""
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
    index = csv.DictReader(io.StringIO(files["index.tsv"].decode()), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [(row["url"] or URN_PREFIX + row["name"], files[row["name"]]) for row in index]


def seconds(work: Callable[[list[Page]], object], pages: list[Page]) -> float:
    begun = time.perf_counter()
    work(pages)
    return time.perf_counter() - begun


def in_child(child: PageParser, pages: list[Page]) -> list[Row]:
    return list(child.in_order((PageTask(html, url), []) for url, html in pages))


def main() -> int:
    if not PAGES.exists():
        print(json.dumps({"benchmark": "extract", "skipped": f"{PAGES.name} is not in ../shared/data"}))
        return 0
    pages, config = read_pages(PAGES), Config()
    with PageParser(config) as child:
        ways: dict[str, Callable[[list[Page]], object]] = {
            "selectolax alone": lambda pages: [len(LexborHTMLParser(html).css("img")) for _, html in pages],
            "candidates": lambda pages: [candidates_of_page(html, url, None, None, (), config) for url, html in pages],
            "candidates in the child": lambda pages: in_child(child, pages),
        }
        for work in ways.values():  # warm-up: imports, the child's start
            seconds(work, pages)
        rounds = [{name: seconds(work, pages) for name, work in ways.items()} for _ in range(ROUNDS)]
    alone, ours, walled = (len(pages) / min(taken[name] for taken in rounds) for name in ways)
    print(
        json.dumps(
            {
                "benchmark": "extract",
                "pages": len(pages),
                "html_bytes": sum(len(html) for _, html in pages),
                "rounds": ROUNDS,
                "candidates": sum(len(candidates_of_page(html, url, None, None, (), config)) for url, html in pages),
                "pages_per_s": round(ours),
                "pages_per_s_in_child": round(walled),
                "peer": 'selectolax css("img") alone',
                "peer_pages_per_s": round(alone),
                "ratio": round(ours / alone, 2),
                "ratio_in_child": round(walled / alone, 2),
                "cores": os.cpu_count(),
                "python": platform.python_version(),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
