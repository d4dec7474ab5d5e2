"""The one guarded way out: what is dialled is judged, whatever the URL, the resolver or a redirect says.

    URL ── port rule ──▶ web.resolve or one look-up ──▶ address rule ──▶ socket to a checked address, TLS to the name

An address must be globally routable (IANA special-purpose registries, RFC 6890), judged by the IPv4 address
inside it where it is an IPv4-mapped, NAT64 or 6to4 form, or lie in ``web.allow_networks``. Names are looked up
once a hop; of what a resolver answers only the checked addresses reach the connector, so a second answer
(rebinding) is never asked for. A second bolt, the socket factory, judges the address again as it is dialled.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, cast

import aiohttp
from aiohttp.abc import ResolveResult

from pipeline.web import sockets
from pipeline.web.config import Address, WebConfig, dial_target
from pipeline.web.reasons import NetReason, WebReason
from pipeline.web.urls import Parts, literal_address
from pipeline.web.wire import GuardedProtocol

MAX_LOOKUPS = 64  # in flight; a local resolver asked for more answers "temporary failure" (img2dataset#360)
LOOKUP_AGE_S = 300.0  # the system's resolver tells no TTL; at most 600 s are allowed
MAX_CACHED_NAMES = 100_000
MAX_ADDRESSES = 4  # dialled of one name

_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that IANA has ever given out; the rest is local, reserved or mapped
_SPECIAL = (IPv4Network("192.88.99.0/24"), IPv6Network("3fff::/20"))  # 6to4 relays, documentation: unknown to ipaddress
_NOT_FOUND = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

Lookup = Callable[[str], list[str]]
dialled: ContextVar[GuardedProtocol | None] = ContextVar("dialled", default=None)  # connection of the request under way


def last_asked_at() -> float:
    """When the last request of this task left, on the event loop's clock; 0.0 where none did."""
    connection = dialled.get()
    return 0.0 if connection is None else connection.asked_at


class NetFault(Exception):
    """A request that ends before its answer: ``reason`` and what exactly happened."""

    def __init__(self, reason: WebReason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Target:
    """What is dialled for a URL: checked addresses, all on one port."""

    addresses: tuple[str, ...]
    port: int


def inner_address(address: Address) -> Address:
    """The IPv4 address that an IPv6 form stands for, else the address itself.

    IPv4-mapped ``::ffff:a.b.c.d``, IPv4-compatible ``::a.b.c.d``, NAT64 ``64:ff9b::/96`` (RFC 6052), 6to4
    ``2002::/16`` (RFC 3056).
    """
    if isinstance(address, IPv4Address):
        return address
    value = int(address)
    if value >> 32 in (0, 0xFFFF, 0x64FF9B << 64) and value > 1:
        return IPv4Address(value & 0xFFFFFFFF)
    if value >> 112 == 0x2002:
        return IPv4Address(value >> 80 & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether an address may be dialled by anybody: globally routable unicast."""
    inner = inner_address(address)
    if isinstance(inner, IPv6Address) and inner not in _GLOBAL_UNICAST:
        return False
    return inner.is_global and not inner.is_multicast and not any(inner in network for network in _SPECIAL)


def system_lookup(name: str) -> list[str]:
    """Addresses of a name by the system's resolver, in its order. Blocks; raises socket.gaierror."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class NetGuard:
    """Judges what is dialled, and remembers look-ups. One per client; used in one event loop."""

    def __init__(self, web: WebConfig, lookup: Lookup = system_lookup) -> None:
        self._ports = web.ports()
        self._networks = web.networks()
        self._resolve = {name: dial_target(target) for name, target in web.resolve.items()}
        self._lookup = lookup
        self._lookup_timeout_s = web.connect_timeout_s
        self._threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="lookup")
        self._cache: dict[str, tuple[float, asyncio.Future[list[str]]]] = {}

    def close(self) -> None:
        """Give the threads back; look-ups that still run are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def allows(self, address: Address) -> bool:
        """Whether an address may be dialled under this config."""
        forms = {address, inner_address(address)}
        return is_public(address) or any(form in network for form in forms for network in self._networks)

    def check_port(self, parts: Parts) -> None:
        """Raise NetFault where the URL names a port that is not for the web."""
        if parts.port not in self._ports:
            raise NetFault(NetReason.PORT_NOT_ALLOWED, str(parts.port))

    async def target(self, host: str, port: int) -> Target:
        """What to dial for ``host`` and ``port`` of a URL. Raises NetFault."""
        bracketed = f"[{host}]" if ":" in host else host
        for name in (f"{bracketed}:{port}", bracketed, "*"):
            if name in self._resolve:
                address, port = self._resolve[name]
                return self._checked([address], host, port)
        literal = IPv4Address("127.0.0.1") if _is_localhost(host) else literal_address(host)
        found = [literal] if literal else [ip_address(text) for text in await self._addresses(host)]
        return self._checked(found, host, port)

    def _checked(self, found: list[Address], host: str, port: int) -> Target:
        allowed = [str(address) for address in found if self.allows(address)]
        if not allowed:
            raise NetFault(NetReason.ADDRESS_BLOCKED, f"{host} is {', '.join(map(str, found[:MAX_ADDRESSES]))}")
        return Target(tuple(allowed[:MAX_ADDRESSES]), port)

    async def _addresses(self, name: str) -> list[str]:
        """Look a name up, or share the look-up that is cached or in flight. A sick resolver is not remembered."""
        loop = asyncio.get_running_loop()
        expires, future = self._cache.get(name, (0.0, None))
        if future is None or loop.time() >= expires:
            if len(self._cache) >= MAX_CACHED_NAMES:
                self._cache.clear()
            future = loop.run_in_executor(self._threads, self._lookup, name)
            future.add_done_callback(_observe)
            self._cache[name] = loop.time() + LOOKUP_AGE_S, future
        try:
            # the wait for one of the 64 threads counts: a resolver that does not keep up is a sick resolver
            addresses = await asyncio.wait_for(asyncio.shield(future), self._lookup_timeout_s)
        except TimeoutError:
            self._cache.pop(name, None)
            raise NetFault(NetReason.DNS_FAILED, f"{name}: no answer in {self._lookup_timeout_s:g} s") from None
        except (OSError, UnicodeError) as error:
            if isinstance(error, UnicodeError) or error.errno in _NOT_FOUND:
                raise NetFault(NetReason.DNS_NOT_FOUND, name) from None
            self._cache.pop(name, None)
            if sockets.is_ours(error, ipv4_only=False):
                raise NetFault(NetReason.LOCAL_LIMIT, sockets.told(error)) from None
            raise NetFault(NetReason.DNS_FAILED, f"{name}: {error.strerror or error}") from None
        if not addresses:
            raise NetFault(NetReason.DNS_NOT_FOUND, name)
        return addresses

    def open_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """The second bolt: a socket for an address that is judged once more, as it is dialled."""
        family, kind, protocol, _, (address, *_) = info
        if not self.allows(ip_address(address)):
            raise OSError(f"{address} may not be dialled")
        opened = socket.socket(family, kind, protocol)
        opened.setblocking(False)
        return opened


class GuardedConnector(aiohttp.TCPConnector):
    """aiohttp's connector with our resolver for every host, literal addresses too, and a strict reader of heads.

    At most ``max_idle`` connections are kept open without a request.
    """

    def __init__(self, guard: NetGuard, max_idle: int, **options: Any) -> None:
        super().__init__(use_dns_cache=False, socket_factory=guard.open_socket, **options)
        self._guard, self._max_idle = guard, max_idle
        self._factory = cast(Any, partial(GuardedProtocol, loop=self._loop))

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> list[ResolveResult]:
        # aiohttp asks a resolver for names only and dials literal addresses as they are: here both are judged
        target = await self._guard.target(host, port)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=target.port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in target.addresses
        ]

    async def connect(self, *args: Any, **options: Any) -> aiohttp.connector.Connection:
        """As the base class; leaves the connection in ``dialled`` for the request that asked for it."""
        connection = await super().connect(*args, **options)
        dialled.set(cast(GuardedProtocol, connection.protocol))
        return connection

    async def _wrap_create_connection(self, *args: Any, **options: Any) -> Any:
        try:
            return await super()._wrap_create_connection(*args, **options)
        except OSError as error:
            ipv4_only = all(family == socket.AF_INET for family, *_ in options["addr_infos"])
            if sockets.is_ours(error, ipv4_only):
                raise NetFault(NetReason.LOCAL_LIMIT, sockets.told(error)) from None
            raise

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        full = sum(map(len, self._conns.values())) >= self._max_idle
        super()._release(key, protocol, should_close=should_close or full)

    def close_idle(self, host: str, port: int) -> None:
        """Close the connections to a host that wait for another request."""
        for key in [key for key in self._conns if (key.host, key.port) == (host, port)]:
            for protocol, _ in self._conns.pop(key):
                protocol.close()


def _is_localhost(host: str) -> bool:
    """RFC 6761, 6.3: these names are loopback and no resolver is asked."""
    return f".{host.removesuffix('.')}".endswith(".localhost")


def _observe(future: asyncio.Future[list[str]]) -> None:
    """A failed look-up that nobody waits for any more is not an event-loop error."""
    if not future.cancelled():
        future.exception()
