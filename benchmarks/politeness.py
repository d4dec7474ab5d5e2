"""No host sees more than its share: the server's log of fetches over 1, 2 and 8 lanes, and of one whose worker dies.

Thirteen hosts on one loopback server, one of them with half of all images; each may be asked RATE times a second over
PER_HOST connections. Every fetch is a Spark job on local[8] with as many tasks as lanes; speculation is off. In the
last one a Python worker is killed with SIGKILL while it asks; Spark starts its task again. Of each log this takes, over
all hosts, the most requests within any second, and the most requests open at one time. A second that begins with a
request may hold one more than the rate; where a worker died, one lane's connections may still be open as it returns.

Prints one JSON line and exits with 1 where a host saw more.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from tarfile import TarFile, TarInfo
from typing import Any

import numpy as np
from PIL import Image
from pyspark.sql import SparkSession

from pipeline.core.parts import committed
from pipeline.core.progress import Reporter
from pipeline.core.run import Run
from pipeline.core.spark import SparkConfig, spark_session
from pipeline.core.storage import open_storage
from pipeline.funnel import STAGES, Config
from pipeline.smallweb.image_web import serving_images
from pipeline.stages.fetch.spread import TO_ASK
from pipeline.stages.fetch.stage import fetch_all

HOSTS, IMAGES = 13, 360
RATE, PER_HOST = 20.0, 3
WAIT_S = 0.2  # of an answer: four are due in it, so that connections are the tighter limit
LANES = (1, 2, 8)


def pictures(path: Path) -> None:
    """A tar of a few small pictures."""
    with TarFile.open(path, "w") as tar:
        for number in range(8):
            levels = np.random.default_rng(number).integers(0, 256, (72, 96, 3), dtype=np.uint8)
            stream = BytesIO()
            Image.fromarray(levels).save(stream, "JPEG")
            member = TarInfo(f"{number}.jpg")
            member.size = stream.tell()
            stream.seek(0)
            tar.addfile(member, stream)


def fetch(spark: SparkSession, folder: Path, port: int, lanes: int) -> int:
    """Fetch all images into a run of its own; how many have a row."""
    config = Config.model_validate(
        {
            "web": {
                "contact": "mailto:bench@pairmill.example",
                "allow_networks": ["127.0.0.0/8"],
                "resolve": {"*": f"127.0.0.1:{port}"},
            },
            "fetch": {"rate_per_host": RATE, "per_host": PER_HOST, "lanes": lanes, "part_images": 20},
        }
    )
    run = Run(open_storage(str(folder)), config, {stage.name: stage for stage in STAGES}, Reporter(quiet=True))
    hosts = [n // 2 % (HOSTS - 1) + 1 if n % 2 else 0 for n in range(IMAGES)]
    rows = [(f"{n:032x}", f"http://img{host}.example/{n}.jpg", 1, None, None) for n, host in enumerate(hosts)]
    fetch_all(spark.createDataFrame(rows, TO_ASK), [], run.context("fetch", "key"))
    return sum(part.stats["rows"] for part in committed(run.storage, "fetch"))


def kill_a_worker(stopped: threading.Event, log: Path, port: int) -> None:
    """Kill the Python worker of a lane while it asks."""
    while not stopped.is_set():
        if len(log.read_text().splitlines()) > IMAGES // 4 and (workers := asking(port)):
            os.kill(workers[0], signal.SIGKILL)
            return
        time.sleep(0.02)


def asking(port: int) -> list[int]:
    """Processes with a connection to ``port``, but the one that listens there."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"}
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if sockets & set(descriptors(pid))]


def descriptors(pid: int) -> list[str]:
    """What the open files of a process are; none where it is gone or another's."""
    found = []
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            found.append(os.readlink(link))
    return found


def seen(log: Path) -> dict[str, Any]:
    """The most that any host saw: requests within a second, and open at one time."""
    times: dict[str, list[float]] = defaultdict(list)
    most_open, requests = 0, 0
    for line in map(json.loads, log.read_text().splitlines()):
        times[line["host"]].append(line["time"])
        most_open, requests = max(most_open, line["open"]), requests + 1
    within = max(int(np.max(np.searchsorted(at, np.array(at) + 1.0) - np.arange(len(at)))) for at in times.values())
    return {"requests": requests, "most_in_a_second": within, "most_open": most_open}


def main() -> int:
    spark = spark_session(SparkConfig(master="local[8]"))
    found, fair = [], True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures(folder / "images.tar")
        for lanes, killed in [*((lanes, False) for lanes in LANES), (LANES[-1], True)]:
            log = folder / f"{lanes}{killed}.log"
            log.touch()
            stopped = threading.Event()
            with serving_images([folder / "images.tar"], log=log, wait_s=WAIT_S) as port:
                if killed:
                    threading.Thread(target=kill_a_worker, args=(stopped, log, port)).start()
                begun = time.perf_counter()
                rows = fetch(spark, folder / f"run{lanes}{killed}", port, lanes)
                seconds = time.perf_counter() - begun
                stopped.set()
            share = seen(log) | {"lanes": lanes, "worker_killed": killed, "rows": rows, "seconds": round(seconds, 1)}
            fair &= share["most_in_a_second"] <= RATE + 1 and share["most_open"] <= PER_HOST * (1 + killed)
            fair &= rows == IMAGES and (share["requests"] > IMAGES) == killed
            found.append(share)
    spark.stop()
    print(
        json.dumps(
            {
                "benchmark": "politeness",
                "hosts": HOSTS,
                "images": IMAGES,
                "rate_per_host": RATE,
                "per_host": PER_HOST,
                "speculation": False,
                "kept_by_all": bool(fair),
                "seen": found,
                "cores": os.cpu_count(),
                "python": platform.python_version(),
            }
        )
    )
    return 0 if fair else 1


if __name__ == "__main__":
    sys.exit(main())
