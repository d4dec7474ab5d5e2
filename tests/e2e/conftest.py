"""A small web on loopback, builds from it in this process and in processes of their own, and what they leave on disk.

One run is built in full and copied by every test that goes on from it: a crawl costs more than all its tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from pipeline import funnel
from pipeline.core.config_files import load_config
from pipeline.core.manifest import Manifest
from pipeline.core.progress import Reporter
from pipeline.core.run import Run
from pipeline.smallweb.server import serving
from pipeline.smallweb.site import Quarter, SiteSpec, build_site, seed_urls

QUARTER = Quarter(hosts=3, scenes=70, defects_each=5, wrong_captions=5, slow=2, rate_limited=1)
SPEC = SiteSpec((QUARTER,), seed=7, concepts=60, images_per_page=6)
STAGES = tuple(stage.name for stage in funnel.STAGES)
PATIENCE_S = 300.0
POLL_S = 0.002
SMALL_JOBS = {"SPARK_CONF_DIR"}  # tests/conftest.py

Condition = Callable[[], object]


@dataclass(frozen=True)
class SmallWeb:
    """The served site, and the way to ask what was asked of it."""

    site: Path
    log: Path
    resolve: dict[str, str]
    seeds: list[str] = field(default_factory=list)

    def requests(self) -> list[tuple[str, str]]:
        """(host, path) of every request so far, robots.txt left out."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [(line["host"], line["path"]) for line in lines if line["path"] != "/robots.txt"]

    def settings(self, checkpoint: Path) -> dict[str, Any]:
        """What a run on this web needs. Every stage is on; the random model keeps all pairs."""
        return {
            "web.resolve": self.resolve,
            "crawl.seeds": self.seeds,
            "crawl.max_depth": 4,  # every page is within three; beyond that there are only traps
            "dedup.placeholder_images": 4,
            "dedup.placeholder_captions": 4,  # five are planted
            "clip.model": str(checkpoint),
            "clip.min_score": -1.0,
            "export.shard_size": 20,
        }


@pytest.fixture(scope="session")
def small_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallWeb]:
    folder = tmp_path_factory.mktemp("web")
    site = build_site(SPEC, folder / "site").folder
    with serving(site, folder / "server.log") as resolve:
        yield SmallWeb(site, folder / "server.log", resolve, seed_urls(site))


@pytest.fixture(scope="session")
def settings(small_web: SmallWeb, checkpoint: Path) -> dict[str, Any]:
    """What every run on the small web is given."""
    return small_web.settings(checkpoint)


def as_sets(settings: dict[str, Any]) -> list[str]:
    """For --set; a setting that is None is not given."""
    return [f"{key}={json.dumps(value)}" for key, value in settings.items() if value is not None]


Build = Callable[..., tuple[Run, dict[str, Manifest]]]


@pytest.fixture(scope="session")
def build(settings: dict[str, Any], spark: object) -> Build:
    """build(folder, {"text.min_chars": 8}) brings a run on the small web up to date inside this process."""

    def build_run(
        folder: Path, changed: dict[str, Any] | None = None, **options: Any
    ) -> tuple[Run, dict[str, Manifest]]:
        config = load_config(funnel.Config, preset="demo", sets=as_sets(settings | (changed or {})))
        run = funnel.open_run(str(folder), config, Reporter(quiet=True), options.pop("retry_failed", False))
        return run, {manifest.stage: manifest for manifest in funnel.build(run, **options)}

    return build_run


@pytest.fixture(scope="session")
def built(build: Build, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, Manifest]]:
    """The undisturbed run. Read it; what changes a run belongs on a copy."""
    return build(tmp_path_factory.mktemp("undisturbed") / "run")


@pytest.fixture(scope="session")
def folder(built: tuple[Run, dict[str, Manifest]]) -> Path:
    return Path(built[0].storage.root)


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """copied("fetch"): a new run that has done what the undisturbed one did up to that stage (without one: all)."""

    def copy(until: str = STAGES[-1], name: str = "copy") -> Path:
        to = shutil.copytree(folder, tmp_path / name)
        for stage in STAGES[STAGES.index(until) + 1 :]:
            shutil.rmtree(to / stage)
        if until != STAGES[-1]:
            shutil.rmtree(to / "corpus")
        return to

    return copy


def corpus_digests(folder: Path) -> list[str]:
    """sha256 of every shard file, in order."""
    shards = json.loads((folder / "corpus/manifest.json").read_text())["shards"]
    return [file["sha256"] for shard in shards for _, file in sorted(shard["files"].items())]


@pytest.fixture(scope="session")
def digests() -> Callable[[Path], list[str]]:
    return corpus_digests


class BuildProcess:
    """`pairmill build` as a process of its own, the leader of a session of its own, seen from outside."""

    def __init__(self, folder: Path, settings: dict[str, Any], as_users_do: bool) -> None:
        sets = [word for setting in as_sets(settings) for word in ("--set", setting)]
        command = [sys.executable, "-m", "jobs.cli", "build", "--run", str(folder), "--preset", "demo", *sets]
        self.folder = folder
        self.log = folder.with_name(f"{folder.name}.{time.monotonic_ns()}.log")
        self.begun_s = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--log", "json"],
                stdout=log,
                stderr=log,
                env={name: value for name, value in os.environ.items() if not (as_users_do and name in SMALL_JOBS)},
                start_new_session=True,
            )

    def wait_for(self, condition: Condition) -> None:
        """Until the condition holds; AssertionError where the build ends before that."""
        while not condition():
            assert self.process.poll() is None, f"ended with {self.process.returncode} before it: {self.said()}"
            assert time.monotonic() < self.begun_s + PATIENCE_S, f"not within {PATIENCE_S} s: {self.said()}"
            time.sleep(POLL_S)

    def kill(self) -> None:
        """As the OOM killer ends it: -9, to the driver alone. Returns when nothing that it started is left."""
        self.process.kill()
        self.process.wait()
        self.wait_until_alone()

    def wait_until_alone(self, within_s: float = 30.0) -> None:
        """Until no process of its session is left."""
        deadline_s = time.monotonic() + within_s
        while left := session_members(self.process.pid):
            assert time.monotonic() < deadline_s, f"{len(left)} processes are left after {within_s} s"
            time.sleep(0.02)

    def has_ended(self, stage: str) -> bool:
        """Whether it has said what became of that stage."""
        return f'"stage": "{stage}"' in self.said()

    def members(self, of: bytes = b"") -> list[int]:
        """The processes of its session whose command line contains ``of``."""
        return session_members(self.process.pid, of)

    def jvm(self) -> int:
        """Spark's JVM; 0 while there is none."""
        return max(self.members(b"org.apache.spark.deploy.SparkSubmit"), default=0)

    def python_workers(self) -> list[int]:
        """Spark's Python workers, without the daemon that forks them."""
        python = self.members(b"pyspark.worker")  # the last word of the daemon's command line, and of theirs
        return [pid for pid in python if parent(pid) in python]

    def finish(self) -> float:
        """Wait for the end, which must be a good one; seconds since the start."""
        assert self.process.wait(PATIENCE_S) == 0, self.said()
        return time.monotonic() - self.begun_s

    def said(self) -> str:
        """What stands on stdout and stderr."""
        return self.log.read_text()

    def lines_for_people(self) -> list[str]:
        """What stands there besides the JSON lines of progress."""
        return [line for line in self.said().splitlines() if not line.startswith("{")]

    def end(self) -> None:
        """Whatever is left of it goes."""
        for pid in session_members(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def session_members(session: int, of: bytes = b"") -> list[int]:
    """Living processes of a session whose command line contains ``of`` (Linux)."""
    members = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, of_session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(of_session) == session and state != "Z" and of in (process / "cmdline").read_bytes():
                members.append(int(process.name))
    return members


def parent(pid: int) -> int | None:
    """The process that started it; None where it is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


@pytest.fixture
def start(settings: dict[str, Any]) -> Iterator[Callable[..., BuildProcess]]:
    """start(folder, {"text.min_chars": 8}) starts a build on the small web; what is left of it ends with the test.

    It plans for small jobs, or ``as_users_do``.
    """
    started: list[BuildProcess] = []
    # A shell that runs tests in the background has them, and all they start, ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def start_build(folder: Path, changed: dict[str, Any] | None = None, as_users_do: bool = False) -> BuildProcess:
        given = {"spark.master": "local[2]", "spark.partitions": 2} | settings | (changed or {})
        started.append(BuildProcess(folder, given, as_users_do))
        return started[-1]

    yield start_build
    signal.signal(signal.SIGINT, before)
    for building in started:
        building.end()


class OnDisk:
    """A run's folder as whoever looks into it sees it, at any moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def parts(self, stage: str) -> list[Path]:
        """Commit records."""
        return list((self.folder / stage / "parts").glob("*.json"))

    def has_result(self, stage: str) -> bool:
        return (self.folder / stage / "manifest.json").exists()

    def has_rows(self, stage: str) -> bool:
        """Whether measured rows lie there already, counted or not."""
        return any((self.folder / stage / "rows").glob("*.parquet"))

    def answered(self, stage: str) -> set[str]:
        """URLs whose answer stands in a committed part of fetch or crawl."""
        column = {"fetch": "request_url", "crawl": "page_url"}[stage]
        records = [json.loads(record.read_text()) for record in self.parts(stage)]
        rows = [str(self.folder / record["files"]["rows"]["path"]) for record in records]
        return set(ds.dataset(rows).to_table([column])[column].to_pylist()) if rows else set()

    def images(self) -> dict[str, tuple[str, str | None, str | None]]:
        """What fetch's result says of each image URL: outcome, sha256 as served and as stored."""
        files = self._json("fetch/manifest.json")["files"]["rows"]
        columns = ["request_url", "outcome", "sha256", "image_sha256"]
        table = ds.dataset([str(self.folder / file["path"]) for file in files]).to_table(columns)
        return {url: (outcome, *hashes) for url, outcome, *hashes in zip(*table.to_pydict().values(), strict=True)}

    def assert_whole(self) -> None:
        """Every manifest and commit record lists whole files only; the corpus is absent, or all of it is there."""
        listed = []
        for stage in STAGES:
            if self.has_result(stage):
                listed += chain.from_iterable(self._json(f"{stage}/manifest.json")["files"].values())
            for record in self.parts(stage):
                listed += json.loads(record.read_text())["files"].values()
        if (self.folder / "corpus").exists():
            for shard in self._json("corpus/manifest.json")["shards"]:
                listed += [{"path": f"corpus/{shard['name']}.{kind}", **file} for kind, file in shard["files"].items()]
        for file in listed:
            data = (self.folder / file["path"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"]), file["path"]

    def _json(self, path: str) -> dict[str, Any]:
        return json.loads((self.folder / path).read_text())


@pytest.fixture(scope="session")
def on_disk() -> type[OnDisk]:
    return OnDisk
