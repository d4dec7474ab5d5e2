"""One try at one item: what is settled before a request may leave, and what its answer means for the host.

ended? budget? ──▶ seat ──▶ robots.txt ──▶ turn ──▶ request, each hop judged ──▶ pace and waits of the host
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from pipeline.web.client import Answer, Client, refusal
from pipeline.web.host import Errand, Host, Hosts
from pipeline.web.pace import now
from pipeline.web.parking import Pause, wait_asked_for
from pipeline.web.policy import LanePolicy
from pipeline.web.reasons import NetFault, NetReason
from pipeline.web.redirects import Redirects
from pipeline.web.robots import Robots
from pipeline.web.seats import Addresses, Seat
from pipeline.web.urls import UrlError, split


class Attempts:
    """The tries of one lane."""

    def __init__(self, policy: LanePolicy, client: Client, robots: Robots, hosts: Hosts) -> None:
        self._policy, self._client, self._robots, self._hosts = policy, client, robots, hosts
        self._redirects = Redirects(hosts, robots, policy.scope)
        self._addresses = Addresses(client, policy.max_address_connections)

    async def approach(self, host: Host) -> None:
        """Ask for the host's robots.txt, if it is not known. What goes wrong is met again by the first request."""
        with Seat(self._addresses) as seat, suppress(NetFault, UrlError, OSError):
            await seat.take(host, host.origin)
            await self._robots.verdict(f"{host.origin}/", host.pace.turn)

    async def ask(self, host: Host, errand: Errand) -> Answer | None:
        """Ask once; None where the host was parked before the request left. Raises NetFault, UrlError."""
        if host.ended:
            return errand.last or refusal(errand.item.url, *host.ended)
        if not errand.tries and self._policy.host_budget and host.asked >= self._policy.host_budget:
            return refusal(errand.item.url, NetReason.HOST_BUDGET, f"limit {self._policy.host_budget}")
        url = str(split(errand.item.url, self._policy.want.max_url_bytes))
        with Seat(self._addresses) as seat:
            await seat.take(host, url)
            verdict = await self._robots.verdict(url, host.pace.turn)
            if verdict.reason and verdict.retry_in_s is not None:
                host.park(Pause(verdict.retry_in_s, verdict.reason, verdict.detail), now())
                return None
            if verdict.reason:
                return refusal(errand.item.url, verdict.reason, verdict.detail)
            host.pace.heed(verdict.crawl_delay_s, verdict.asked_at)
            await host.pace.turn()
            if host.is_parked(now()) or host.ended:
                return None
            host.asked += not errand.tries
            errand.tries += 1
            answer = await self._client.get(
                errand.item.url, self._policy.want, lambda hop: self._redirects.refusal(hop, seat)
            )
        if answer.reason is NetReason.LOCAL_LIMIT:  # no request was made
            errand.tries -= 1
            host.asked -= not errand.tries
        self._heed(answer, host)
        return replace(answer, robots_fetched_at=verdict.fetched_at, tries=errand.tries)

    def _heed(self, answer: Answer, host: Host) -> None:
        """Tell the host that answered last, which a redirect may have led to, what its answer asks of us."""
        if answer.asked_at:
            host = self._hosts.of(answer.final_url)
        host.pace.asked(answer.asked_at)
        if answer.status in (429, 503):
            host.pace.strained(answer.asked_at)
        elif answer.reason is None:
            host.pace.answered(answer.asked_at, answer.seconds)
        host.obey(wait_asked_for(answer, self._client.web), now())
