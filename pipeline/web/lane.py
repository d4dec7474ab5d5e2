"""A lane: many hosts asked at once, each with its own manners, so that a slow host never idles the others.

    items ──by origin──▶ hosts ──max_hosts at a time──▶ workers (per_host each) ──▶ (item, answer)

A host that has to wait (robots.txt unreachable, Retry-After, refused connections, retries not yet due) gives its
place to another and queues for one when its time comes. robots.txt is asked before the first URL and judges each
URL and each hop; waits and budgets belong to the origin ``scheme://host:port``, of redirect targets too; pace and
connections are those of its name, whatever scheme or port. Other lanes may ask the same host: the part that is ours
of what it bears is one over its share, and a host met by redirect alone is shared with every lane there is.
Every item gets exactly one answer, in no fixed order. What fails inside us is an answer too (``internal_error``).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.web.client import Answer, Client, Want, refusal
from pipeline.web.netguard import NetFault, last_asked_at
from pipeline.web.pace import Pace
from pipeline.web.reasons import NetReason
from pipeline.web.retry import retry_wait_s
from pipeline.web.robots import Robots
from pipeline.web.urls import UrlError, origin, redact, split

_NO_ANSWER = frozenset({NetReason.CONNECT_FAILED, NetReason.DEADLINE_EXCEEDED})
_ROUND_ENDED = (NetReason.ROUND_ENDED, "not asked before the round's time was over")


@dataclass(frozen=True, slots=True)
class Item:
    """A URL to ask for. ``key`` is its row's; ``payload`` comes back untouched."""

    key: str
    url: str
    payload: Any = None


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """How hosts are asked; the waits and tries that all lanes share stand in WebConfig."""

    want: Want
    per_host: int = 1  # requests open at one time
    delay_s: float = 1.0  # least gap between request starts, seconds
    rate_per_host: float = 0.0  # most requests a second, lowered under strain; 0: the gap alone counts
    max_hosts: int = 64  # asked at one time
    host_budget: int = 0  # items asked of one host; 0: no limit
    max_address_connections: int = 0  # requests open to one address over all its hosts; 0: no limit
    scope: Callable[[str], NetReason | None] | None = None  # may refuse where a redirect leads
    shares: Mapping[str, int] = field(default_factory=dict)  # by host name: lanes among which its items were split
    lanes: int = 1  # of this round; each may meet by redirect a host whose items are another's
    ends_at: float | None = None  # time.time() at which the round ends: what was not asked by then is refused


async def run_lane(
    items: Iterable[Item], policy: LanePolicy, client: Client, robots: Robots
) -> AsyncIterator[tuple[Item, Answer]]:
    """Answers as they come, one for each item. Closing the iterator early leaves no task behind.

    An answer waits until it is taken: a slow consumer slows the lane and fills no memory.
    """
    lane = _Lane(policy, client, robots)
    driver = asyncio.create_task(lane.drive(items))
    try:
        while (done := await lane.done.get()) is not None:
            lane.room.release()
            yield done
        await driver
    finally:
        driver.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await driver


@dataclass(slots=True)
class _Errand:
    """An item under way."""

    item: Item
    tries: int = 0


@dataclass(frozen=True, slots=True)
class _Manners:
    """What all origins of one host name share."""

    pace: Pace
    seats: asyncio.Semaphore


@dataclass(slots=True)
class _Host:
    """One origin in a lane. Times are of the event loop's clock."""

    manners: _Manners
    waiting: deque[_Errand] = field(default_factory=deque)
    retries: list[tuple[float, int, _Errand]] = field(default_factory=list)  # heap: due at, entry number
    resume_at: float = 0.0
    ended: tuple[NetReason, str] | None = None
    asked: int = 0
    failed_in_a_row: int = 0
    pauses: int = 0

    @property
    def pace(self) -> Pace:
        return self.manners.pace

    def next(self) -> _Errand | None:
        """What may be asked now; None where there is nothing, or nothing yet."""
        now = _now()
        if now < self.resume_at and not self.ended:
            return None
        if self.retries and (self.retries[0][0] <= now or self.ended):
            return heapq.heappop(self.retries)[-1]
        return self.waiting.popleft() if self.waiting else None

    def due_at(self) -> float | None:
        """When there is something to ask; None where all is done."""
        if self.ended or not (self.waiting or self.retries):
            return 0.0 if self.waiting or self.retries else None
        return max(self.resume_at, 0.0 if self.waiting else self.retries[0][0])

    def park(self, seconds: float) -> None:
        self.resume_at = max(self.resume_at, _now() + seconds)

    @property
    def parked(self) -> bool:
        return _now() < self.resume_at


class _Seat:
    """The right to one open request: at a host, and at the address behind it. Never held while waiting for another."""

    def __init__(self, lane: _Lane) -> None:
        self._lane = lane
        self._held: list[asyncio.Semaphore] = []
        self._host: _Host | None = None

    async def take(self, host: _Host, url: str) -> None:
        if host is self._host:
            return
        self.leave()
        for seats in (host.manners.seats, await self._lane.address_seats(url)):
            if seats is not None:
                await seats.acquire()
                self._held.append(seats)
        self._host = host

    def asked(self, at: float) -> None:
        """A request left from this seat at ``at``: the gap of its host counts from there."""
        if self._host is not None:
            self._host.pace.asked(at)

    def leave(self) -> None:
        self._host = None
        while self._held:
            self._held.pop().release()


class _Lane:
    def __init__(self, policy: LanePolicy, client: Client, robots: Robots) -> None:
        self._policy, self._client, self._robots, self._web = policy, client, robots, client.web
        self._hosts: dict[str, _Host] = {}
        self._manners: dict[str, _Manners] = {}
        self._own: set[str] = set()  # names of the hosts whose items are this lane's
        self._over = asyncio.Event()
        self._addresses: dict[str, asyncio.Semaphore] = {}
        self._entries = itertools.count()
        self._places = asyncio.Semaphore(policy.max_hosts)
        self.done: asyncio.Queue[tuple[Item, Answer] | None] = asyncio.Queue()
        self.room = asyncio.Semaphore(policy.max_hosts * policy.per_host)  # answers that wait to be taken

    # -- hosts take turns

    async def drive(self, items: Iterable[Item]) -> None:
        """Serve all hosts, the ones with most items first: they take longest."""
        ending = asyncio.create_task(self._end_in_time())
        try:
            for item in items:
                try:
                    self._own.add(_site(split(item.url).host))
                    self._host(item.url).waiting.append(_Errand(item))
                except UrlError as error:
                    await self._emit(item, refusal(item.url, error.reason, error.detail))
            hosts = sorted(self._hosts.values(), key=lambda host: -len(host.waiting))
            async with asyncio.TaskGroup() as group:
                for host in hosts:
                    await self._places.acquire()
                    group.create_task(self._serve(host))
        finally:
            ending.cancel()
            self.done.put_nowait(None)

    async def _end_in_time(self) -> None:
        """At the round's end: what is under way goes on to its own deadline, nothing else is asked any more."""
        if self._policy.ends_at is None:
            return
        await asyncio.sleep(self._policy.ends_at - time.time())
        self._over.set()
        for manners in self._manners.values():
            manners.pace.end()
        for host in self._hosts.values():
            host.ended = host.ended or _ROUND_ENDED

    async def _serve(self, host: _Host) -> None:
        """Ask until a host has nothing left. Entered and left with, and paused without, one of the lane's places."""
        while True:
            try:
                async with asyncio.TaskGroup() as workers:
                    for _ in range(min(self._policy.per_host, len(host.waiting) + len(host.retries))):
                        workers.create_task(self._work(host))
            finally:
                self._places.release()
            due_at = host.due_at()
            if due_at is None:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), due_at - _now())
            await self._places.acquire()

    async def _work(self, host: _Host) -> None:
        while (errand := host.next()) is not None:
            try:
                answer = await self._attempt(host, errand)
            except NetFault as fault:
                answer = refusal(errand.item.url, fault.reason, fault.detail, errand.tries)
            except Exception as error:
                detail = redact(f"{type(error).__name__}: {error}")[:256]
                answer = refusal(errand.item.url, NetReason.INTERNAL_ERROR, detail, errand.tries)
            if answer is None:
                host.waiting.appendleft(errand)
            elif (wait_s := self._retry_wait_s(host, errand, answer)) is not None:
                due_at = max(_now() + wait_s, host.resume_at)
                heapq.heappush(host.retries, (due_at, next(self._entries), errand))
            else:
                self._count_failures(host, answer)
                await self._emit(
                    errand.item, answer if answer.tries == errand.tries else replace(answer, tries=errand.tries)
                )

    # -- one URL

    async def _attempt(self, host: _Host, errand: _Errand) -> Answer | None:
        """Ask once; None where the host was parked before the request left."""
        if host.ended:
            return refusal(errand.item.url, *host.ended)
        if not errand.tries and self._policy.host_budget and host.asked >= self._policy.host_budget:
            return refusal(errand.item.url, NetReason.HOST_BUDGET, f"limit {self._policy.host_budget}")
        seat = _Seat(self)
        try:
            url = str(split(errand.item.url, self._policy.want.max_url_bytes))
            await seat.take(host, url)
            verdict = await self._robots.verdict(url, host.pace.turn)
            if verdict.retry_in_s is not None:
                host.park(verdict.retry_in_s)
                return None
            if verdict.reason:
                return refusal(errand.item.url, verdict.reason, verdict.detail)
            host.pace.heed(verdict.crawl_delay_s, verdict.asked_at)
            await host.pace.turn()
            if host.parked or host.ended:
                return None
            host.asked += not errand.tries
            errand.tries += 1
            answer = await self._client.get(errand.item.url, self._policy.want, lambda hop: self._allow_hop(seat, hop))
        finally:
            seat.leave()
        self._heed(host, answer)
        return replace(answer, robots_fetched_at=verdict.fetched_at, tries=errand.tries)

    async def _allow_hop(self, seat: _Seat, url: str) -> tuple[NetReason, str] | None:
        """Judge where a redirect leads by the manners of that host, and wait for its turn."""
        if self._policy.scope and (reason := self._policy.scope(url)):
            return reason, "out of scope"
        seat.asked(last_asked_at())
        host = self._host(url)
        await seat.take(host, url)
        verdict = await self._robots.verdict(url, host.pace.turn)
        if verdict.reason:
            return verdict.reason, verdict.detail
        if host.ended:
            return host.ended
        host.pace.heed(verdict.crawl_delay_s, verdict.asked_at)
        await host.pace.turn()
        return (NetReason.RATE_LIMITED, "this host is parked") if host.parked else None

    def _heed(self, host: _Host, answer: Answer) -> None:
        """What the host that answered last asks of us, for all its items."""
        if answer.asked_at:
            host = self._host(answer.final_url)
        host.pace.asked(answer.asked_at)
        if answer.status in (429, 503):
            host.pace.strained(answer.asked_at)
        elif answer.reason is None:
            host.pace.answered(answer.asked_at, answer.seconds)
        if answer.reason is NetReason.RATE_LIMITED and answer.status is not None:
            wait_s = self._web.rate_limit_default_s if answer.retry_after_s is None else answer.retry_after_s
            if wait_s > self._web.rate_limit_max_s:
                host.ended = answer.reason, f"Retry-After {wait_s:g} s (limit {self._web.rate_limit_max_s:g} s)"
            else:
                host.park(wait_s)
        if answer.reason is NetReason.DNS_NOT_FOUND:
            host.ended = answer.reason, answer.detail

    def _retry_wait_s(self, host: _Host, errand: _Errand, answer: Answer) -> float | None:
        return None if host.ended else retry_wait_s(answer.reason, errand.tries, errand.item.key, self._web)

    def _count_failures(self, host: _Host, answer: Answer) -> None:
        """Pause a host that gave no answer to several items in a row; end it after some pauses without one."""
        if answer.hops or not answer.tries:
            return
        if answer.status is not None or answer.reason not in _NO_ANSWER:
            host.failed_in_a_row = host.pauses = 0
            return
        host.failed_in_a_row += 1
        if host.failed_in_a_row < self._web.connect_failures_limit:
            return
        host.failed_in_a_row = 0
        host.pauses += 1
        if host.pauses > self._web.connect_failures_pauses:
            host.ended = answer.reason, f"no answer to {host.pauses * self._web.connect_failures_limit} URLs in a row"
        else:
            host.park(self._web.connect_failures_pause_s)

    # -- what hosts share

    def _host(self, url: str) -> _Host:
        """The host of a URL, of one met by redirect too. Raises UrlError."""
        origin_ = origin(url)
        if origin_ not in self._hosts:
            ended = _ROUND_ENDED if self._over.is_set() else None
            self._hosts[origin_] = _Host(self._manners_of(split(url).host), ended=ended)
        return self._hosts[origin_]

    def _manners_of(self, name: str) -> _Manners:
        if name not in self._manners:
            policy = self._policy
            share = policy.shares.get(name, 1) if _site(name) in self._own else policy.lanes
            pace = Pace(policy.delay_s, policy.rate_per_host, share)
            if self._over.is_set():
                pace.end()
            self._manners[name] = _Manners(pace, asyncio.Semaphore(max(1, policy.per_host // share)))
        return self._manners[name]

    async def address_seats(self, url: str) -> asyncio.Semaphore | None:
        """Seats at the address behind a URL; None without a limit, or where the request will end without one."""
        if not self._policy.max_address_connections:
            return None
        parts = split(url)
        try:
            address = (await self._client.guard.target(parts.host, parts.port)).addresses[0]
        except (NetFault, UrlError):
            return None
        return self._addresses.setdefault(address, asyncio.Semaphore(self._policy.max_address_connections))

    async def _emit(self, item: Item, answer: Answer) -> None:
        await self.room.acquire()
        self.done.put_nowait((item, answer))


def _site(host: str) -> str:
    """A name with and without www is one site: its items are in one lane, and they redirect to each other."""
    return host.removeprefix("www.")


def _now() -> float:
    return asyncio.get_running_loop().time()
