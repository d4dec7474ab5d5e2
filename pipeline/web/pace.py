"""How often one host is asked: a gap between request starts that heeds the host's own wishes and its strain.

The gap is the largest of our delay, robots' Crawl-delay and one over the rate. The rate begins at its limit, is
halved when the host says it is too much (429, 503) or answers at half its usual speed, and raised by 5 % with each
answer at its usual speed: fast down, slowly up, as in congestion control.
"""

from __future__ import annotations

import asyncio

from pipeline.web.reasons import NetFault, NetReason

RAISE = 1.05
SLOWEST = 1 / 32  # of the limit
NOTICE_S = 1.0  # longest sleep of one who waits for a turn, before it looks up again
NOISE_S = 0.1  # a smaller growth of latency is not strain


def now() -> float:
    """The clock of all waits in a lane: the event loop's, in seconds."""
    return asyncio.get_running_loop().time()


class Pace:
    """Turns of one host. ``rate_per_s`` 0: no rate, the delays alone count. Times are of the event loop's clock.

    ``share`` lanes ask this host at one time: each keeps ``share`` times the gap, all together the gap itself.
    """

    def __init__(self, delay_s: float, rate_per_s: float, share: int = 1) -> None:
        self._share = share
        self.crawl_delay_s = 0.0
        self.rate_per_s = rate_per_s
        self._delay_s = delay_s
        self._limit_per_s = rate_per_s
        self._line = asyncio.Lock()
        self._next_at = 0.0
        self._slowed_at = 0.0
        self._usual_s: float | None = None
        self._ended = False

    @property
    def gap_s(self) -> float:
        """Least time between two request starts, seconds."""
        return self._share * max(self._delay_s, self.crawl_delay_s, 1 / self.rate_per_s if self.rate_per_s else 0.0)

    async def turn(self) -> None:
        """Wait until the next request may start. NetFault ``round_ended``: there are no more turns."""
        loop = asyncio.get_running_loop()
        async with self._line:
            while not self._ended and (left := self._next_at - loop.time()) > 0:  # asked() may have moved it meanwhile
                await asyncio.sleep(min(left, NOTICE_S))
            if self._ended:
                raise NetFault(NetReason.ROUND_ENDED, "no turn came before the round's time was over")
            self._next_at = loop.time() + self.gap_s

    def end(self) -> None:
        """Give no more turns; who waits for one learns it within a second."""
        self._ended = True

    def heed(self, crawl_delay_s: float, robots_asked_at: float) -> None:
        """Keep robots.txt's Crawl-delay, the longest of the host's origins, after the request for robots.txt too."""
        self.crawl_delay_s = max(self.crawl_delay_s, crawl_delay_s)
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
