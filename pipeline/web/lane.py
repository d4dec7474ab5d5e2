"""A lane: many hosts asked at once, each with its own manners, so that a slow host never idles the others.

    items ──by origin──▶ hosts ──max_hosts at a time──▶ workers (per_host each) ──▶ (item, answer)

Here hosts take turns. A host that has to wait (robots.txt unreachable, Retry-After, refused connections, retries not
yet due) gives its place to another one and queues for a place when its time comes. The rest has files of its own:

    host.py       what waits for an origin, until when it is parked    parking.py    which answers make a host wait
    manners.py    pace and connections of a host name                  retry.py      which answers are tried again
    attempt.py    one try: seat, robots.txt, turn, request             redirects.py  the same for each hop

Every item gets exactly one answer, in no fixed order. What fails inside us is an answer too (``internal_error``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from dataclasses import replace

from pipeline.web.attempt import Attempts
from pipeline.web.client import Answer, Client, refusal
from pipeline.web.host import Errand, Host, Hosts, Item
from pipeline.web.netguard import NetFault
from pipeline.web.pace import now
from pipeline.web.policy import LanePolicy
from pipeline.web.reasons import NetReason
from pipeline.web.retry import retry_wait_s
from pipeline.web.robots import Robots
from pipeline.web.urls import UrlError, redact

__all__ = ["Hosts", "Item", "LanePolicy", "run_lane"]


async def run_lane(
    items: Iterable[Item], policy: LanePolicy, client: Client, robots: Robots, hosts: Hosts | None = None
) -> AsyncGenerator[tuple[Item, Answer], None]:
    """Answers as they come, one for each item. Closing the iterator early leaves no task behind.

    An answer waits until it is taken: a slow consumer slows the lane and fills no memory. ``hosts`` are those of an
    earlier call that is over: their pace, waits and ends hold on.
    """
    lane = _Lane(policy, client, robots, hosts or Hosts(policy))
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


class _Lane:
    def __init__(self, policy: LanePolicy, client: Client, robots: Robots, hosts: Hosts) -> None:
        self._policy, self._web = policy, client.web
        self._hosts = hosts
        self._attempts = Attempts(policy, client, robots, self._hosts)
        self._over = asyncio.Event()
        self._places = asyncio.Semaphore(policy.max_hosts)
        self.done: asyncio.Queue[tuple[Item, Answer] | None] = asyncio.Queue()
        self.room = asyncio.Semaphore(policy.max_hosts * policy.per_host)  # answers that wait to be taken

    async def drive(self, items: Iterable[Item]) -> None:
        """Serve all hosts, then say that there are no more answers."""
        ending = asyncio.create_task(self._end_in_time())
        try:
            for item in items:
                try:
                    self._hosts.add(item)
                except UrlError as error:
                    await self._emit(item, refusal(item.url, error.reason, error.detail))
            async with asyncio.TaskGroup() as group:
                for host in self._hosts.longest_first():
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
        self._hosts.end()

    async def _serve(self, host: Host) -> None:
        """Ask until a host has nothing left. Entered and left with, and paused without, one of the lane's places."""
        while True:
            try:
                async with asyncio.TaskGroup() as workers:
                    for _ in range(min(self._policy.per_host, host.left)):
                        workers.create_task(self._work(host))
            finally:
                self._places.release()
            due_at = host.due_at()
            if due_at is None:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), due_at - now())
            await self._places.acquire()

    async def _work(self, host: Host) -> None:
        """Ask for one item after the other: each is put back, retried later or answered."""
        while (errand := host.next(now())) is not None:
            answer = await self._ask(host, errand)
            if answer is None:
                host.put_back(errand)
            elif (wait_s := self._retry_wait_s(host, errand, answer)) is not None:
                host.retry(errand, now() + wait_s)
            else:
                await self._emit(errand.item, self._last(host, errand, answer))

    async def _ask(self, host: Host, errand: Errand) -> Answer | None:
        """Ask once; None where the item has to wait. What goes wrong is an answer, whatever it is."""
        try:
            return await self._attempts.ask(host, errand)
        except NetFault as fault:
            return refusal(errand.item.url, fault.reason, fault.detail, errand.tries)
        except Exception as error:
            detail = redact(f"{type(error).__name__}: {error}")[:256]
            return refusal(errand.item.url, NetReason.INTERNAL_ERROR, detail, errand.tries)

    def _retry_wait_s(self, host: Host, errand: Errand, answer: Answer) -> float | None:
        return None if host.ended else retry_wait_s(answer.reason, errand.tries, errand.item.key, self._web)

    def _last(self, host: Host, errand: Errand, answer: Answer) -> Answer:
        """The answer that ends an errand, with all its tries. A refusal has none of its own and is no silence."""
        host.obey(host.silence.count(answer, self._web), now())
        return answer if answer.tries == errand.tries else replace(answer, tries=errand.tries)

    async def _emit(self, item: Item, answer: Answer) -> None:
        await self.room.acquire()
        self.done.put_nowait((item, answer))
