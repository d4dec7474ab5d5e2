"""Redirects: each hop is judged by the host it leads to, as the first URL was by its own.

A hop leaves the seat of the host that redirected it, takes one at its own, asks that host's robots.txt, keeps its
pace, and ends where the host is parked or ended: an item that came from elsewhere does not wait there. Following the
hops, and the limits on their number, scheme and address, are the client's (`pipeline.web.client`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.web.host import Hosts
from pipeline.web.netguard import last_asked_at
from pipeline.web.pace import now
from pipeline.web.reasons import NetReason, WebReason
from pipeline.web.robots import Robots
from pipeline.web.seats import Seat


@dataclass(frozen=True, slots=True)
class Redirects:
    """Judges the hops of a lane."""

    hosts: Hosts
    robots: Robots
    scope: Callable[[str], WebReason | None] | None  # may refuse a URL

    async def refusal(self, url: str, seat: Seat) -> tuple[WebReason, str] | None:
        """Why a hop to ``url`` is refused; None once its turn has come. ``seat`` moves to the host of ``url``."""
        if self.scope and (reason := self.scope(url)):
            return reason, "out of scope"
        seat.asked(last_asked_at())
        host = self.hosts.of(url)
        await seat.take(host, url)
        verdict = await self.robots.verdict(url, host.pace.turn)
        if verdict.reason:
            return verdict.reason, verdict.detail
        if host.ended:
            return host.ended
        host.pace.heed(verdict.crawl_delay_s, verdict.asked_at)
        await host.pace.turn()
        return (NetReason.RATE_LIMITED, "this host is parked") if host.is_parked(now()) else None
