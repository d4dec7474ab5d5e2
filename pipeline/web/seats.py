"""Seats: the right to one open request, at a host name and at the address behind it.

Many names may lead to one address, so a limit per address is a limit over hosts. A redirect leaves its seat before it
waits for the next one, so two hosts that redirect to each other cannot block each other.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from pipeline.web.client import Client
from pipeline.web.host import Host
from pipeline.web.reasons import NetFault
from pipeline.web.urls import UrlError, split


class Seats(Protocol):
    """So many may sit down at one time."""

    async def acquire(self) -> Any: ...
    def release(self) -> None: ...


class Addresses:
    """At most ``limit`` requests open to one address; 0: no limit. Also the seats of the whole process."""

    def __init__(self, client: Client, limit: int) -> None:
        self._guard, self.of_all = client.guard, client.requests
        self._limit = limit
        self._by_address: dict[str, asyncio.Semaphore] = {}

    async def seats(self, url: str) -> asyncio.Semaphore | None:
        """Seats at the address behind a URL; None without a limit, or where the request will end without one.

        The name is looked up here, before the deadline of the request runs.
        """
        parts = split(url)
        try:
            address = (await self._guard.target(parts.host, parts.port)).addresses[0]
        except (NetFault, UrlError):
            return None
        if not self._limit:
            return None
        return self._by_address.setdefault(address, asyncio.Semaphore(self._limit))


class Seat:
    """The seat of one request under way; it moves along with its redirects. Leave the block to give it back."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._held: list[Seats] = []
        self._host: Host | None = None

    def __enter__(self) -> Seat:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    async def take(self, host: Host, url: str) -> None:
        """Sit down at a host, and leave the one before. Raises UrlError."""
        if host is self._host:
            return
        self.leave()
        for seats in (host.manners.seats, await self._addresses.seats(url), self._addresses.of_all):
            if seats is not None:
                await seats.acquire()
                self._held.append(seats)
        self._host = host

    def asked(self, at: float) -> None:
        """A request left from this seat at ``at``: the gap of its host counts from there."""
        if self._host is not None:
            self._host.pace.asked(at)

    def leave(self) -> None:
        """Give back what is held."""
        self._host = None
        while self._held:
            self._held.pop().release()
