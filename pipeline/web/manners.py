"""Manners: how fast and over how many connections one host name may be asked, whatever its schemes and ports.

Other lanes may ask the same host. A name whose items were split over several lanes gives each of them its share of
rate and connections. A name met by redirect alone may be met by every lane there is, and is shared with all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container
from dataclasses import dataclass
from weakref import WeakValueDictionary

from pipeline.web.pace import Pace
from pipeline.web.policy import LanePolicy


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Manners:
    """What all origins of one host name share."""

    pace: Pace
    seats: asyncio.Semaphore  # requests that may be open at one time


class MannersByName:
    """The manners of every host name a lane meets. ``own``: the sites whose items are this lane's."""

    def __init__(self, policy: LanePolicy, own: Container[str] = ()) -> None:
        self._policy = policy
        self._by_name: WeakValueDictionary[str, Manners] = WeakValueDictionary()
        self._own = own
        self._is_over = False

    def of(self, name: str) -> Manners:
        """The manners of a host name, made when it is met, and kept while one of its origins is."""
        known = self._by_name.get(name)
        if known is None:
            share = self.share(name)
            pace = Pace(self._policy.delay_s, self._policy.rate_per_host, share)
            if self._is_over:
                pace.end()
            known = Manners(pace, asyncio.Semaphore(max(1, self._policy.per_host // share)))
            self._by_name[name] = known
        return known

    def share(self, name: str) -> int:
        """How many lanes may ask this host at one time."""
        return self._policy.shares.get(name, 1) if site_of(name) in self._own else self._policy.lanes

    def end(self) -> None:
        """Give no more turns at any host, those met later included."""
        self._is_over = True
        for manners in list(self._by_name.values()):
            manners.pace.end()


def site_of(name: str) -> str:
    """A name with and without www is one site: its items are in one lane, and they redirect to each other."""
    return name.removeprefix("www.")
