"""A small web of pictures on loopback, served from a thread so that Spark's workers can ask it."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from aiohttp import web
from PIL import Image


def picture(seed: int, width: int = 96, height: int = 80, format_: str = "JPEG") -> bytes:
    """A picture with something on it, another one for each seed."""
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, format_)
    return stream.getvalue()


class ImageHosts:
    """Answers by path: ``pages[path]`` is (status, headers, body); any other path is a picture of its own, a small JPEG.

    ``log`` has "host path" of every request but those for robots.txt; ``robots[host]`` is that host's robots.txt.
    """

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.robots: dict[str, str] = {}
        self.wait_s: dict[str, float] = {}
        self.log: list[str] = []
        self.asked_robots: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def clear(self) -> None:
        for kept in (self.pages, self.robots, self.wait_s, self.log, self.asked_robots):
            kept.clear()

    @property
    def asked(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(line.split(" ")[1] for line in self.log)

    async def _listen(self) -> int:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return self._runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.Response:
        if request.path == "/robots.txt":
            self.asked_robots.append(request.host)
            rules = self.robots.get(request.host)
            return web.Response(text=rules) if rules is not None else web.Response(status=404)
        self.log.append(f"{request.host} {request.path}")
        await asyncio.sleep(self.wait_s.get(request.path, 0))
        status, headers, body = self.pages.get(request.path, (200, {"Content-Type": "image/jpeg"}, b""))
        if status == 200 and not body:
            body = picture(sum(request.path.encode()))
        return web.Response(status=status, headers=headers, body=body)


@pytest.fixture(scope="session")
def _hosts() -> Iterator[ImageHosts]:
    hosts = ImageHosts()
    hosts.start()
    yield hosts
    hosts.stop()


@pytest.fixture
def hosts(_hosts: ImageHosts) -> ImageHosts:
    _hosts.clear()
    return _hosts


@pytest.fixture(name="picture", scope="session")
def picture_fixture():
    return picture
