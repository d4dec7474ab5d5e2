"""The hosts of a lane: what waits for each origin ``scheme://host:port``, until when it is parked, why it was ended.

Times are of the event loop's clock and are handed in: nothing here waits.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.web.client import Answer
from pipeline.web.manners import Manners, MannersByName
from pipeline.web.pace import Pace
from pipeline.web.parking import End, Pause, Silence
from pipeline.web.policy import LanePolicy
from pipeline.web.reasons import NetReason
from pipeline.web.urls import origin, split

ROUND_ENDED = End(NetReason.ROUND_ENDED, "not asked before the round's time was over")


@dataclass(frozen=True, slots=True)
class Item:
    """A URL to ask for. ``key`` is its row's; ``payload`` comes back untouched."""

    key: str
    url: str
    payload: Any = None


@dataclass(slots=True)
class Errand:
    """An item under way."""

    item: Item
    tries: int = 0
    last: Answer | None = None  # to the newest try


@dataclass(slots=True, eq=False)
class Host:
    """One origin in a lane."""

    origin: str
    manners: Manners
    waiting: deque[Errand] = field(default_factory=deque)
    retries: list[tuple[float, int, Errand]] = field(default_factory=list)  # heap: due at, entry number
    parked_until: float = 0.0
    parked_for: Pause | None = None
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
        return len(self.waiting) + len(self.retries)

    def next(self, now: float) -> Errand | None:
        """What may be asked now, retries first; None where there is nothing, or nothing yet."""
        if now < self.parked_until and not self.ended:
            return None
        if self.retries and (self.retries[0][0] <= now or self.ended):
            return heapq.heappop(self.retries)[-1]
        return self.waiting.popleft() if self.waiting else None

    def due_at(self) -> float | None:
        """When there is something to ask; None where all is done."""
        if not self.left:
            return None
        if self.ended:
            return 0.0  # at once: what is left only has to be refused
        return max(self.parked_until, 0.0 if self.waiting else self.retries[0][0])

    def put_back(self, errand: Errand) -> None:
        """It could not be asked for after all: it is the next."""
        self.waiting.appendleft(errand)

    def retry(self, errand: Errand, due_at: float) -> None:
        """Ask again, not before ``due_at`` and not while the host is parked."""
        heapq.heappush(self.retries, (max(due_at, self.parked_until), next(self._entries), errand))

    def park(self, pause: Pause, now: float) -> None:
        """Ask for nothing for so long; of several waits the longest counts."""
        if now + pause.seconds >= self.parked_until:
            self.parked_until, self.parked_for = now + pause.seconds, pause

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
    """Every host a lane meets, those of redirects included."""

    def __init__(self, policy: LanePolicy) -> None:
        self._by_origin: dict[str, Host] = {}
        self._manners = MannersByName(policy)
        self._is_over = False

    def add(self, item: Item) -> None:
        """Let an item of this lane wait at its host. Raises UrlError."""
        self._manners.own(split(item.url).host)
        self.of(item.url).waiting.append(Errand(item))

    def of(self, url: str) -> Host:
        """The host of a URL. Raises UrlError."""
        name = origin(url)
        if name not in self._by_origin:
            self._by_origin[name] = Host(name, self._manners.of(split(url).host))
            if self._is_over:
                self._by_origin[name].end(ROUND_ENDED)
        return self._by_origin[name]

    def longest_first(self) -> list[Host]:
        """Those with most items first: they take longest."""
        return sorted(self._by_origin.values(), key=lambda host: -len(host.waiting))

    def end(self) -> None:
        """The round is over: no host is asked any more, those met later included."""
        self._is_over = True
        self._manners.end()
        for host in self._by_origin.values():
            host.end(ROUND_ENDED)
