"""The hosts of a lane: what waits for each origin ``scheme://host:port``, until when it is parked, why it was ended.

Times are of the event loop's clock and are handed in: nothing here waits.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline.web.client import Answer
from pipeline.web.manners import Manners, MannersByName
from pipeline.web.pace import Pace
from pipeline.web.parking import End, Pause, Silence
from pipeline.web.policy import LanePolicy
from pipeline.web.reasons import NetReason, WebReason
from pipeline.web.urls import UrlError, origin, split

MAX_RETRIES = 1000  # of one host that wait: beyond, they come before items not read yet
MAX_IDLE = 10_000  # hosts that nothing waits for: they are remembered for redirects
MAX_WAITS, SAME_WAIT_S = 10, 0.1  # of a host that are told; one that several workers meet is told once
MAX_TRIED_CHARS = 256
ROUND_ENDED = End(NetReason.ROUND_ENDED, "not asked before the round's time was over")


@dataclass(frozen=True, slots=True)
class Item:
    """A URL to ask for. ``key`` is its row's; ``payload`` comes back untouched."""

    key: str
    url: str
    payload: Any = None


@dataclass(frozen=True, slots=True)
class Group:
    """The items of one origin, read as they are asked for. Without an origin none of them can be asked for."""

    origin: str
    count: int
    items: Iterator[Item]
    retried: bool = False  # an earlier run did not get some of them
    robots: tuple[bytes, str] | None = None  # its robots.txt, and when it was fetched (UTC, ISO 8601)


def in_groups(items: Iterable[Item]) -> list[Group]:
    """Items in memory, those of the origin with most of them first."""
    by_origin: dict[str, list[Item]] = {}
    for item in items:
        by_origin.setdefault(origin_of(item.url), []).append(item)
    groups = [Group(name, len(found), iter(found)) for name, found in by_origin.items()]
    return sorted(groups, key=lambda group: -group.count)


def origin_of(url: str) -> str:
    """The origin of a URL, empty where it has none and cannot be asked for."""
    try:
        return origin(url)
    except UrlError:
        return ""


@dataclass(slots=True)
class Errand:
    """An item under way."""

    item: Item
    tries: int = 0
    last: Answer | None = None  # to the newest try
    tried: list[str] = field(default_factory=list)  # what came of the others

    def note(self, answer: Answer) -> None:
        """A try that is not the last one."""
        self.last = answer
        self.tried.append(told(answer.fetched_at, answer.reason, answer.detail))


def told(at: str, reason: WebReason | None, detail: str) -> str:
    """One try, or one wait of a host, as a person reads it."""
    return f"{at} {reason}: {detail}"[:MAX_TRIED_CHARS]


@dataclass(slots=True, eq=False)
class Host:
    """One origin in a lane."""

    origin: str
    manners: Manners
    waiting: deque[Errand] = field(default_factory=deque)  # before those not read yet
    unread: int = 0
    items: Iterator[Item] = field(default_factory=lambda: iter(()))
    retries: list[tuple[float, int, Errand]] = field(default_factory=list)  # heap: due at, entry number
    parked_until: float = 0.0
    parked_for: Pause | None = None
    waits: list[str] = field(default_factory=list)  # why it was parked, each time
    ended: End | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)  # it has ended: nothing more is waited for
    asked: int = 0  # items that a request was made for
    silence: Silence = field(default_factory=Silence)
    _entries: Iterator[int] = field(default_factory=itertools.count)

    @property
    def pace(self) -> Pace:
        """Turns, shared with the other origins of its name."""
        return self.manners.pace

    @property
    def left(self) -> int:
        """How many items wait to be asked for."""
        return len(self.waiting) + self.unread + len(self.retries)

    def next(self, now: float) -> Errand | None:
        """What may be asked now, retries first; None where there is nothing, or nothing yet."""
        if now < self.parked_until and not self.ended:
            return None
        if self.retries and (self.retries[0][0] <= now or self.ended):
            return heapq.heappop(self.retries)[-1]
        if self.waiting:
            return self.waiting.popleft()
        if not self.unread or (len(self.retries) >= MAX_RETRIES and not self.ended):
            return None
        self.unread -= 1
        return Errand(next(self.items))

    def due_at(self) -> float | None:
        """When there is something to ask; None where all is done."""
        if not self.left:
            return None
        if self.ended:
            return 0.0  # at once: what is left only has to be refused
        may_read = self.unread and len(self.retries) < MAX_RETRIES
        return max(self.parked_until, 0.0 if self.waiting or may_read else self.retries[0][0])

    def put_back(self, errand: Errand) -> None:
        """It could not be asked for after all: it is the next."""
        self.waiting.appendleft(errand)

    def retry(self, errand: Errand, due_at: float) -> None:
        """Ask again, not before ``due_at`` and not while the host is parked."""
        heapq.heappush(self.retries, (max(due_at, self.parked_until), next(self._entries), errand))

    def park(self, pause: Pause, now: float) -> None:
        """Ask for nothing for so long; of several waits the longest counts."""
        until = now + pause.seconds
        if until > self.parked_until + SAME_WAIT_S and len(self.waits) < MAX_WAITS:
            self.waits.append(told(datetime.now(UTC).isoformat(timespec="seconds"), pause.reason, pause.detail))
        if until >= self.parked_until:
            self.parked_until, self.parked_for = until, pause

    def is_parked(self, now: float) -> bool:
        """Whether nothing may be asked now."""
        return now < self.parked_until

    def obey(self, decision: Pause | End | None, now: float) -> None:
        """Do what `pipeline.web.parking` has decided."""
        if isinstance(decision, End):
            self.end(decision)
        elif decision is not None:
            self.park(decision, now)

    def end(self, end: End) -> End:
        """Ask for nothing more; the first reason counts, and is returned."""
        self.ended = self.ended or end
        self.woken.set()
        return self.ended

    def give_up(self) -> End:
        """End it for the reason that it is parked for, or that its next retry is waited for."""
        if self.parked_for:
            return self.end(End(self.parked_for.reason, f"not asked: {self.parked_for.detail}"))
        last = self.retries[0][-1].last if self.retries else None
        return self.end(End(last.reason, last.detail) if last and last.reason else ROUND_ENDED)


class Hosts:
    """Every host a lane meets, those of redirects included. ``own``: the sites whose items are this lane's."""

    def __init__(self, policy: LanePolicy, own: Container[str] = ()) -> None:
        self._by_origin: dict[str, Host] = {}
        self._idle: dict[Host, None] = {}  # those used last at the end
        self._manners = MannersByName(policy, own)
        self._is_over = False

    def open(self, group: Group) -> Host:
        """The host where these items wait now."""
        host = self.of(group.origin)
        host.items, host.unread = group.items, group.count
        self._idle.pop(host, None)
        return host

    def add(self, item: Item) -> Host:
        """The host where this item waits too. Raises UrlError."""
        host = self.of(item.url)
        host.waiting.append(Errand(item))
        self._idle.pop(host, None)
        return host

    def of(self, url: str) -> Host:
        """The host of a URL. Raises UrlError."""
        name = origin(url)
        host = self._by_origin.get(name)
        if host is None:
            host = self._by_origin[name] = Host(name, self._manners.of(split(url).host))
            if self._is_over:
                host.end(ROUND_ENDED)
            self.rest(host)
        elif host in self._idle:
            self.rest(host)
        return host

    def rest(self, host: Host) -> None:
        """Nothing waits at this host now. Of such hosts the MAX_IDLE met last are remembered."""
        self._idle.pop(host, None)
        self._idle[host] = None
        while len(self._idle) > MAX_IDLE:
            oldest = next(iter(self._idle))
            del self._idle[oldest], self._by_origin[oldest.origin]

    def end(self) -> None:
        """The round is over: no host is asked any more, those met later included."""
        self._is_over = True
        self._manners.end()
        for host in self._by_origin.values():
            host.end(ROUND_ENDED)
