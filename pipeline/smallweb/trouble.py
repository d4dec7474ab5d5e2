"""Hosts with the troubles of a real list, on loopback: every address in 127.0.0.0/8 is a host of its own.

    python -m pipeline.smallweb.trouble [--latency S] [--log FILE] [--tls CERT KEY] TAR...

The second number of an address says what is wrong with the host (`Trouble`), so the server needs no list of hosts.
``/N.jpg`` is image N of the tars (N modulo their number), after the latency. Some troubles are not the server's: a port
where nothing listens, names that lead to a dead address, IPv6 without a way there (`TroubleWeb.resolve`).

The server shares its machine with the clients that it measures. So it parses no more than it must, answers from memory,
and is one process without a task per connection. It prints one line of JSON, its ports, and ends when standard input
ends. The log has one line per request (`Request`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import resource
import socket
import ssl
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, NamedTuple, cast

from pipeline.smallweb.image_web import TYPES, answer, images_of, served

BACKLOG = 4096
FIRST_NETWORK = 16  # of 127.0.0.0/8, whose addresses are of the first kind of host
HOSTS_PER_RANGE, RANGES = 250, 250
HANDSHAKE_S, LIMITED_S = 3.0, 5.0
PAGE = b"<!doctype html><title>This domain may be for sale</title><p>Accept all cookies to go on."


class Trouble(StrEnum):
    """What is wrong with a host. The first four give their images to everybody who waits."""

    FINE = "fine"
    CLOSING = "closing"  # closes the connection after each answer
    OLD = "old"  # HTTP/1.0: no length, the end of the connection is the end of the image
    SLOW_TLS = "slow-tls"  # begins the handshake late
    LIMITED = "limited"  # 429 with Retry-After to a whole range of addresses, from its first request on, for a while
    FORBIDDEN = "forbidden"  # 403 to an agent that is no browser
    PARKED = "parked"  # 200 and a page, whatever is asked for
    CONSENT = "consent"  # 302 to a page on another host
    ROBOTS = "robots"  # its robots.txt answers 503
    SILENT = "silent"  # accepts, and never answers
    REFUSED = "refused"  # nothing listens
    DEAD_NAME = "dead-name"  # a resolver that knows every name: all lead to one silent address
    LOST_NAME = "lost-name"  # the same, to one address where nothing listens
    IPV6 = "ipv6"  # only an IPv6 address, which cannot be reached


REACHABLE = (Trouble.FINE, Trouble.CLOSING, Trouble.OLD, Trouble.SLOW_TLS)
NAMED = (Trouble.DEAD_NAME, Trouble.LOST_NAME, Trouble.IPV6)
NO_ANSWER = (Trouble.SILENT, Trouble.DEAD_NAME)


def address_of(kind: Trouble, number: int) -> str:
    """The address of host ``number`` (0 to 62,499) of a kind."""
    return f"127.{FIRST_NETWORK + list(Trouble).index(kind)}.{number // HOSTS_PER_RANGE}.{1 + number % HOSTS_PER_RANGE}"


def kind_of(address: str) -> Trouble:
    """The kind of the host at an address; the rest of loopback is fine."""
    place = int(address.split(".")[1]) - FIRST_NETWORK
    return list(Trouble)[place] if 0 <= place < len(Trouble) else Trouble.FINE


class Request(NamedTuple):
    """A line of the log. ``waited_s`` and ``status`` are -1 and 0 where no answer was sent."""

    asked_at: float  # seconds since 1970
    waited_s: float
    host: str  # as the request names it
    path: str
    status: int
    open_here: int  # requests open at this host when this one came, itself included
    connections: int  # open in all


def read_log(path: Path, skip: int = 0) -> list[Request]:
    """The requests of a log from byte ``skip`` on, in the order in which they were answered."""
    with path.open() as stream:
        stream.seek(skip)
        rows = [line.rstrip("\n").split("\t") for line in stream]
    return [Request(float(a), float(w), host, name, int(s), int(o), int(c)) for a, w, host, name, s, o, c in rows]


@dataclass(frozen=True, slots=True)
class TroubleWeb:
    """Ports of a server; nothing listens at ``refused``, and ``tls`` is 0 without a certificate."""

    http: int
    tls: int
    refused: int

    def host(self, kind: Trouble, number: int) -> str:
        """The host of a URL."""
        return f"{kind}-{number}.example" if kind in NAMED else address_of(kind, number)

    def url(self, kind: Trouble, number: int, image: int) -> str:
        """The URL of an image on host ``number`` of a kind."""
        port = {Trouble.SLOW_TLS: self.tls, Trouble.REFUSED: self.refused}.get(kind, self.http)
        scheme = "https" if kind is Trouble.SLOW_TLS else "http"
        return f"{scheme}://{self.host(kind, number)}:{port}/{image}.jpg"

    def resolve(self, hosts: Iterable[tuple[Trouble, int]]) -> dict[str, str]:
        """``web.resolve`` of those hosts that have a name."""
        dead = {
            Trouble.DEAD_NAME: f"{address_of(Trouble.DEAD_NAME, 0)}:{self.http}",
            Trouble.LOST_NAME: f"{address_of(Trouble.LOST_NAME, 0)}:{self.refused}",
        }
        return {
            self.host(kind, number): dead.get(kind, f"[{nowhere()}{number + 1:x}]:{self.http}")
            for kind, number in hosts
            if kind in NAMED
        }


def nowhere() -> str:
    """The beginning of IPv6 addresses that no packet leaves this machine for.

    Without a way to IPv6: the prefix for what is to be discarded (RFC 6666). Else: link-local addresses, which name no
    link here, so that the system refuses them.
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("100::1", 9))  # of a datagram socket: looks for a way, and sends nothing
    except OSError:
        return "100::"
    return "fe80::"


class Answers:
    """What the hosts say, and the log of it."""

    def __init__(self, images: list[bytes], options: argparse.Namespace, http_port: int, log: IO[str] | None) -> None:
        self.latency_s, self.handshake_s = options.latency, options.handshake
        self.connections = 0
        self.open: Counter[str] = Counter()  # requests, by host
        self._log = log
        self._images = [answer("200 OK", image, b"Content-Type: " + TYPES[image[:2]]) for image in images]
        self._old = [b"HTTP/1.0 200 OK\r\nContent-Type: %s\r\n\r\n%s" % (TYPES[image[:2]], image) for image in images]
        self._page = answer("200 OK", PAGE, b"Content-Type: text/html")
        parked = address_of(Trouble.PARKED, HOSTS_PER_RANGE * RANGES - 1)
        self._moved = answer("302 Found", b"", f"Location: http://{parked}:{http_port}/consent?back=1".encode())
        self._missing, self._forbidden = answer("404 Not Found"), answer("403 Forbidden")
        self._unavailable = answer("503 Service Unavailable")
        self._limit_s = options.limited
        self._limited_until: dict[str, float] = {}

    def of(self, address: str, kind: Trouble, path: str, head: bytes) -> bytes:
        """The answer of a host."""
        match kind:
            case Trouble.PARKED:
                return self._page
            case Trouble.LIMITED if wait_s := self._limited_s(address):
                return answer("429 Too Many Requests", b"", b"Retry-After: %d" % wait_s)
        if path == "/robots.txt":
            return self._unavailable if kind is Trouble.ROBOTS else self._missing
        if kind is Trouble.CONSENT:
            return self._moved
        if kind is Trouble.FORBIDDEN and b"mozilla/" not in head.lower():
            return self._forbidden
        return self._image(path, self._old if kind is Trouble.OLD else self._images)

    def note(self, *fields: float | str) -> None:
        """Write a line of the log (`Request`)."""
        if self._log:
            self._log.write("\t".join(map(str, fields)) + "\n")

    def _image(self, path: str, images: list[bytes]) -> bytes:
        name = path.rpartition("/")[2].partition(".")[0]
        return images[int(name) % len(images)] if name.isdecimal() else self._missing

    def _limited_s(self, address: str) -> int:
        """Whole seconds for which the range of an address is still limited."""
        now = time.monotonic()
        until = self._limited_until.setdefault(address.rpartition(".")[0], now + self._limit_s)
        return max(math.ceil(until - now), 0)


class Connection(asyncio.Protocol):
    """One connection of a client, kept alive."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._pending: deque[tuple[float, str, str, int, bytes]] = deque()  # what `Request` names, and the head

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._address = transport.get_extra_info("sockname")[0]
        self._kind = kind_of(self._address)
        self._loop = asyncio.get_running_loop()
        self._answers.connections += 1
        self.data_received(b"")

    def connection_lost(self, error: Exception | None) -> None:
        while self._pending:
            self._done(-1.0, 0)
        self._answers.connections -= 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._transport is None:  # behind a handshake, data may come first
            return
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            path = head.split(b" ", 2)[1].decode("latin-1")
            host = head.lower().partition(b"\r\nhost:")[2].partition(b"\r\n")[0].strip().decode("latin-1")
            self._answers.open[host] += 1
            self._pending.append((time.time(), host, path, self._answers.open[host], head))
            if self._kind not in NO_ANSWER:
                self._loop.call_later(self._answers.latency_s, self._answer)

    def _answer(self) -> None:
        """Answer the oldest request."""
        if not self._pending or self._transport is None:  # the client has left
            return
        asked_at, _, path, _, head = self._pending[0]
        sent = self._answers.of(self._address, self._kind, path, head)
        self._transport.write(sent)
        self._done(time.time() - asked_at, int(sent[9:12]))
        if self._kind in (Trouble.CLOSING, Trouble.OLD):
            self._transport.close()

    def _done(self, waited_s: float, status: int) -> None:
        asked_at, host, path, open_here, _ = self._pending.popleft()
        self._answers.open[host] -= 1
        times = f"{asked_at:.4f}", f"{waited_s:.4f}"
        self._answers.note(*times, host, path, status, open_here, self._answers.connections)


class SlowHandshake(asyncio.Protocol):
    """A connection that begins to speak TLS late."""

    def __init__(self, answers: Answers, tls: ssl.SSLContext) -> None:
        self._answers, self._tls = answers, tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._transport.pause_reading)  # soon: asyncio begins to read after this method
        self._loop.call_later(self._answers.handshake_s, self._begin)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._shake())

    async def _shake(self) -> None:
        connection = Connection(self._answers)
        with contextlib.suppress(OSError):
            made = await self._loop.start_tls(self._transport, connection, self._tls, server_side=True)
            if made is not None:
                connection.connection_made(made)


def bound(port: int) -> socket.socket:
    """A socket for all of loopback, and for nothing else."""
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    opened.bind(("0.0.0.0", port))  # noqa: S104  # 127.0.0.0/8 alone, by the line above
    return opened


async def main(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    plain, secure, refused = (bound(port) for port in options.ports)  # the last one only keeps its port from others
    web = TroubleWeb(*(each.getsockname()[1] for each in (plain, secure, refused)))
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(Path(options.log).open("a", buffering=1)) if options.log else None
        answers = Answers(images_of(options.tars), options, web.http, log)
        await loop.create_server(lambda: Connection(answers), sock=plain, backlog=BACKLOG)
        if options.tls:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(*options.tls)
            await loop.create_server(lambda: SlowHandshake(answers, tls), sock=secure, backlog=BACKLOG)
        print(json.dumps(asdict(web)), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def serving_trouble(
    tars: Sequence[Path],
    latency_s: float = 0.0,
    log: Path | None = None,
    tls: tuple[Path, Path] | None = None,
    ports: TroubleWeb | None = None,
    handshake_s: float = HANDSHAKE_S,
    limited_s: float = LIMITED_S,
) -> Iterator[TroubleWeb]:
    """A server in its own process while the context is open. ``ports``: those of an earlier one, to have them again."""
    arguments = [f"--latency={latency_s}", f"--handshake={handshake_s}", f"--limited={limited_s}"]
    arguments += [f"--log={log}"] if log else []
    arguments += ["--tls", *map(str, tls)] if tls else []
    arguments += ["--ports", *(str(port) for port in asdict(ports).values())] if ports else []
    with served([sys.executable, "-m", "pipeline.smallweb.trouble", *arguments, "--", *map(str, tars)]) as line:
        yield TroubleWeb(**json.loads(line))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("tars", nargs="+")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--handshake", type=float, default=HANDSHAKE_S, metavar="SECONDS", help="until it begins")
    parser.add_argument("--limited", type=float, default=LIMITED_S, metavar="SECONDS", help="of a range of addresses")
    parser.add_argument("--log")
    parser.add_argument("--ports", nargs=3, type=int, default=[0, 0, 0], metavar=("HTTP", "TLS", "REFUSED"))
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    return parser.parse_args()


if __name__ == "__main__":
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    asyncio.run(main(parsed()))
