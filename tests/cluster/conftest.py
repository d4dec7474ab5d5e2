"""A standalone Spark cluster on loopback whose workers have a Python without any package of ours.

`make test-cluster` builds what these tests take: dist/env.tar.gz, and Spark 3.5 beside the Spark of this environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pyspark
import pytest
from checkout import ROOT

from pipeline.smallweb.server import serving
from pipeline.smallweb.site import Quarter, SiteSpec, build_site

ARCHIVE = ROOT / "dist" / "env.tar.gz"
HOMES = {
    "4.3": Path(pyspark.__file__).parent,
    "3.5": ROOT / ".venv" / "spark-3.5" / "pyspark",
}
WORKERS = 2
STARTED_S, SUBMITTED_S = 120, 1800
SHORT_LIVED_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

QUARTER = Quarter(hosts=2, scenes=60, defects_each=2, wrong_captions=2, slow=0, rate_limited=1)
SPEC = SiteSpec((QUARTER,), seed=3, concepts=40, images_per_page=6)


def eventually(condition: Callable[[], Any], within_s: float, what: str) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s} s: {what}")


def process_tree(root: int) -> list[int]:
    """A process and all below it."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = defaultdict(list)
    for line in table.splitlines():
        pid, parent = map(int, line.split())
        children[parent].append(pid)
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def kill_tree(root: int) -> None:
    """SIGKILL for a process and all below it, as when a machine goes."""
    for pid in process_tree(root):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@dataclass
class Cluster:
    """A master and workers of one Spark, and the way to give them work."""

    GIVEN: ClassVar = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.executor.cores": "1",
        "spark.executor.memory": "640m",
        "spark.driver.memory": "1g",
        "spark.executor.extraJavaOptions": SHORT_LIVED_JVM,
        "spark.sql.execution.arrow.maxRecordsPerBatch": "500",
    }

    home: Path
    folder: Path
    driver_python: Path
    master: str = ""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What a process on this cluster is given: nothing of the environment that runs the tests, but for Java."""
        java = {"JAVA_HOME": os.environ["JAVA_HOME"]} if "JAVA_HOME" in os.environ else {}
        return java | {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "SPARK_HOME": str(self.home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self.folder / "local"),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": SHORT_LIVED_JVM,
            "SPARK_SUBMIT_OPTS": SHORT_LIVED_JVM,
            "TZ": "America/New_York",  # not the driver's
        }

    def start(self, stack: ExitStack) -> None:
        """Start the master, then the workers; all end with ``stack``."""
        self._stack = stack
        log = self.folder / "master.log"
        self._daemon(log, "master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        said = r"Starting Spark master at (spark://\S+)"
        self.master = eventually(lambda: re.search(said, log.read_text()), STARTED_S, "a master")[1]
        for _ in range(WORKERS):
            self.start_worker()

    def start_worker(self) -> None:
        """One more worker, with one core and a work folder of its own; returns when the master knows it."""
        number = len(self.workers)  # dead ones count
        log, work = self.folder / f"worker{number}.log", self.folder / f"work{number}"
        options = [
            "--host",
            "127.0.0.1",
            "--cores",
            "1",
            "--memory",
            "1g",
            "--webui-port",
            "0",
            "--work-dir",
            str(work),
        ]
        self.workers.append(self._daemon(log, "worker.Worker", *options, self.master))
        eventually(lambda: "Successfully registered" in log.read_text(), STARTED_S, f"worker {number}")

    def _daemon(self, log: Path, name: str, *options: str) -> subprocess.Popen[bytes]:
        command = [str(self.home / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *options]
        process = subprocess.Popen(
            command, env=self.environment, cwd=self.folder, stdout=log.open("wb"), stderr=subprocess.STDOUT
        )
        self._stack.callback(process.wait)
        self._stack.callback(kill_tree, process.pid)
        return process

    def kill_worker(self) -> None:
        """SIGKILL for the newest worker, its executor and their Python."""
        kill_tree(self.workers[-1].pid)

    def submit(self, script: Path, *arguments: str, python: str = "./env/bin/python") -> subprocess.Popen[str]:
        """`spark-submit` in client mode, as docs/cluster.md has it."""
        confs = [word for key, value in self.GIVEN.items() for word in ("--conf", f"{key}={value}")]
        command = [
            str(self.home / "bin" / "spark-submit"),
            "--master",
            self.master,
            "--name",
            "pairmill",
            "--archives",
            f"{ARCHIVE}#env",
            *confs,
            str(script),
            *arguments,
        ]
        environment = self.environment | {
            "PYSPARK_PYTHON": python,
            "PYSPARK_DRIVER_PYTHON": str(self.driver_python),
            "TZ": "Asia/Tokyo",
        }
        return subprocess.Popen(
            command,
            env=environment,
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "driver.log").open("w"),
        )

    def finish(self, driver: subprocess.Popen[str], exit_code: int = 0) -> str:
        """Wait for a driver that must end in this way; what it printed. Its unpacked environments are removed.

        spark-submit joins the driver's two streams to one.
        """
        said, _ = driver.communicate(timeout=SUBMITTED_S)
        for unpacked in self.folder.glob("work*/app-*"):
            shutil.rmtree(unpacked, ignore_errors=True)
        assert driver.returncode == exit_code, (said + self.driver_log)[-3000:]
        return said

    @property
    def driver_log(self) -> str:
        """What Spark said of the last driver."""
        return (self.folder / "driver.log").read_text()


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """`eventually`, for tests."""
    return eventually


@pytest.fixture(scope="session")
def archive() -> Path:
    """The packed environment."""
    assert ARCHIVE.is_file(), f"{ARCHIVE} is not there: run make test-cluster"
    return ARCHIVE


@pytest.fixture(scope="session")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The archive, unpacked for the driver."""
    folder = tmp_path_factory.mktemp("env")
    shutil.unpack_archive(archive, folder)  # bin/python is a link out of it
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=list(HOMES))
def cluster(
    request: pytest.FixtureRequest, unpacked: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A running cluster of each Spark."""
    home = HOMES[request.param]
    assert home.is_dir(), f"{home} is not there: run make test-cluster"
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder / "local", ignore_errors=True)  # what killed executors left
        started = Cluster(home, folder, unpacked / "bin" / "python")
        started.start(stack)
        yield started


@dataclass(frozen=True)
class ServedWeb:
    """A small web, and what a build of it says on the command line."""

    seeds: list[str]
    resolve: dict[str, str]
    log: Path
    checkpoint: Path

    def build_arguments(self, run: Path) -> list[str]:
        settings = {
            "web.resolve": self.resolve,
            "crawl.seeds": self.seeds,
            "fetch.part_images": 10,
            "export.shard_size": 20,
            "clip.model": str(self.checkpoint),
            "clip.min_score": -1,
            "clip.device": "cpu",
            "fetch.rate_per_host": 10,
            "spark.partitions": 4,
        }
        sets = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
        return ["--run", str(run), "--preset", "demo", *sets]

    def requests(self) -> Counter[tuple[str, str]]:
        """How often each (host, path) was asked for so far."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
        return Counter((line["host"], line["path"]) for line in lines)


@pytest.fixture(scope="session")
def web(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedWeb]:
    """The small web; the model has random weights, so that clip runs as well."""
    folder = tmp_path_factory.mktemp("web")
    site = build_site(SPEC, folder / "site")
    with serving(site.folder, folder / "server.log") as resolve:
        yield ServedWeb(site.seeds, resolve, folder / "server.log", checkpoint)


@pytest.fixture(scope="session")
def local_run(web: ServedWeb, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same build on local[2], in this environment."""
    run = tmp_path_factory.mktemp("local") / "run"
    command = [sys.executable, "-m", "jobs.cli", "build", *web.build_arguments(run), "--set", "spark.master=local[2]"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SUBMITTED_S, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return run
