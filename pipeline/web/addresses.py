"""Which addresses anybody may connect to, as data of our own: what Python calls global changes with its version.

The tables are IANA's registries of special-purpose addresses (RFC 6890), as they were after RFC 9780 (April 2025), and
of IPv6 addresses: only 2000::/3 was ever given out. We are stricter than they are in one way: of 192.0.0.0/24 and
2001::/23 nothing is allowed, though a few addresses there are global, because they are meeting points of protocols and
no web host is one.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

GLOBAL_UNICAST = IPv6Network("2000::/3")

_SPECIAL = {
    "0.0.0.0/8": "this network (RFC 791)",
    "10.0.0.0/8": "private use (RFC 1918)",
    "100.64.0.0/10": "shared between a provider and its customers (RFC 6598); Alibaba's metadata",
    "127.0.0.0/8": "loopback (RFC 1122)",
    "169.254.0.0/16": "link-local (RFC 3927); metadata of nearly every cloud",
    "172.16.0.0/12": "private use (RFC 1918)",
    "192.0.0.0/24": "protocol assignments (RFC 6890); Oracle's metadata",
    "192.0.2.0/24": "documentation (RFC 5737)",
    "192.88.99.0/24": "relays of 6to4, given up (RFC 7526)",
    "192.168.0.0/16": "private use (RFC 1918)",
    "198.18.0.0/15": "benchmarks (RFC 2544)",
    "198.51.100.0/24": "documentation (RFC 5737)",
    "203.0.113.0/24": "documentation (RFC 5737)",
    "224.0.0.0/4": "multicast (RFC 5771)",
    "240.0.0.0/4": "reserved, and broadcast (RFC 1112, RFC 919)",
    "2001::/23": "protocol assignments (RFC 2928): Teredo, benchmarks, ORCHID, ...",
    "2001:db8::/32": "documentation (RFC 3849)",
    "2002::/16": "6to4 (RFC 3056); judged by the IPv4 address inside",
    "3fff::/20": "documentation (RFC 9637)",
}
_CLOUDS = {
    "168.63.129.16/32": "Azure's agent, DNS and metadata: a public address that every virtual machine there reaches",
    "161.26.0.0/16": "IBM Cloud's services, reached from inside only",
    "166.8.0.0/14": "IBM Cloud's service endpoints, reached from inside only",
}
"""Services inside clouds with addresses in public space. All others are in a special network: 169.254.169.254,
100.100.100.200, 192.0.0.192, fd00:ec2::254, ..."""

NOT_PUBLIC: tuple[Network, ...] = tuple(map(ip_network, [*_SPECIAL, *_CLOUDS]))


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
    """Whether an address may be dialled by anybody: globally routable unicast, and no cloud's inner service."""
    inner = inner_address(address)
    if isinstance(inner, IPv6Address) and inner not in GLOBAL_UNICAST:
        return False
    return not within(inner, NOT_PUBLIC)


def within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether an address, or the IPv4 address inside it, lies in one of ``networks``."""
    forms = {address, inner_address(address)}
    return any(form in network for form in forms for network in networks)


def is_our_own(address: Address) -> bool:
    """Whether an address is one of this machine's.

    The kernel is asked, each time, because interfaces come and go: what it would send to an address of its own has that
    address as its source, or loopback's. Connecting a UDP socket sends nothing. A public address that a cloud or a
    router translates to ours is not known here: name it in ``web.deny_networks``.
    """
    inner = inner_address(address)
    family = socket.AF_INET if isinstance(inner, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(inner), 9))
            source = ip_address(probe.getsockname()[0])
    except OSError:  # no way there
        return False
    return source == inner or source.is_loopback
