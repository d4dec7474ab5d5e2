"""When a host has to wait and when it is left to a later run, judged by its answers alone.

    limits us (429, 503 with Retry-After)   pause as long as it asks; end where that is over web.rate_limit_max_s
    name does not exist                     end: none of its other items would get further
    no connection for several items         pause; after web.connect_failures_pauses such pauses, end

A paused host is parked: it gives its place in the lane to another one. Pure functions and counts; the waiting itself
is in `pipeline.web.host` and `pipeline.web.lane`, and its limit in `pipeline.web.tail`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pipeline.web.client import Answer
from pipeline.web.config import WebConfig
from pipeline.web.reasons import NetReason, WebReason

NO_ANSWER = frozenset({NetReason.CONNECT_FAILED, NetReason.DEADLINE_EXCEEDED})


class Pause(NamedTuple):
    """The host is asked for nothing for so long. Its items get this reason if the round ends meanwhile."""

    seconds: float
    reason: WebReason
    detail: str


class End(NamedTuple):
    """The host is asked for nothing more in this run; all its items get this reason."""

    reason: WebReason
    detail: str


def wait_asked_for(answer: Answer, web: WebConfig) -> Pause | End | None:
    """What one answer means for all items of the host that gave it; None: nothing."""
    if answer.reason is NetReason.DNS_NOT_FOUND:
        return End(answer.reason, answer.detail)
    if answer.reason is not NetReason.RATE_LIMITED or answer.status is None:
        return None
    wait_s = web.rate_limit_default_s if answer.retry_after_s is None else answer.retry_after_s
    if wait_s > web.rate_limit_max_s:
        return End(answer.reason, f"Retry-After {wait_s:g} s (limit {web.rate_limit_max_s:g} s)")
    return Pause(wait_s, answer.reason, answer.detail)


@dataclass(slots=True)
class Silence:
    """How long a host has not answered. Any answer, an error too, sets both counts back to 0."""

    items: int = 0  # without an answer since the last pause
    pauses: int = 0

    def count(self, answer: Answer, web: WebConfig) -> Pause | End | None:
        """Count the last answer of an item (retries are over). None: go on.

        A request that was redirected says nothing about its first host, an item that was not asked for nothing at all.
        """
        if answer.hops or not answer.tries:
            return None
        if answer.status is not None or answer.reason not in NO_ANSWER:
            self.items = self.pauses = 0
            return None
        self.items += 1
        if self.items < web.connect_failures_limit:
            return None
        self.items = 0
        self.pauses += 1
        if self.pauses > web.connect_failures_pauses:
            return End(answer.reason, f"no answer to {self.pauses * web.connect_failures_limit} URLs in a row")
        silent = f"no answer to {web.connect_failures_limit} URLs in a row"
        return Pause(web.connect_failures_pause_s, answer.reason, silent)
