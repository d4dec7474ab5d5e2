"""An object store and a small web, both on loopback. The store is moto's, which refuses a second conditional PUT as S3 does."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.core.storage import ObjectStorage, Storage, open_storage
from pipeline.smallweb.server import serving
from pipeline.smallweb.site import Quarter, SiteSpec, build_site, seed_urls

SECRET = "only-for-loopback"


@dataclass(frozen=True)
class Server:
    """The server, what was asked of it, and its buckets."""

    port: int
    log: Path

    def request(self, method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status < 300, data
        return data

    def bucket(self) -> str:
        """A new bucket, as a URL."""
        name = f"b{uuid.uuid4().hex}"
        self.request("PUT", f"/{name}")
        return f"s3://{name}"

    def asked(self, text: str) -> int:
        """How many requests so far have this in their first line."""
        return len(re.findall(re.escape(text), self.log.read_text()))

    def unfinished_uploads(self, bucket: str) -> int:
        return self.request("GET", f"/{bucket.removeprefix('s3://')}?uploads").count(b"<Upload>")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Started once; the environment says where it is, as a person's would."""
    log = tmp_path_factory.mktemp("moto") / "server.log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        _wait_for(port, process)
        with pytest.MonkeyPatch.context() as environment:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                environment.delenv(name)
            environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            environment.setenv("AWS_ACCESS_KEY_ID", "tester")
            environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            environment.setenv("NO_PROXY", "127.0.0.1")
            yield Server(port, log)
    finally:
        process.kill()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture
def bucket(server: Server) -> str:
    return server.bucket()


@pytest.fixture
def store(bucket: str) -> ObjectStorage:
    return ObjectStorage.at(f"{bucket}/runs/one")


@pytest.fixture(params=["folder", "store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A place for a run of either kind: what holds for one holds for the other."""
    if request.param == "folder":
        return open_storage(str(tmp_path / "run"))
    return open_storage(f"{request.getfixturevalue('server').bucket()}/runs/one")


@dataclass(frozen=True)
class Web:
    """A handful of pages on loopback, and what was asked of them."""

    log: Path
    settings: tuple[str, ...]  # for --set

    def asked(self) -> list[str]:
        """host and path of every request so far, robots.txt left out."""
        lines = map(json.loads, self.log.read_text().splitlines())
        return [f"{line['host']}{line['path']}" for line in lines if line["path"] != "/robots.txt"]


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("web")
    quarter = Quarter(hosts=2, scenes=24, defects_each=1, wrong_captions=1, slow=0, rate_limited=0)
    site = build_site(SiteSpec((quarter,), seed=3, concepts=30, images_per_page=4), folder / "site").folder
    with serving(site, folder / "server.log") as resolve:
        settings = {
            "web.resolve": resolve,
            "crawl.seeds": seed_urls(site),
            "crawl.max_depth": 3,
            "crawl.part_pages": 20,
            "fetch.part_images": 5,
            "export.shard_size": 8,
            "spark.master": "local[2]",
            "spark.partitions": 2,
        }
        yield Web(folder / "server.log", tuple(f"{key}={json.dumps(value)}" for key, value in settings.items()))
