"""Why a URL of the frontier gives no page: the network's reasons, and reasons of the crawl alone.

Each code is a row of docs/faults.md (Crawl C1-C31). Opt-outs are not a reason here: a page that may be crawled is
stored with its signals, which bind what is taken *from* it (extract carries them, text judges them).
"""

from __future__ import annotations

from pipeline.core.rules import united
from pipeline.web.reasons import NetReason, WebReason

NETWORK = tuple(reason for reason in NetReason if not reason.startswith("optout_"))


class CrawlReason(WebReason):
    """Rejected by the crawl itself; a retry never helps."""

    TRAP_SUSPECTED = "trap_suspected"  # too deep, too long, or a path that repeats itself (C26)
    DUPLICATE_URL = "duplicate_url"  # other spellings of a page that is in the frontier (C27)
    OUT_OF_SCOPE = "out_of_scope"  # a redirect to a host that is not in scope (C19)


# An enum with members cannot be extended: the stage's closed set is put together from both.
Reason = united(__name__, *NETWORK, *CrawlReason)
Reason.__doc__ = "A drop reason of stage crawl; its full name is ``crawl/dropped/CODE``."

RETRYABLE = tuple(reason.value for reason in NETWORK if reason.retryable)
