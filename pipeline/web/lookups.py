"""Look-ups of names: shared, remembered for a while, and fair: slow names hold up no others for good.

The system's resolver blocks, so each look-up under way has a thread. At most MOST are under way, and PER_DOMAIN of one
registered domain, whose names may all be slow. The clock of a look-up starts with its thread. One that is given up
keeps its thread until the resolver returns; one that nobody waits for any more never gets one.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary

from pipeline.web import sockets
from pipeline.web.allowance import Allowance
from pipeline.web.domains import registered_domain
from pipeline.web.reasons import NetFault, NetReason

MOST = 64  # under way; a local resolver asked for more answers "temporary failure" (img2dataset#360)
LEAST = 4
PER_DOMAIN = 8
AGE_S = 300.0  # the system's resolver tells no TTL; at most 600 s are allowed
MAX_CACHED = 100_000
WINDOW, SICK_SHARE = 1000, 0.2  # of the last so many look-ups

_NOT_FOUND = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

Lookup = Callable[[str], list[str]]


def system_lookup(name: str) -> list[str]:
    """Addresses of a name by the system's resolver, in its order. Blocks; raises socket.gaierror."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class Lookups:
    """Used in one event loop. ``sick`` says what was wrong with a resolver that had to be asked more slowly."""

    def __init__(self, lookup: Lookup, timeout_s: float) -> None:
        self._lookup, self._timeout_s = lookup, timeout_s
        self._threads = ThreadPoolExecutor(MOST, thread_name_prefix="lookup")
        self._under_way = Allowance(MOST)
        self._of_domain: WeakValueDictionary[str, Allowance] = WeakValueDictionary()
        self._cache: dict[str, tuple[float, asyncio.Task[list[str]]]] = {}
        self._waiting: dict[str, int] = {}
        self._failed: deque[bool] = deque(maxlen=WINDOW)
        self.sick = ""

    def close(self) -> None:
        """Give the threads back; look-ups that still run are not waited for."""
        for _, task in self._cache.values():
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def addresses(self, name: str) -> list[str]:
        """Addresses of a name. NetFault if it has none, or if the resolver is sick, which is not remembered."""
        now = asyncio.get_running_loop().time()
        expires_at, task = self._cache.get(name, (0.0, None))
        if task is None or now >= expires_at or task.cancelled():
            if len(self._cache) >= MAX_CACHED:
                self._forget()
            task = asyncio.create_task(self._ask(name))
            self._cache[name] = now + AGE_S, task
        self._waiting[name] = self._waiting.get(name, 0) + 1
        try:
            return await asyncio.shield(task)
        except NetFault as fault:
            if fault.reason is not NetReason.DNS_NOT_FOUND:
                self._cache.pop(name, None)
            raise NetFault(fault.reason, fault.detail) from None  # one per request: it gets a traceback of its own
        finally:
            self._leave(name, task)

    def _leave(self, name: str, task: asyncio.Task[list[str]]) -> None:
        self._waiting[name] -= 1
        if not self._waiting[name]:
            del self._waiting[name]
            if not task.done():
                task.cancel()
                self._cache.pop(name, None)

    def _forget(self) -> None:
        """Forget all that is known, but what is being asked."""
        self._cache = {name: entry for name, entry in self._cache.items() if not entry[1].done()}

    async def _ask(self, name: str) -> list[str]:
        domain = registered_domain(name)
        of_domain = self._of_domain.setdefault(domain, Allowance(PER_DOMAIN))
        await of_domain.acquire()
        try:
            await self._under_way.acquire()
        except asyncio.CancelledError:
            of_domain.release()
            raise
        thread = asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, name)
        thread.add_done_callback(lambda done: self._returned(done, of_domain))
        try:
            found = await asyncio.wait_for(asyncio.shield(thread), self._timeout_s)
        except TimeoutError:
            raise NetFault(NetReason.DNS_FAILED, f"{name}: no answer in {self._timeout_s:g} s") from None
        except (OSError, UnicodeError) as error:
            raise _fault(name, error) from None
        if not found:
            raise NetFault(NetReason.DNS_NOT_FOUND, name)
        return found

    def _returned(self, done: asyncio.Future[list[str]], of_domain: Allowance) -> None:
        """The resolver has returned, whether or not somebody still waits."""
        self._under_way.release()
        of_domain.release()
        error = None if done.cancelled() else done.exception()
        self._failed.append(isinstance(error, OSError) and _fault("", error).reason is NetReason.DNS_FAILED)
        if len(self._failed) == WINDOW and sum(self._failed) > SICK_SHARE * WINDOW:
            self._under_way.resize(max(LEAST, self._under_way.size // 2))
            self.sick = f"{sum(self._failed) / WINDOW:.0%} of the last {WINDOW} look-ups of names failed: {error}"
            self._failed.clear()


def _fault(name: str, error: OSError | UnicodeError) -> NetFault:
    """What an error of the resolver means."""
    if isinstance(error, UnicodeError) or error.errno in _NOT_FOUND:
        return NetFault(NetReason.DNS_NOT_FOUND, name)
    if sockets.is_ours(error, ipv4_only=False):
        return NetFault(NetReason.LOCAL_LIMIT, sockets.told(error))
    return NetFault(NetReason.DNS_FAILED, f"{name}: {error.strerror or error}")
