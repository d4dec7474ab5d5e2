"""The one guarded way out: what is dialled is judged, whatever the URL, the resolver or a redirect says.

    URL ── port rule ──▶ web.resolve or one look-up ──▶ address rule ──▶ socket to a checked address, TLS to the name

An address must be globally routable (IANA special-purpose registries, RFC 6890), judged by the IPv4 address
inside it where it is an IPv4-mapped, NAT64 or 6to4 form, or lie in ``web.allow_networks``. Names are looked up
once a hop; of what a resolver answers only the checked addresses reach the connector, so a second answer
(rebinding) is never asked for. A second bolt, the socket factory, judges the address again as it is dialled.
"""

from __future__ import annotations

import socket
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, cast

import aiohttp
from aiohttp.abc import ResolveResult

from pipeline.web import sockets
from pipeline.web.config import Address, WebConfig, dial_target
from pipeline.web.lookups import Lookup, Lookups, system_lookup
from pipeline.web.reasons import NetFault, NetReason
from pipeline.web.urls import Parts, literal_address
from pipeline.web.wire import GuardedProtocol

MAX_ADDRESSES = 4  # dialled of one name

_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that IANA has ever given out; the rest is local, reserved or mapped
_SPECIAL = (IPv4Network("192.88.99.0/24"), IPv6Network("3fff::/20"))  # 6to4 relays, documentation: unknown to ipaddress
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


class NetGuard:
    """Judges what is dialled, and remembers look-ups. One per client; used in one event loop."""

    def __init__(self, web: WebConfig, lookup: Lookup = system_lookup) -> None:
        self._ports = web.ports()
        self._networks = web.networks()
        self._resolve = {name: dial_target(target) for name, target in web.resolve.items()}
        self.lookups = Lookups(lookup, web.connect_timeout_s)

    def close(self) -> None:
        """Give the threads back; look-ups that still run are not waited for."""
        self.lookups.close()

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
