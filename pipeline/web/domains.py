"""Whose a host is: the name in a URL, and what somebody registered."""

from __future__ import annotations

import re
from functools import cache, lru_cache

from publicsuffixlist import PublicSuffixList

_HOST = re.compile(r"https?://(\[[^\]]*\]|[^/:?#]*)")


def host_of(url: str) -> str:
    """The host in a URL that ``pipeline.web.urls.clean`` has given; "" where it has none (a urn).

    >>> host_of("http://img.shop.example:8080/a.jpg"), host_of("urn:sha256:00")
    ('img.shop.example', '')
    """
    match = _HOST.match(url)
    return match.group(1) if match else ""


@lru_cache(maxsize=100_000)
def registered_domain(host: str) -> str:
    """What somebody registered, by the Public Suffix List: "shop.co.uk" of "img.shop.co.uk"; else the host itself."""
    if host[-1:].isdigit() or host.startswith("["):  # an address: no name ends in a digit
        return host
    return _suffixes().privatesuffix(host) or host


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()
