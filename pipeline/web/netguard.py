"""The one guarded way out: what is dialled is judged, whatever the URL, the resolver or a redirect says.

    URL ── port rule ──▶ web.resolve or one look-up ──▶ address rule ──▶ socket to a checked address, TLS to the name

An address must be globally routable (`pipeline.web.addresses`), judged by the IPv4 address inside it where it is an
IPv4-mapped, NAT64 or 6to4 form, and not one of this machine's own, or lie in ``web.allow_networks``. What lies in
``web.deny_networks`` is never dialled. Names are looked up once a hop; of what a resolver answers only the checked
addresses reach the connector, so a second answer (rebinding) is never asked for. A second bolt, the socket factory,
judges the address again as it is dialled.
"""

from __future__ import annotations

import socket
import time
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, ip_address
from typing import Any, cast

import aiohttp
from aiohttp.abc import ResolveResult

from pipeline.web import sockets
from pipeline.web.addresses import Address, is_our_own, is_public, within
from pipeline.web.config import WebConfig, dial_target
from pipeline.web.lookups import Lookup, Lookups, system_lookup
from pipeline.web.reasons import NetFault, NetReason
from pipeline.web.urls import Parts, literal_address
from pipeline.web.wire import GuardedProtocol

MAX_ADDRESSES = 4  # dialled of one name
JUDGED_S, MAX_JUDGED = 60.0, 10_000  # how long the verdict on an address counts, and how many are remembered

dialled: ContextVar[GuardedProtocol | None] = ContextVar("dialled", default=None)  # connection of the request under way


def last_asked_at() -> float:
    """When the last request of this task left, on the event loop's clock; 0.0 where none did."""
    connection = dialled.get()
    return 0.0 if connection is None else connection.asked_at


@dataclass(frozen=True, slots=True)
class Target:
    """What is dialled for a URL: checked addresses, all on one port."""

    addresses: tuple[str, ...]
    port: int


class NetGuard:
    """Judges what is dialled, and remembers look-ups. One per client; used in one event loop."""

    def __init__(self, web: WebConfig, lookup: Lookup = system_lookup) -> None:
        self._ports = web.ports()
        self._networks = web.networks()
        self._denied = web.denied_networks()
        self._resolve = {name: dial_target(target) for name, target in web.resolve.items()}
        self._judged: dict[Address, tuple[float, bool]] = {}
        self.lookups = Lookups(lookup, web.connect_timeout_s)

    def close(self) -> None:
        """Give the threads back; look-ups that still run are not waited for."""
        self.lookups.close()

    def allows(self, address: Address) -> bool:
        """Whether an address may be dialled; judged again after JUDGED_S, because interfaces come and go."""
        now = time.monotonic()
        judged_at, allowed = self._judged.get(address, (-JUDGED_S, False))
        if now - judged_at >= JUDGED_S:
            if len(self._judged) >= MAX_JUDGED:
                self._judged.clear()
            allowed = self._judge(address)
            self._judged[address] = now, allowed
        return allowed

    def _judge(self, address: Address) -> bool:
        """Under this config: never in ``web.deny_networks``; else in
        ``web.allow_networks``, or public and not of this machine."""
        if within(address, self._denied):
            return False
        return within(address, self._networks) or (is_public(address) and not is_our_own(address))

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
        found = [literal] if literal else [ip_address(text) for text in await self.lookups.addresses(host)]
        return self._checked(found, host, port)

    def _checked(self, found: list[Address], host: str, port: int) -> Target:
        allowed = [str(address) for address in found if self.allows(address)]
        if not allowed:
            raise NetFault(NetReason.ADDRESS_BLOCKED, f"{host} is {', '.join(map(str, found[:MAX_ADDRESSES]))}")
        return Target(tuple(allowed[:MAX_ADDRESSES]), port)

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
        self._keys: dict[tuple[str, int | None], set[Any]] = {}  # of connections, by host and port
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
        if len(self._keys) > MAX_JUDGED:  # of hosts met by redirect alone
            self._keys.clear()
        self._keys.setdefault((key.host, key.port), set()).add(key)
        super()._release(key, protocol, should_close=should_close or full)

    def close_idle(self, host: str, port: int) -> None:
        """Close the connections to a host that wait for another request."""
        for key in self._keys.pop((host, port), ()):
            for protocol, _ in self._conns.pop(key, ()):
                protocol.close()


def _is_localhost(host: str) -> bool:
    """RFC 6761, 6.3: these names are loopback and no resolver is asked."""
    return f".{host.removesuffix('.')}".endswith(".localhost")
