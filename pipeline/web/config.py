"""Settings of the way to the web. All are Operate: how we ask enters no key, only what was answered counts."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address, ip_network
from typing import Annotated

from pydantic import field_validator

from pipeline.core.config import Field, Operate, StageConfig
from pipeline.core.errors import ErrorCode, InputError
from pipeline.web.addresses import Address, Network

PRODUCT_TOKEN = "pairmill"  # noqa: S105  # no secret: our name in robots.txt, X-Robots-Tag and <meta name=...>
STANDARD_PORTS = frozenset({80, 443, 8080, 8443})

Seconds = Annotated[float, Field(ge=0, le=86400)]
Port = Annotated[int, Field(ge=1, le=65535)]

_MAIL = re.compile(r"[^\s@()<>,;]+@[^\s@()<>,;]+\.[^\s@()<>,;]+")
_PAGE = re.compile(r"https?://[^\s()<>]+\.[^\s()<>]+", re.IGNORECASE)
_BROWSER = re.compile(r"mozilla/|chrome/|safari/|applewebkit|gecko/|opera/|edg/|msie", re.IGNORECASE)
_NAME = re.compile(r"\*|[^\s:*\[\]]+(:\d{1,5})?|\[[0-9a-f:.]+\](:\d{1,5})?", re.IGNORECASE)


class WebConfig(StageConfig):
    """The section ``web`` of the config, shared by crawl and fetch."""

    contact: Operate[str] = Field(
        "", max_length=200, description="mail address or URL where a site's owner reaches you; no contact, no request"
    )
    allow_networks: Operate[list[str]] = Field(
        [],
        description="networks (CIDR) that may be connected to although not globally routable, or of this machine",
    )
    deny_networks: Operate[list[str]] = Field(
        [], description="networks (CIDR) that are never connected to, though public or in web.allow_networks"
    )
    resolve: Operate[dict[str, str]] = Field(
        {}, description="name, name:port or * → address:port dialled instead; for tests, the demo and private mirrors"
    )
    allow_ports: Operate[list[Port]] = Field(
        [], description="ports a URL may use in addition to 80, 443, 8080 and 8443"
    )
    ca_file: Operate[str] = Field(
        "", description="PEM file of certificate authorities trusted in addition to the system's"
    )

    connect_timeout_s: Operate[float] = Field(10.0, gt=0, le=600, description="longest wait for a connection, seconds")
    robots_timeout_s: Operate[float] = Field(
        30.0, gt=0, le=600, description="deadline of one robots.txt, from look-up to last byte, seconds"
    )
    robots_silence_s: Operate[float] = Field(
        15.0, gt=0, le=600, description="longest wait for the head of a robots.txt, connection included, seconds"
    )
    robots_waits_s: Operate[list[Seconds]] = Field(
        [60.0, 300.0, 900.0], description="waits before an unreachable robots.txt is requested again, seconds"
    )
    robots_wait_max_s: Operate[float] = Field(
        3600.0,
        ge=0,
        le=86400,
        description="longest wait before robots.txt is requested again, Retry-After or not, seconds",
    )
    robots_max_age_s: Operate[float] = Field(
        86400.0, gt=0, le=86400, description="longest use of a fetched robots.txt, seconds (RFC 9309: 24 hours)"
    )
    crawl_delay_max_s: Operate[float] = Field(
        60.0,
        ge=0,
        le=3600,
        description="longest Crawl-delay that is obeyed, seconds; a host that asks for more is skipped",
    )

    tries: Operate[int] = Field(3, ge=1, le=10, description="requests made for one URL in one run")
    retry_waits_s: Operate[list[Seconds]] = Field(
        [1.0, 4.0], min_length=1, description="waits before a URL is retried (±25 %), seconds; the last one repeats"
    )
    rate_limit_default_s: Operate[float] = Field(
        60.0, ge=0, le=3600, description="wait of a host that limits us without a usable Retry-After, seconds"
    )
    rate_limit_max_s: Operate[float] = Field(
        300.0,
        ge=0,
        le=86400,
        description="longest Retry-After that is waited for, seconds; more ends the host for this run",
    )
    connect_failures_limit: Operate[int] = Field(
        5, ge=1, description="URLs in a row without a connection before their host is paused"
    )
    connect_failures_pause_s: Operate[float] = Field(
        60.0, ge=0, le=3600, description="pause of a host that cannot be connected to, seconds"
    )
    connect_failures_pauses: Operate[int] = Field(
        3, ge=0, description="pauses without a connection after which a host is left to a later run"
    )
    max_hosts_per_lane: Operate[int] = Field(
        1024, ge=1, le=65536, description="most hosts a lane talks to at one time; fewer where it cannot keep up"
    )
    max_address_connections: Operate[int] = Field(
        2, ge=1, le=64, description="connections of a lane to one address, over all page hosts there"
    )

    unreachable_share_max: Operate[float] = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the first hosts without a connection above which the network is down; 1: never",
    )

    @field_validator("allow_networks", "deny_networks")
    @classmethod
    def _networks(cls, networks: list[str]) -> list[str]:
        for text in networks:
            ip_network(text)
        return networks

    @field_validator("resolve")
    @classmethod
    def _resolve(cls, table: dict[str, str]) -> dict[str, str]:
        for name, target in table.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a name, name:port or *")
            dial_target(target)
        return {name.lower(): target for name, target in table.items()}

    def networks(self) -> tuple[Network, ...]:
        """``allow_networks``, parsed."""
        return tuple(ip_network(text) for text in self.allow_networks)

    def denied_networks(self) -> tuple[Network, ...]:
        """``deny_networks``, parsed."""
        return tuple(ip_network(text) for text in self.deny_networks)

    def ports(self) -> frozenset[int]:
        """Ports that a URL may name."""
        return STANDARD_PORTS | frozenset(self.allow_ports)

    def user_agent(self) -> str:
        """Product token, version and contact, as sent with every request."""
        return f"{PRODUCT_TOKEN}/{_version()} (+{self.contact})"


def longest_pause_s(delay_s: float, timeout_s: float, web: WebConfig) -> float:
    """Longest time between two answers of a lane that may be planned: a turn, robots.txt and a request."""
    return max(delay_s, web.crawl_delay_max_s) + web.robots_timeout_s + timeout_s


def dial_target(text: str) -> tuple[Address, int]:
    """``address:port`` (an IPv6 address in brackets), parsed.

    Raises ValueError that names the value.
    """
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    except ValueError:
        raise ValueError(f"{text!r} is not address:port") from None
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(f"{text!r} is not address:port")
    return address, int(port)


def require_contact(web: WebConfig) -> None:
    """Refuse to go on the web as nobody or as a browser. Called before the first request.

    Raises InputError ``config_invalid``.
    """
    way_out = "set web.contact to a mail address or URL where a site's owner reaches you"
    if not web.contact:
        raise InputError(ErrorCode.CONFIG_INVALID, f"web.contact is empty; {way_out}")
    if _BROWSER.search(web.contact):
        raise InputError(
            ErrorCode.CONFIG_INVALID, f"web.contact is {web.contact!r}, which poses as a browser; {way_out}"
        )
    if not (web.contact.isascii() and (_MAIL.fullmatch(web.contact) or _PAGE.fullmatch(web.contact))):
        raise InputError(ErrorCode.CONFIG_INVALID, f"web.contact is {web.contact!r}, no mail address or URL; {way_out}")


def _version() -> str:
    try:
        return version("pairmill")
    except PackageNotFoundError:  # run from a tree that is not installed
        return "0"
