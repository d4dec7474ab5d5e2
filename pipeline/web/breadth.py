"""How many hosts a lane asks at one time: enough that slow ones do not keep it waiting, no more than it can serve.

The number adapts as in congestion control. It grows while hosts wait for a place and the lane keeps up. It stays while
answers pile up, because decoding and storing are slower. It shrinks if they fill the memory, or if the event loop is
late: then deadlines would blame hosts for a delay of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from pipeline.web.allowance import Allowance
from pipeline.web.pace import now

FIRST = 64
LEAST = 8
TICK_S = 0.1
LATE_S, VERY_LATE_S = 0.05, 0.25  # of a tick
GROWTH, SHRINKAGE = 1.5, 0.75


class Pressure(Enum):
    """What answers that are not handled yet mean for the hosts to come."""

    NONE = "grow"
    FULL = "stay"
    HEAVY = "shrink"


class Breadth:
    """``places`` for hosts whose items are asked for, and ``ahead`` for those whose robots.txt comes first; up to
    ``most`` of each."""

    def __init__(self, most: int, pressure: Callable[[], Pressure]) -> None:
        self.places, self.ahead = Allowance(min(FIRST, most)), Allowance(min(FIRST, most))
        self._most, self._pressure = most, pressure

    async def adapt(self) -> None:
        """Change the number of places from time to time, until cancelled."""
        while True:
            due_at = now() + TICK_S
            await asyncio.sleep(TICK_S)
            late_s, pressure = now() - due_at, self._pressure()
            self.places.resize(self._next(self.places, pressure, late_s))
            light = Pressure.NONE if pressure is Pressure.FULL else pressure  # robots.txt is no answer to handle
            self.ahead.resize(self._next(self.ahead, light, late_s))

    def _next(self, hosts: Allowance, pressure: Pressure, late_s: float) -> int:
        size, least = hosts.size, min(LEAST, self._most)
        if pressure is Pressure.HEAVY or late_s > VERY_LATE_S:
            return max(least, int(size * SHRINKAGE))
        if hosts.is_short and late_s < LATE_S and pressure is Pressure.NONE:
            return min(self._most, int(size * GROWTH) + 1)
        return size
