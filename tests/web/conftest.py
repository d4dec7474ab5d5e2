"""A web on loopback: servers that send exactly the bytes a test wrote, and a client that may dial them."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from pipeline.web.client import Answer, Client, Want
from pipeline.web.config import WebConfig
from pipeline.web.netguard import NetGuard

Handler = Callable[["Request", asyncio.StreamWriter], Awaitable[bytes | None]]


@dataclass
class Request:
    path: str
    host: str
    head: bytes
    time: float


@dataclass
class LoopServer:
    """Answers each request with the bytes of ``answer`` (or what it returns), and closes unless told to keep."""

    answer: bytes | Handler
    keep: bool = False
    tls: object = None
    requests: list[Request] = field(default_factory=list)
    open_now: int = 0
    open_most: int = 0
    connections: int = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info):
        self._server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ")[1].decode()
                host = head.lower().split(b"host:")[1].split(b"\r")[0].strip().decode()
                request = Request(path, host, head, asyncio.get_running_loop().time())
                self.requests.append(request)
                self.open_now += 1
                self.open_most = max(self.open_most, self.open_now)
                try:
                    sent = self.answer if isinstance(self.answer, bytes) else await self.answer(request, writer)
                finally:
                    self.open_now -= 1
                if sent:
                    writer.write(sent)
                    await writer.drain()
                if not self.keep:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()

    @property
    def paths(self):
        return [request.path for request in self.requests]

    def times(self, path_part="", host=""):
        return [r.time for r in self.requests if path_part in r.path and r.host.startswith(host)]


def http(body=b"ok", status="200 OK", length=True, **headers):
    """One answer's bytes; ``X_Name=value`` becomes the header ``X-Name``."""
    lines = [f"HTTP/1.1 {status}"] + [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def web_config(port=None, **settings):
    """Every name leads to ``port`` on loopback, which may be dialled; waits are short."""
    if port is not None:
        settings.setdefault("resolve", {"*": f"127.0.0.1:{port}"})
    defaults = {
        "contact": "https://contact.example/",
        "allow_networks": ["127.0.0.0/8"],
        "connect_timeout_s": 2.0,
        "robots_timeout_s": 1.0,
        "robots_waits_s": [0.05, 0.05],
        "retry_waits_s": [0.02, 0.04],
        "rate_limit_default_s": 0.2,
        "rate_limit_max_s": 2.0,
        "connect_failures_pause_s": 0.1,
    }
    return WebConfig(**{**defaults, **settings})


def want(**settings):
    return Want(**{"accept": "*/*", "timeout_s": 3.0, "max_body_bytes": 100_000, **settings})


@pytest.fixture
def loop_server():
    return LoopServer


@pytest.fixture(name="http")
def http_fixture():
    return http


@pytest.fixture(name="web_config")
def web_config_fixture():
    return web_config


@pytest.fixture(name="want")
def want_fixture():
    return want


@pytest.fixture
def beside_server(loop_server):
    """``beside_server(answer, script, *arguments)``: what ``script`` prints, run as a process of its own beside a server
    whose port is its first argument."""

    def run(answer, script, *arguments):
        async def main():
            async with loop_server(answer, keep=True) as server:
                command = [sys.executable, "-c", script, str(server.port), *map(str, arguments)]
                process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1)
                out, err = await process.communicate()
                assert process.returncode == 0, err.decode()
                return out.decode(), server

        return asyncio.run(main())

    return run


@pytest.fixture
def ask():
    """``ask(answer, url)``: the Answer of one GET to a server, and that server."""

    def run(
        answer, url="http://site.example/a", *, web=None, lookup=None, tls=None, allow_hop=None, **settings
    ) -> tuple[Answer, LoopServer]:
        async def main():
            async with LoopServer(answer, tls=tls) as server:
                config = web_config(server.port, **(web or {}))
                guard = NetGuard(config, lookup) if lookup else None
                async with Client(config, guard) as client:
                    return await client.get(url.replace("PORT", str(server.port)), want(**settings), allow_hop), server

        return asyncio.run(main())

    return run
