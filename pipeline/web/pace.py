"""How often one host is asked: a gap between request starts that heeds the host's own wishes and its strain.

The gap is the largest of our delay, robots' Crawl-delay and one over the rate. The rate begins at its limit, is
halved when the host says it is too much (429, 503) or answers at half its usual speed, and raised by 5 % with each
answer at its usual speed: fast down, slowly up, as in congestion control.
"""

from __future__ import annotations

import asyncio

RAISE = 1.05
SLOWEST = 1 / 32  # of the limit
NOISE_S = 0.1  # a latency that grew by less is no strain


class Pace:
    """Turns of one host. ``rate_per_s`` 0: no rate, the delays alone count. Times are of the event loop's clock."""

    def __init__(self, delay_s: float, rate_per_s: float) -> None:
        self.crawl_delay_s = 0.0
        self.rate_per_s = rate_per_s
        self._delay_s = delay_s
        self._limit_per_s = rate_per_s
        self._line = asyncio.Lock()
        self._next_at = 0.0
        self._slowed_at = 0.0
        self._usual_s: float | None = None

    @property
    def gap_s(self) -> float:
        """Least time between two request starts, seconds."""
        return max(self._delay_s, self.crawl_delay_s, 1 / self.rate_per_s if self.rate_per_s else 0.0)

    async def turn(self) -> None:
        """Wait until the next request may start."""
        loop = asyncio.get_running_loop()
        async with self._line:
            while (left := self._next_at - loop.time()) > 0:  # asked() may have moved it meanwhile
                await asyncio.sleep(left)
            self._next_at = loop.time() + self.gap_s

    def heed(self, crawl_delay_s: float, robots_asked_at: float) -> None:
        """Keep robots.txt's Crawl-delay, after the request for robots.txt too."""
        self.crawl_delay_s = crawl_delay_s
        self.asked(robots_asked_at)

    def asked(self, at: float) -> None:
        """A request left at ``at``, later than its turn where a connection had to be made: the gap counts from here."""
        self._next_at = max(self._next_at, at + self.gap_s)

    def answered(self, asked_at: float, seconds: float) -> None:
        """An answer took ``seconds``: judge the host's strain by it."""
        if self._usual_s is None:
            self._usual_s = seconds
        if seconds > max(2 * self._usual_s, self._usual_s + NOISE_S):
            self.strained(asked_at)
        elif self.rate_per_s:
            self.rate_per_s = min(self.rate_per_s * RAISE, self._limit_per_s)
        self._usual_s += (seconds - self._usual_s) / 10

    def strained(self, asked_at: float) -> None:
        """Halve the rate; once for all requests that were already under way."""
        if asked_at > self._slowed_at:
            self.rate_per_s = max(self.rate_per_s / 2, self._limit_per_s * SLOWEST)
            self._slowed_at = asyncio.get_running_loop().time()
