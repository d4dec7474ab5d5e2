"""The server of the mini-web: real sockets on loopback, one port per host, with the faults that the site defines.

``python -m pipeline.smallweb.server --site DIR --log FILE`` prints one line, ``{"resolve": {HOST: "127.0.0.1:PORT"}}``,
when every port is open; this map is the value for ``web.resolve``. It ends on SIGTERM or when its standard input
closes, so it never runs longer than the process that started it.

The log has one JSON line per request, written before the answer: host, path with query, status (null if none is
sent), user agent, time (monotonic seconds). The host is that of the port, not that of the request's header.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import mimetypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NoReturn

from aiohttp import web

from pipeline.core.children import environment
from pipeline.core.errors import ErrorCode, StageError
from pipeline.smallweb.captions import languages
from pipeline.smallweb.pages import trap_page
from pipeline.smallweb.routes import AnyRoute, Busy, CutOff, Failure, Host, Redirect, Routes, Slow, Static, Trap

LOOPBACK = "127.0.0.1"
ENDING_S = 5.0  # time limit for a server to end

Log = IO[str]


class HostServer:
    """Answers the requests of one host."""

    def __init__(self, name: str, folder: Path, host: Host, log: Log) -> None:
        self.name = name
        self.folder = folder
        self.host = host
        self.log = log
        self.visits: Counter[str] = Counter()  # of paths with a Busy route

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer of the path's route; without a route, the file of that name."""
        route = self.host.find(request.path)
        match route:
            case Redirect(status=status, location=location):
                return self._logged(request, web.Response(status=status, headers={"Location": location}))
            case Failure(status=status):
                return self._logged(request, _error_page(status))
            case Trap(lang=lang):
                html = trap_page(request.path, languages()[lang], lang)
                return self._logged(request, web.Response(body=html, headers={"Content-Type": "text/html"}))
            case Busy(refusals=refusals, retry_after_s=wait) if self._visit(request.path) <= refusals:
                return self._logged(request, web.Response(status=429, headers={"Retry-After": str(wait)}))
            case Slow(drip_s=None):
                await self._silent(request)
            case Slow(drip_s=float(drip_s)):
                return await self._slow(request, drip_s)
            case CutOff():
                return await self._cut_off(request)
        return self._file(request, route)

    def _file(self, request: web.BaseRequest, route: AnyRoute | None) -> web.StreamResponse:
        data = self._read(request.path)
        if data is None:
            return self._logged(request, _error_page(404))
        headers = {"Content-Type": _content_type(request.path)}
        if isinstance(route, Static):
            headers |= route.headers
        return self._logged(request, web.Response(body=data, headers=headers))

    async def _silent(self, request: web.BaseRequest) -> NoReturn:
        """Ends only when the client closes the connection."""
        self._write_log(request, None)
        while True:
            await asyncio.Event().wait()

    async def _slow(self, request: web.BaseRequest, drip_s: float) -> web.StreamResponse:
        """Ends only when the client closes the connection."""
        response = web.StreamResponse(headers={"Content-Type": _content_type(request.path)})
        self._logged(request, response)
        await response.prepare(request)
        data = self._read(request.path) or b""
        with contextlib.suppress(ConnectionError):
            sent = 0
            while True:
                await response.write(data[sent : sent + 1] or b"\0")
                sent += 1
                await asyncio.sleep(drip_s)
        return response

    async def _cut_off(self, request: web.BaseRequest) -> web.StreamResponse:
        data = self._read(request.path) or b""
        response = web.StreamResponse(headers={"Content-Type": _content_type(request.path)})
        response.content_length = len(data)
        self._logged(request, response)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            await response.write(data[: len(data) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    def _read(self, path: str) -> bytes | None:
        """The file of a path; None if it does not exist or is outside the folder."""
        file = (self.folder / (path.lstrip("/") or "index.html")).resolve()
        return file.read_bytes() if file.is_relative_to(self.folder) and file.is_file() else None

    def _visit(self, path: str) -> int:
        self.visits[path] += 1
        return self.visits[path]

    def _logged(self, request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
        self._write_log(request, response.status)
        return response

    def _write_log(self, request: web.BaseRequest, status: int | None) -> None:
        line = {
            "host": self.name,
            "path": request.path_qs,
            "status": status,
            "user_agent": request.headers.get("User-Agent", ""),
            "time": time.monotonic(),
        }
        self.log.write(json.dumps(line) + "\n")


@contextlib.contextmanager
def serving(site: Path, log: Path) -> Iterator[dict[str, str]]:
    """Serve the site in its own process; yields host → "127.0.0.1:PORT".

    StageError ``demo_server_failed`` if the process ends before its ports are open.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.smallweb.server", "--site", str(site), "--log", str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ready = process.stdout.readline()
            if not ready:
                raise StageError(ErrorCode.DEMO_SERVER_FAILED, f"the demo's server ended before it served {site}")
            yield json.loads(ready)["resolve"]
        finally:
            process.stdin.close()
            try:
                process.wait(ENDING_S)
            except subprocess.TimeoutExpired:
                process.kill()


async def serve(site: Path, log: Log) -> None:
    """Serve until SIGTERM, SIGINT or the end of standard input."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    threading.Thread(target=_wait_for_end_of_input, args=(loop, ended), daemon=True).start()

    resolve = {}
    servers = []
    for name, host in Routes.read(site).hosts.items():
        answering = web.Server(HostServer(name, (site / name).resolve(), host, log).answer, handler_cancellation=True)
        listening = await loop.create_server(answering, LOOPBACK, 0, backlog=512)
        resolve[name] = f"{LOOPBACK}:{listening.sockets[0].getsockname()[1]}"
        servers.append((listening, answering))
    print(json.dumps({"resolve": resolve}), flush=True)

    await ended.wait()
    for listening, answering in servers:
        listening.close()
        await answering.shutdown(timeout=0.1)


def _wait_for_end_of_input(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    # A blocking read works for pipes, files and terminals; an event loop can wait only for pipes.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    with contextlib.suppress(RuntimeError):  # the loop ended first, by a signal
        loop.call_soon_threadsafe(ended.set)


def _content_type(path: str) -> str:
    return "text/html" if path.endswith("/") else mimetypes.guess_type(path)[0] or "application/octet-stream"


def _error_page(status: int) -> web.Response:
    html = f"<!doctype html><title>{status}</title><h1>{status}</h1>\n"
    return web.Response(status=status, body=html.encode(), headers={"Content-Type": "text/html"})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.smallweb.server", description=__doc__.partition("\n")[0])
    parser.add_argument("--site", type=Path, required=True, help="folder that the site generator wrote")
    parser.add_argument("--log", type=Path, required=True, help="file that gets one JSON line a request")
    arguments = parser.parse_args()
    with arguments.log.open("a", buffering=1, encoding="utf-8") as log:
        asyncio.run(serve(arguments.site, log))


if __name__ == "__main__":
    main()
