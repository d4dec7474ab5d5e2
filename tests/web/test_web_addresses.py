"""Which addresses are public, against the tables of others; what a config and the machine itself change."""

from __future__ import annotations

import asyncio
import random
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import netaddr
import pytest

from pipeline.web import addresses
from pipeline.web.addresses import GLOBAL_UNICAST, NOT_PUBLIC, inner_address, is_our_own, is_public, within
from pipeline.web.config import WebConfig
from pipeline.web.netguard import NetFault, NetGuard

METADATA = [
    "169.254.169.254",  # AWS, Azure, Google, ...
    "169.254.170.2",  # AWS, containers
    "fd00:ec2::254",  # AWS
    "fd20:ce::254",  # Google
    "168.63.129.16",  # Azure
    "192.0.0.192",  # Oracle
    "100.100.100.200",  # Alibaba
    "fd00:42::42",  # Scaleway
    "fe80::a9fe:a9fe",  # OpenStack
    "161.26.0.10",  # IBM
    "::ffff:168.63.129.16",
    "64:ff9b::a83f:8110",
    "2002:a83f:8110::",
]
STRICTER = tuple(map(ip_network, ["192.0.0.0/24", "2001::/23", "168.63.129.16/32", "161.26.0.0/16", "166.8.0.0/14"]))
OTHERS_ALLOW = tuple(map(ip_network, ["224.0.0.0/4", "192.88.99.0/24", "3fff::/20"]))  # some versions of ipaddress


def some_addresses():
    """Both sides of every border, and random ones."""
    rng = random.Random(0)
    borders = (edge for network in NOT_PUBLIC for edge in (int(network[0]) - 1, int(network[0])))
    edges = [*borders, *(edge for network in NOT_PUBLIC for edge in (int(network[-1]), int(network[-1]) + 1))]
    yield from (IPv4Address(edge) for edge in edges if 0 <= edge < 2**32)
    yield from (IPv6Address(edge) for edge in edges if edge >= 2**32)
    yield from (IPv4Address(rng.getrandbits(32)) for _ in range(10_000))
    yield from (IPv6Address(1 << 125 | rng.getrandbits(125)) for _ in range(5_000))
    yield from (IPv6Address(0x2001 << 112 | rng.getrandbits(112)) for _ in range(5_000))
    yield from (IPv6Address(rng.getrandbits(128)) for _ in range(2_000))


def test_our_table_agrees_with_netaddr_and_python_but_where_we_are_stricter():
    for address in some_addresses():
        ours, inner = is_public(address), inner_address(address)
        pythons = inner.is_global and not within(inner, OTHERS_ALLOW)
        netaddrs = netaddr.IPAddress(str(inner)).is_global() and not within(inner, OTHERS_ALLOW)
        strict = within(inner, STRICTER) or (inner.version == 6 and inner not in GLOBAL_UNICAST)
        assert (ours, ours) == ((False, False) if strict else (pythons, netaddrs)), address


@pytest.mark.parametrize("address", METADATA)
def test_a_clouds_own_services_are_not_public_in_any_form_f11(address: str) -> None:
    """F11: some have addresses that the registries call global."""
    assert not is_public(ip_address(address))


def target_of(address: str, **settings) -> tuple[str, ...]:
    async def main():
        guard = NetGuard(WebConfig(**settings), lambda name: [address])
        try:
            return (await guard.target("some.example", 80)).addresses
        finally:
            guard.close()

    return asyncio.run(main())


@pytest.mark.parametrize("address", ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"])
def test_a_denied_network_is_never_dialled_in_any_form_c40(address: str) -> None:
    """C40: public or allowed, denying wins."""
    assert target_of(address, deny_networks=["8.8.4.0/24"]) == (str(ip_address(address)),)
    for allowed in ([], ["8.0.0.0/8"], ["0.0.0.0/0", "::/0"]):
        with pytest.raises(NetFault, match="address_blocked"):
            target_of(address, deny_networks=["8.8.8.0/24"], allow_networks=allowed)


def test_a_denied_address_is_not_dialled_by_web_resolve_either_c40() -> None:
    """C40"""
    with pytest.raises(NetFault, match="address_blocked"):
        target_of("8.8.8.8", resolve={"*": "10.0.0.1:80"}, allow_networks=["10.0.0.0/8"], deny_networks=["10.0.0.1/32"])


def of_this_machine() -> str:
    """An address of an interface; loopback's where there is no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def test_the_machines_own_addresses_are_known_as_such() -> None:
    for own in ("127.0.0.1", "127.9.9.9", of_this_machine(), f"::ffff:{of_this_machine()}"):
        assert is_our_own(ip_address(own)), own
    for foreign in ("8.8.8.8", "192.0.2.1", "2606:4700::1111", "255.255.255.255"):
        assert not is_our_own(ip_address(foreign)), foreign


def test_a_public_address_of_this_machine_is_blocked_unless_it_is_allowed_c41(monkeypatch) -> None:
    """C41: what listens on it is ours. A machine of a test has no public address, so here no network is special."""
    own = of_this_machine()
    monkeypatch.setattr(addresses, "NOT_PUBLIC", ())
    assert is_public(ip_address(own))
    assert target_of("192.0.2.1") == ("192.0.2.1",)
    with pytest.raises(NetFault, match="address_blocked"):
        target_of(own)
    assert target_of(own, allow_networks=[f"{own}/32"]) == (own,)
