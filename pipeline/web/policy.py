"""How a lane asks its hosts; the waits and tries that all lanes share are in `pipeline.web.config`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.web.client import Want
from pipeline.web.reasons import WebReason


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """What the items of a lane have in common."""

    want: Want
    per_host: int = 1  # requests open at one time
    delay_s: float = 1.0  # least gap between request starts, seconds
    rate_per_host: float = 0.0  # most requests per second, lowered under strain; 0: the gap alone counts
    max_hosts: int = 1024  # asked at one time, at most
    host_budget: int = 0  # items asked of one host; 0: no limit
    max_address_connections: int = 0  # requests open to one address over all its hosts; 0: no limit
    scope: Callable[[str], WebReason | None] | None = None  # may refuse where a redirect leads
    shares: Mapping[str, int] = field(default_factory=dict)  # by host name: lanes among which its items were split
    lanes: int = 1  # of this round; each may meet by redirect a host whose items are another's
    tail_s: float = 0.0  # most that parked hosts alone are waited for, seconds; 0: see `pipeline.web.tail`
    ends_at: float | None = None  # time.time() at which the round ends: what was not asked by then is refused
