"""A small web on loopback in a thread of its own, and a crawl of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.core.config import Field, Operate, StageConfig
from pipeline.core.manifest import Manifest
from pipeline.core.progress import Reporter
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.storage import Storage, open_storage
from pipeline.core.user_rules import UserRule
from pipeline.stages.crawl.stage import Crawl
from pipeline.web.config import WebConfig

HTML = {"Content-Type": "text/html; charset=utf-8"}


def page(*hrefs: str, head: str = "") -> bytes:
    links = "".join(f'<p><a href="{href}">x</a></p>' for href in hrefs)
    return f"<!doctype html><html><head>{head}<title>t</title></head><body>{links}</body></html>".encode()


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """The bytes of one answer; ``X_Name=value`` becomes ``X-Name``. HTML unless it says otherwise."""
    named = HTML | {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Length": len(body)}
    lines = [f"HTTP/1.1 {status}"] + [f"{name}: {value}" for name, value in named.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Request:
    host: str
    path: str
    head: bytes
    time: float


@dataclass
class SmallWeb:
    """Serves ``pages`` (URL → whole answer, or a function of the path below a URL that ends in *); 404 elsewhere."""

    pages: dict[str, bytes | Callable[[str], bytes]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    def asked(self, *, robots: bool = False) -> Counter[str]:
        """How often each URL was asked for."""
        return Counter(f"http://{r.host}{r.path}" for r in self.requests if robots or r.path != "/robots.txt")

    def _answer(self, url: str) -> bytes:
        found = self.pages.get(url)
        if found is None:
            prefixes = (name for name in self.pages if name.endswith("*") and url.startswith(name[:-1]))
            found = self.pages.get(next(prefixes, ""), response(b"nothing here", "404 Not Found"))
        return found(url) if callable(found) else found

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ")[1].decode()
                host = head.lower().split(b"host:")[1].split(b"\r")[0].strip().decode()
                self.requests.append(Request(host, path, head, time.monotonic()))
                writer.write(self._answer(f"http://{host}{path}"))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _listen(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()

    def __enter__(self) -> SmallWeb:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen(ready)), daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def config(self, **settings: object) -> WebConfig:
        """The way to this web and no other; waits are short."""
        return WebConfig(
            **{
                "contact": "crawl@contact.example",
                "resolve": {"*": f"127.0.0.1:{self.port}"},
                "allow_networks": ["127.0.0.0/8"],
                "robots_waits_s": [0.05],
                "retry_waits_s": [0.02],
                "rate_limit_default_s": 0.1,
                "connect_failures_pause_s": 0.05,
                **settings,
            }
        )


class Tree(StageConfig):
    """A config of this stage alone."""

    crawl: Operate[Crawl.Config] = Crawl.Config()
    web: Operate[WebConfig] = WebConfig()
    spark: Operate[SparkConfig] = SparkConfig()
    rules: Operate[list[UserRule]] = Field([], description="the user's")


@dataclass
class Result:
    """One build of the stage. Its rows are read at once: the next build replaces their files."""

    run: Run
    manifest: Manifest
    rows: list[dict] = field(init=False)

    def __post_init__(self) -> None:
        files = self.manifest.files["rows"]
        self.rows = [row for file in files for row in pq.read_table(self.run.storage.path(file.path)).to_pylist()]

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome of each page URL, but for the rows that count other spellings."""
        return {row["page_url"]: row["outcome"] for row in self.rows if row["outcome"] != "duplicate_url"}

    @property
    def warcs(self) -> list[Path]:
        return [self.run.storage.path(file.path) for file in self.manifest.files["warc"]]


def build(web: SmallWeb, storage: Storage, retry_failed: bool, web_settings: dict, settings: dict) -> Result:
    crawl_config = Crawl.Config(**{"delay_s": 0.0, "timeout_s": 5.0, "lanes": 2, **settings})
    tree = Tree(crawl=crawl_config, web=web.config(**web_settings))
    stage = Crawl()
    run = Run(storage, tree, {"crawl": stage}, Reporter(quiet=True), retry_failed)
    with open_for_writing(run):
        stage.check(run.context("crawl"))
        return Result(run, run_stage(stage, run))


@pytest.fixture
def small_web() -> Iterator[SmallWeb]:
    with SmallWeb() as web:
        yield web


@pytest.fixture
def crawl(small_web, spark, tmp_path) -> Callable[..., Result]:
    """``crawl(seeds=..., ...)``: a build of the stage alone in a run of this test's; web settings as ``web={...}``."""

    def run(storage: Storage | None = None, retry_failed: bool = False, web: dict | None = None, **settings) -> Result:
        return build(small_web, storage or open_storage(str(tmp_path / "run")), retry_failed, web or {}, settings)

    return run


@pytest.fixture(scope="session")
def crawled_once(spark, tmp_path_factory) -> Callable[..., tuple[Result, SmallWeb]]:
    """``crawled_once(pages, seeds=...)``: a result and the web that was asked, for several tests to look at."""

    def run(pages: dict[str, bytes], **settings: object) -> tuple[Result, SmallWeb]:
        with SmallWeb(pages) as web:
            return build(web, open_storage(str(tmp_path_factory.mktemp("crawl"))), False, {}, settings), web

    return run


@pytest.fixture(scope="session", name="page")
def page_fixture() -> Callable[..., bytes]:
    return page


@pytest.fixture(scope="session", name="response")
def response_fixture() -> Callable[..., bytes]:
    return response
