"""The tail of a round: only parked hosts are left, and nothing else is waited for.

Patience with a host costs nothing while there is other work. In the tail it costs the time of the whole run, so it has
a limit. A host that gives an answer again ends the tail.
"""

from __future__ import annotations

LEAST_S = 20.0
SHARE = 0.1  # of the time that the round took so far


class Tail:
    """How long parked hosts are waited for. ``tail_s`` 0: the larger of LEAST_S and SHARE. Times are of the event
    loop's clock."""

    def __init__(self, tail_s: float, begun: float) -> None:
        self._tail_s, self._begun = tail_s, begun
        self._ends_at: float | None = None

    def ends_at(self, now: float) -> float:
        """When the tail is over; it begins with the first call after an answer."""
        if self._ends_at is None:
            self._ends_at = now + (self._tail_s or max(LEAST_S, SHARE * (now - self._begun)))
        return self._ends_at

    def answered(self) -> None:
        """A host has answered: it is not parked, and the next tail is a new one."""
        self._ends_at = None
