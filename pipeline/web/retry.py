"""Which failures are tried again in this run, how often, and when: pure functions of what happened.

A retryable reason (`pipeline.web.reasons`) is tried up to ``web.tries`` times. A few of them are already the last
word of a whole host, which has waited before it gave them: asking once more cannot help before a later run.
"""

from __future__ import annotations

from pipeline.core.ids import key_of
from pipeline.web.config import WebConfig
from pipeline.web.reasons import NetReason, WebReason

JITTER = 0.25
LATER_RUNS = frozenset(
    {NetReason.ROBOTS_UNREACHABLE, NetReason.OPTOUT_UNREACHABLE, NetReason.HOST_BUDGET, NetReason.ROUND_ENDED}
)


def retry_wait_s(reason: WebReason | None, tries: int, key: str, web: WebConfig) -> float | None:
    """Seconds until an item is asked for again after ``tries`` requests; None where it is not.

    The wait after RATE_LIMITED is 0: the whole host waits as it asked (`pipeline.web.parking`).
    """
    if reason is None or not reason.retryable or reason in LATER_RUNS or not 0 < tries < web.tries:
        return None
    if reason is NetReason.RATE_LIMITED:
        return 0.0
    return web.retry_waits_s[min(tries, len(web.retry_waits_s)) - 1] * _spread(key, tries)


def _spread(key: str, tries: int) -> float:
    """A factor of 1 ± JITTER drawn from the item's key: the same in every run, different for each item."""
    draw = int(key_of(key, str(tries))[:8], 16) / 2**32
    return 1 - JITTER + 2 * JITTER * draw
