"""Memory of a fetch lane over more and more URLs: it must not grow with them.

Each size runs in a fresh process: a lane as Spark runs it (`pipeline.stages.fetch.image_lane`), over generated URLs of
made-up hosts, three each, on addresses that are refused before a packet leaves. So every URL has its way through spool,
hosts, robots.txt and store, and none waits for a network. Printed: the most anonymous memory that the process had
(files mapped from disk can be dropped at any time and do not count), its growth from the first size to the last, and
URLs per second.

    python benchmarks/lane_memory.py [--urls 10000 100000 1000000]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PER_HOST = 3
BATCH = 2000
MOST_GROWTH_MB = 200.0  # from the first size to the last: numbers per host, caches that fill up


def to_ask(urls: int) -> Iterator[Any]:
    """What Spark would send: rows sorted by origin."""
    import pyarrow as pa

    for begin in range(0, urls, BATCH):
        numbers = range(begin, min(urls, begin + BATCH))
        hosts = [address(n // PER_HOST) for n in numbers]
        yield pa.RecordBatch.from_pydict(
            {
                "url_id": [f"{n:032x}" for n in numbers],
                "request_url": [f"http://{host}/{n}.jpg" for host, n in zip(hosts, numbers, strict=True)],
                "try_number": pa.array([1] * len(numbers), pa.int32()),
                "boxes": pa.array([None] * len(numbers), pa.list_(pa.float64())),
                "alternate_url": pa.array([None] * len(numbers), pa.string()),
                "host": hosts,
                "origin": [f"http://{host}" for host in hosts],
                "share": pa.array([1] * len(numbers), pa.int32()),
            }
        )


def address(number: int) -> str:
    """An address of 10.0.0.0/8, which nobody may dial."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def anonymous_mb() -> float:
    """Memory of this process that is not mapped from a file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def run_lane(urls: int) -> None:
    """One lane; prints what it took."""
    from pipeline.core.parts import committed
    from pipeline.core.storage import open_storage
    from pipeline.stages.fetch.config import Config
    from pipeline.stages.fetch.image_lane import run_fetch_lane
    from pipeline.web.config import WebConfig

    most, stop = 0.0, threading.Event()

    def sample() -> None:
        nonlocal most
        while not stop.wait(0.2):
            most = max(most, anonymous_mb())

    web = WebConfig(contact="mailto:bench@pairmill.example")
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(folder)
        before, begun = anonymous_mb(), time.perf_counter()
        threading.Thread(target=sample, daemon=True).start()
        list(run_fetch_lane(to_ask(urls), storage, frozenset(), "key", Config(), web))
        seconds = time.perf_counter() - begun
        stop.set()
        rows = sum(part.stats["rows"] for part in committed(storage, "fetch"))
    if rows != urls:
        raise SystemExit(f"{rows} of {urls} URLs have a row")
    print(json.dumps({"urls": urls, "mb": round(most - before, 1), "urls_per_s": round(urls / seconds)}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--urls", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--lane", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.lane:
        run_lane(options.lane)
        return 0
    found = []
    for urls in options.urls:
        command = [sys.executable, __file__, "--lane", str(urls)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    growth = round(found[-1]["mb"] - found[0]["mb"], 1)
    print(
        json.dumps(
            {
                "benchmark": "lane_memory",
                "lanes": found,
                "growth_mb": growth,
                "goal": MOST_GROWTH_MB,
                "goal_met": growth <= MOST_GROWTH_MB,
                "cores": os.cpu_count(),
                "python": platform.python_version(),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
