"""Images of tars over HTTP(S) on loopback, with faults on request: the web of tests and benchmarks of fetch.

    python -m pipeline.smallweb.image_web [--faults SHARE] [--wait SECONDS] [--log FILE] [--tls CERT KEY] TAR...

Answers ``/N.jpg`` under any host name with image N of the tars (N modulo their number), after SECONDS. Of every
hundred addresses, about ``100 * SHARE`` answer with a fault instead, always the same one (`fault_of`). Prints one
line, the port, and ends when standard input ends. The log has one JSON line per request, except robots.txt: host, path,
time (monotonic seconds) and the number of open requests at that host when this one came, itself included.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import io
import json
import ssl
import subprocess
import sys
import tarfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from pipeline.core.children import environment

IMAGES = (".jpg", ".jpeg", ".png")
TYPES = {b"\xff\xd8": b"image/jpeg", b"\x89P": b"image/png"}


class Fault(StrEnum):
    """What is wrong with an address."""

    SILENT = "silent"  # never answers
    SLOW = "slow"  # one byte per quarter of a second
    ENDLESS = "endless"
    TRUNCATED = "truncated"
    MISSING = "missing"
    LIMITED = "limited"  # 429 once, then the image
    MOVED = "moved"  # two redirects, then the image
    LOOP = "loop"
    PIXEL_BOMB = "pixel_bomb"
    GZIP_BOMB = "gzip_bomb"
    HTML = "html"


def fault_of(number: int, share: float) -> Fault | None:
    """The fault of address ``number``: the same for every server and test."""
    draw = zlib.crc32(b"image %d" % number)
    return list(Fault)[draw // 10_000 % len(Fault)] if draw % 10_000 < 10_000 * share else None


def images_of(tars: list[str]) -> list[bytes]:
    """The images of the tars, in their order."""
    found = []
    for path in tars:
        with tarfile.open(path) as tar:
            members = [member for member in tar if member.name.lower().endswith(IMAGES)]
            found += [stream.read() for member in members if (stream := tar.extractfile(member))]
    return found


def answer(status: str, body: bytes = b"", *headers: bytes, length: int | None = None) -> bytes:
    """One complete answer."""
    fields = b"".join(header + b"\r\n" for header in headers)
    size = len(body) if length is None else length
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status.encode(), size, fields, body)


def pixel_bomb() -> bytes:
    """A PNG of a few kilobytes that claims 19,000 pixels squared."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (19_000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    pixels = zlib.compress(b"\0" * (19_000 * 2_376), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class ImageWeb:
    """Answers by number; see the module."""

    def __init__(self, images: list[bytes], faults: float, wait_s: float, log: io.TextIOBase | None) -> None:
        self._answers = [answer("200 OK", image, b"Content-Type: " + TYPES[image[:2]]) for image in images]
        self._faults, self._wait_s, self._log = faults, wait_s, log
        self._bombs = {
            Fault.PIXEL_BOMB: answer("200 OK", pixel_bomb(), b"Content-Type: image/png"),
            Fault.GZIP_BOMB: answer("200 OK", gzip.compress(bytes(2**26)), b"Content-Encoding: gzip"),
        }
        self._limited: set[str] = set()
        self._open: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept alive."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                host = head.lower().partition(b"\r\nhost:")[2].partition(b"\r\n")[0].strip().decode()
                self._open[host] += 1
                try:
                    if not await self._answer(host, path, writer):
                        break
                finally:
                    self._open[host] -= 1
        with contextlib.suppress(ConnectionError):
            writer.close()

    async def _answer(self, host: str, path: str, writer: asyncio.StreamWriter) -> bool:
        """Write one answer; returns whether the connection stays open."""
        if path == "/robots.txt":
            writer.write(answer("404 Not Found"))
            return True
        if self._log:
            line = {"host": host, "path": path, "time": time.monotonic(), "open": self._open[host]}
            self._log.write(json.dumps(line) + "\n")
        number = int(path.rpartition("/")[2].partition(".")[0])
        fault = fault_of(number, self._faults)
        image = self._answers[number % len(self._answers)]
        if fault is None:
            if self._wait_s:
                await asyncio.sleep(self._wait_s)
            writer.write(image)
            await writer.drain()
            return True
        return await self._fail(fault, path, image, writer)

    async def _fail(self, fault: Fault, path: str, image: bytes, writer: asyncio.StreamWriter) -> bool:
        hop, _, name = path.strip("/").rpartition("/")
        match fault:
            case Fault.SILENT:
                await asyncio.sleep(3600)
            case Fault.SLOW:
                await drip(writer, image)
            case Fault.ENDLESS:
                await endless(writer)
            case Fault.TRUNCATED:
                writer.write(image[: len(image) * 2 // 3])
                return False
            case Fault.MISSING:
                writer.write(answer("404 Not Found"))
            case Fault.LIMITED if path not in self._limited:
                self._limited.add(path)
                writer.write(answer("429 Too Many Requests", b"", b"Retry-After: 1"))
            case Fault.MOVED if hop != "b":
                writer.write(answer("302 Found", b"", f"Location: /{'b' if hop else 'a'}/{name}".encode()))
            case Fault.LOOP:
                writer.write(answer("301 Moved", b"", f"Location: /{'b' if hop == 'a' else 'a'}/{name}".encode()))
            case Fault.PIXEL_BOMB | Fault.GZIP_BOMB:
                writer.write(self._bombs[fault])
            case Fault.HTML:
                writer.write(answer("200 OK", b"<!doctype html><p>sold out", b"Content-Type: image/jpeg"))
            case _:
                writer.write(image)
        await writer.drain()
        return True


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """One byte per quarter of a second, until the client closes the connection."""
    for place in range(len(data)):
        writer.write(data[place : place + 1])
        await writer.drain()
        await asyncio.sleep(0.25)


async def endless(writer: asyncio.StreamWriter) -> None:
    """The beginning of a JPEG, then bytes without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xff")
    while True:
        writer.write(bytes(2**16))
        await writer.drain()


async def main(options: argparse.Namespace) -> None:
    tls = None
    if options.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*options.tls)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(Path(options.log).open("a", buffering=1)) if options.log else None
        web = ImageWeb(images_of(options.tars), options.faults, options.wait, log)
        running: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if task := asyncio.current_task():
                running.add(task)
                task.add_done_callback(running.discard)
            with contextlib.suppress(asyncio.CancelledError):  # the server ends, and asyncio would print it
                await web.serve(reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls, backlog=512)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@contextlib.contextmanager
def serving_images(
    tars: Sequence[Path],
    faults: float = 0.0,
    log: Path | None = None,
    tls: tuple[Path, Path] | None = None,
    wait_s: float = 0.0,
    prefix: Sequence[str] = (),
) -> Iterator[int]:
    """A server in its own process while the context is open; yields its port. ``prefix`` begins its command."""
    command = [*prefix, sys.executable, "-m", "pipeline.smallweb.image_web", f"--faults={faults}", f"--wait={wait_s}"]
    command += [f"--log={log}"] if log else []
    command += ["--tls", *map(str, tls)] if tls else []
    with served([*command, *map(str, tars)]) as line:
        yield int(line)


@contextlib.contextmanager
def served(command: Sequence[str]) -> Iterator[str]:
    """A server's process while the context is open; yields the line that it prints when it is ready. It ends when its
    standard input does."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment(), stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline()
        finally:
            server.stdin.close()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("tars", nargs="+")
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--log")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parsed()))
