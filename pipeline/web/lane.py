"""A lane: many hosts asked at once, each with its own manners, so that a slow host never idles the others.

    groups of items, one per origin ──▶ hosts ──as many as it can serve──▶ workers (per_host each) ──▶ (item, answer)

Here hosts take turns. A host that has to wait (robots.txt unreachable, Retry-After, refused connections, retries not
yet due) gives its place to another one and queues for a place when its time comes. When all that is left has to wait,
it is waited for only so long. The rest has files of its own:

    host.py       what waits for an origin, until when it is parked    parking.py    which answers make a host wait
    manners.py    pace and connections of a host name                  retry.py      which answers are tried again
    attempt.py    one try: seat, robots.txt, turn, request             redirects.py  the same for each hop
    tail.py       how long parked hosts are waited for

Every item gets exactly one answer, in no fixed order. What fails inside us is an answer too (``internal_error``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Container, Iterable
from contextlib import suppress
from dataclasses import replace

from pipeline.core.errors import PairmillError
from pipeline.core.lanes import LaneState
from pipeline.web import sockets
from pipeline.web.allowance import Allowance
from pipeline.web.attempt import Attempts
from pipeline.web.breadth import Breadth, Pressure
from pipeline.web.client import Answer, Client, refusal
from pipeline.web.host import Errand, Group, Host, Hosts, Item, in_groups
from pipeline.web.left_over import LeftOver
from pipeline.web.pace import now
from pipeline.web.policy import LanePolicy
from pipeline.web.reasons import NetFault, NetReason
from pipeline.web.retry import retry_wait_s
from pipeline.web.robots import Robots
from pipeline.web.tail import Tail
from pipeline.web.urls import UrlError, redact, split

__all__ = ["Group", "Item", "Lane", "LanePolicy", "in_groups"]

MAX_UNTAKEN = 256  # answers that wait to be taken; a long body counts as several
UNTAKEN_BYTES = 1 << 18
MAX_HELD_BYTES = 256 << 20
SLOWER_S = 1.0
MAX_PARKED = 10_000  # hosts that are waited for at one time; each takes some kilobytes


class Lane:
    """One lane, in one event loop. ``own``: the sites whose items are this lane's."""

    def __init__(self, policy: LanePolicy, client: Client, robots: Robots, own: Container[str] = ()) -> None:
        self._policy, self._web = policy, client.web
        self._hosts = Hosts(policy, own)
        self._attempts = Attempts(policy, client, robots, self._hosts)
        self._client, self._robots = client, robots
        self._breadth = Breadth(policy.max_hosts, self._pressure)
        self._places = self._breadth.places
        self._done: asyncio.Queue[tuple[Item, Answer] | None] = asyncio.Queue()
        self._room = Allowance(min(MAX_UNTAKEN, policy.max_hosts * policy.per_host))  # answers that wait to be taken
        self._handled = 0  # answers
        self._held_bytes = 0  # of answers that wait for room, or to be taken
        self._untaken = 0  # answers given, and not yet handled by who takes them
        self._coming = True  # hosts that were not yet asked
        self._open: set[Host] = set()  # hosts that are asked or parked
        self._parked: dict[Host, float] = {}  # due at
        self._tasks, self._all_done = asyncio.TaskGroup(), asyncio.Event()
        self._tail = Tail(policy.tail_s, now())
        self._tail_timer: asyncio.TimerHandle | None = None
        self.left_over = LeftOver()

    async def run(self, groups: Iterable[Group]) -> AsyncGenerator[tuple[Item, Answer], None]:
        """Answers as they come, one for each item. Closing the iterator early leaves no task behind.

        An answer waits until it is taken: a slow consumer slows the lane and fills no memory.
        """
        driver = asyncio.create_task(self._drive(groups))
        try:
            while (done := await self._done.get()) is not None:
                self._room.release(_weight(done[1]))
                self._held_bytes -= len(done[1].body)
                yield done
                self._untaken -= 1
                self._handled += 1
                self._look_around()
            try:
                await driver
            except BaseExceptionGroup as group:
                raise first_of(group) from group
        finally:
            driver.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await driver

    async def _drive(self, groups: Iterable[Group]) -> None:
        """Serve all hosts, then say that there are no more answers."""
        aside = [asyncio.create_task(self._end_in_time()), asyncio.create_task(self._breadth.adapt())]
        try:
            async with self._tasks:
                for group in groups:
                    await self._breadth.ahead.acquire()
                    await self._begin(group)
                self._coming = False
                self._look_around()
                await self._all_done.wait()
        finally:
            for task in aside:
                task.cancel()
            self.left_over.slowed = self.left_over.slowed or self._client.guard.lookups.sick
            if self._tail_timer is not None:
                self._tail_timer.cancel()
            self._done.put_nowait(None)

    async def _end_in_time(self) -> None:
        """At the round's end: what is under way goes on to its own deadline, nothing else is asked any more."""
        if self._policy.ends_at is None:
            return
        await asyncio.sleep(self._policy.ends_at - time.time())
        self._hosts.end()

    async def _begin(self, group: Group) -> None:
        """Begin with a host; or refuse what cannot be asked for."""
        if group.origin:
            host = self._hosts.open(group)
            if group.retried:
                self._robots.expect_nothing(host.origin)
            if group.robots:
                self._robots.remember(host.origin, *group.robots)
            self._open.add(host)
            self._tasks.create_task(self._approach(host))
            return
        self._breadth.ahead.release()
        for item in group.items:
            try:
                split(item.url)
            except UrlError as error:
                await self._emit(item, refusal(item.url, error.reason, error.detail))
            else:
                self.ask_too(item)

    def ask_too(self, item: Item) -> None:
        """Ask for one more item, while the item that led to it is being handled."""
        try:
            host = self._hosts.add(item)
        except UrlError as error:
            self._tasks.create_task(self._emit(item, refusal(item.url, error.reason, error.detail)))
            return
        if host not in self._open:
            self._open.add(host)
            self._tasks.create_task(self._serve_again(host))

    async def _approach(self, host: Host) -> None:
        """Ask for robots.txt ahead of the host's turn: a silent host is known before it takes a place."""
        try:
            await self._attempts.approach(host)
            await self._places.acquire()
        finally:
            self._breadth.ahead.release()
        await self._serve(host)

    async def _serve_again(self, host: Host) -> None:
        await self._places.acquire(again=True)
        await self._serve(host)

    async def _serve(self, host: Host) -> None:
        """Ask until a host has nothing left. Entered and left with, and paused without, one of the lane's places."""
        while True:
            try:
                async with asyncio.TaskGroup() as workers:
                    for _ in range(min(self._policy.per_host, host.left)):
                        workers.create_task(self._work(host))
            finally:
                self._places.release()
                self._client.close_idle(host.origin)
            due_at = host.due_at()
            if due_at is None:
                self._open.remove(host)
                self._hosts.rest(host)
                self._look_around()
                return
            await self._wait(host, due_at)
            await self._places.acquire(again=True)

    async def _wait(self, host: Host, due_at: float) -> None:
        """Wait until a host may be asked again, or has ended."""
        if len(self._parked) >= MAX_PARKED:
            self._give_up(host)
            return
        self._parked[host] = due_at
        self._look_around()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due_at):
                    await host.woken.wait()
        finally:
            del self._parked[host]

    def state(self) -> LaneState:
        """What the lane does now."""
        at = time.time() - now()
        parked = {host: due_at for host, due_at in self._parked.items() if host.left}
        waits = bool(self._parked) and len(self._parked) == len(self._open) and not self._untaken
        return LaneState(
            done=self._handled,
            asked=len(self._open) - len(self._parked),
            parked=len(parked),
            next_at=round(at + min(parked.values())) if parked else None,
            ends_at=round(at + self._tail.ends_at(now())) if parked and waits and not self._coming else None,
            idle=waits,
        )

    def _look_around(self) -> None:
        """Whether nothing is left; or, where all that is left is parked, give up what is not due within the tail."""
        if self._coming or self._untaken or len(self._parked) < len(self._open):
            return
        if not self._open:
            self._all_done.set()
            return
        ends_at = self._tail.ends_at(now())
        if min(self._parked.values()) > ends_at:
            for host in self._parked:
                self._give_up(host)
            return
        if self._tail_timer is not None:
            self._tail_timer.cancel()
        self._tail_timer = asyncio.get_running_loop().call_at(ends_at, self._look_around)

    def _give_up(self, host: Host) -> None:
        if not host.ended:
            left = host.left
            self.left_over.add(host.give_up().reason, left)

    async def _work(self, host: Host) -> None:
        """Ask for one item after the other: each is put back, retried later or answered."""
        while (errand := host.next(now())) is not None:
            answer = await self._ask(host, errand)
            if answer is None:
                host.put_back(errand)
            elif answer.reason is NetReason.LOCAL_LIMIT:
                host.put_back(errand)
                await self._slow_down(answer.detail)
            elif (wait_s := self._retry_wait_s(host, errand, answer)) is not None:
                errand.note(answer)
                host.retry(errand, now() + wait_s)
            else:
                await self._emit(errand.item, self._last(host, errand, answer))

    async def _slow_down(self, detail: str) -> None:
        """This machine has run out of something: fewer requests at one time, and no host is blamed."""
        requests = self._client.requests
        requests.resize(max(sockets.LEAST, min(requests.size, requests.taken) * 3 // 4))
        self.left_over.slowed = detail
        await asyncio.sleep(SLOWER_S)

    async def _ask(self, host: Host, errand: Errand) -> Answer | None:
        """Ask once; None where the item has to wait. What goes wrong with it is an answer, whatever it is."""
        try:
            return await self._attempts.ask(host, errand)
        except NetFault as fault:
            return refusal(errand.item.url, fault.reason, fault.detail, errand.tries)
        except PairmillError:
            raise
        except Exception as error:
            detail = redact(f"{type(error).__name__}: {error}")[:256]
            return refusal(errand.item.url, NetReason.INTERNAL_ERROR, detail, errand.tries)

    def _retry_wait_s(self, host: Host, errand: Errand, answer: Answer) -> float | None:
        return None if host.ended else retry_wait_s(answer.reason, errand.tries, errand.item.key, self._web)

    def _last(self, host: Host, errand: Errand, answer: Answer) -> Answer:
        """The answer that ends an errand, with all its tries. A refusal has none of its own and is no silence."""
        tried = errand.tried[:-1] if answer is errand.last else errand.tried
        if answer.reason and answer.reason.retryable:
            tried = [*tried, *host.waits]
        if not host.ended:
            host.obey(host.silence.count(answer, self._web), now())
            if answer.status is not None and not (answer.reason and answer.reason.retryable):
                self._tail.answered()
        if answer.tries == errand.tries and not tried:
            return answer
        return replace(answer, tries=errand.tries, tried=tuple(sorted(tried)))

    async def _emit(self, item: Item, answer: Answer) -> None:
        self._held_bytes += len(answer.body)
        await self._room.acquire(_weight(answer))
        self._untaken += 1
        self._done.put_nowait((item, answer))

    def _pressure(self) -> Pressure:
        if self._held_bytes > MAX_HELD_BYTES:
            return Pressure.HEAVY
        return Pressure.FULL if self._room.taken > self._room.size // 2 else Pressure.NONE


def first_of(group: BaseExceptionGroup) -> BaseException:
    """The first of the errors of concurrent tasks: the others are mostly the same."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _weight(answer: Answer) -> int:
    """Of an answer that waits to be taken."""
    return 1 + len(answer.body) // UNTAKEN_BYTES
