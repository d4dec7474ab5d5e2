"""A small run from nothing: a list of 90 image URLs through all stages, as a person waits for it.

The hosts are on loopback and answer at once. Measured are the whole command, each stage (from its manifest), the time
until the first image is requested (from the server's log), CPU seconds of all processes of the command, and the number
of Spark's jobs and tasks (from its event log): CPU seconds, jobs and tasks vary less than seconds on a busy machine.
Then the same command runs again, with nothing to do.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from tarfile import TarFile, TarInfo
from typing import Any

import numpy as np
from PIL import Image

from pipeline.core.manifest import read_manifest
from pipeline.core.storage import open_storage
from pipeline.funnel import STAGES
from pipeline.smallweb.image_web import serving_images

GOAL_S = 30.0
HOSTS = 18
POLL_S = 0.05
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
THINGS = ("lighthouse", "harbour", "bridge", "mountain", "garden", "market", "railway", "orchard", "castle")


def pictures(path: Path, count: int) -> None:
    """A tar of different pictures: each of a few coloured blocks."""
    with TarFile.open(path, "w") as tar:
        for number in range(count):
            blocks = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
            stream = BytesIO()
            Image.fromarray(blocks.repeat(40, 0).repeat(40, 1)).save(stream, "JPEG")
            member = TarInfo(f"{number}.jpg")
            member.size = stream.tell()
            stream.seek(0)
            tar.addfile(member, stream)


def write_list(path: Path, rows: int) -> None:
    """A CSV of image URLs with captions."""
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["url", "caption"])
        for n in range(rows):
            caption = f"the old {THINGS[n % len(THINGS)]} in the morning, seen from the tower number {n}"
            lines.writerow([f"http://img{n % HOSTS}.example/{n}.jpg", caption])


def note_cpu(session: int, seen: dict[int, float]) -> None:
    """Note in ``seen`` the CPU seconds that each process of a session has used so far."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            seen[int(pid)] = (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def run(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and CPU seconds of a command. Spark writes its event log into ``folder``."""
    (folder / "events").mkdir(exist_ok=True)
    options = {"enabled": "true", "dir": f"file:{folder}/events", "compress": "false", "rolling.enabled": "false"}
    lines = [f"spark.eventLog.{name} {value}\n" for name, value in options.items()]
    (folder / "spark-defaults.conf").write_text("".join(lines))
    environment = os.environ | {"SPARK_CONF_DIR": str(folder)}
    seen: dict[int, float] = {}
    begun = time.monotonic()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        while process.poll() is None:
            time.sleep(POLL_S)
            note_cpu(process.pid, seen)
        seconds = time.monotonic() - begun
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return seconds, sum(seen.values())


def jobs_of(folder: Path) -> dict[str, int]:
    """Spark's jobs and tasks, from the event log."""
    names = [json.loads(line)["Event"] for log in (folder / "events").iterdir() for line in log.open()]
    return {"jobs": names.count("SparkListenerJobStart"), "tasks": names.count("SparkListenerTaskEnd")}


def build(folder: Path, port: int) -> list[str]:
    """The command: a build of the list in ``folder`` on two cores."""
    settings = (
        f'extract.inputs=["{folder}/list.csv"]',
        "web.contact=mailto:bench@pairmill.example",
        'web.allow_networks=["127.0.0.0/8"]',
        f'web.resolve={{"*": "127.0.0.1:{port}"}}',
        "spark.master=local[2]",
    )
    sets = [word for setting in settings for word in ("--set", setting)]
    return [str(Path(sys.executable).with_name("pairmill")), "build", "--run", str(folder / "run"), *sets]


def measured(rows: int) -> dict[str, Any]:
    """A run in a folder of its own, and the same command again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures(folder / "images.tar", rows)
        write_list(folder / "list.csv", rows)
        log = folder / "requests.log"
        with serving_images([folder / "images.tar"], log=log) as port:
            begun = time.monotonic()
            seconds, cpu_s = run(build(folder, port), folder)
            first = json.loads(log.read_text().partition("\n")[0])["time"]
            jobs = jobs_of(folder)
            again_s, again_cpu_s = run(build(folder, port), folder)
        storage = open_storage(str(folder / "run"))
        manifests = [manifest for stage in STAGES if (manifest := read_manifest(storage, stage.name))]
    found = {"seconds": seconds, "first_request_s": first - begun, "cpu_s": cpu_s}
    found |= {"up_to_date_s": again_s, "up_to_date_cpu_s": again_cpu_s, **jobs, "pairs": manifests[-1].kept}
    return {**found, "stages": {manifest.stage: manifest.seconds for manifest in manifests}}


def median(rounds: list[dict[str, Any]], name: str) -> float:
    return round(statistics.median(found[name] for found in rounds), 1)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1, help="runs, of which the medians are printed")
    parser.add_argument("--rows", type=int, default=90)
    options = parser.parse_args()
    rounds = [measured(options.rows) for _ in range(options.rounds)]
    stages = [found["stages"] for found in rounds]
    print(
        json.dumps(
            {
                "benchmark": "small_run",
                "rows": options.rows,
                "rounds": options.rounds,
                **{name: median(rounds, name) for name in rounds[0] if name != "stages"},
                "goal_s": GOAL_S,
                "stages": {name: median(stages, name) for name in stages[0]},
                "cores": os.cpu_count(),
                "python": platform.python_version(),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
