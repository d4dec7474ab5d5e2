"""Manners: how fast and over how many connections one host name may be asked, whatever its schemes and ports.

Other lanes may ask the same host. A name whose items were split over several lanes gives each of them its share of
rate and connections. A name met by redirect alone may be met by every lane there is, and is shared with all of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pipeline.web.pace import Pace
from pipeline.web.policy import LanePolicy


@dataclass(frozen=True, slots=True)
class Manners:
    """What all origins of one host name share."""

    pace: Pace
    seats: asyncio.Semaphore  # requests that may be open at one time


class MannersByName:
    """The manners of every host name a lane meets."""

    def __init__(self, policy: LanePolicy) -> None:
        self._policy = policy
        self._by_name: dict[str, Manners] = {}
        self._own: set[str] = set()  # sites whose items are this lane's
        self._is_over = False

    def own(self, name: str) -> None:
        """Items of this host are in this lane."""
        self._own.add(_site(name))

    def of(self, name: str) -> Manners:
        """The manners of a host name, made when it is first met."""
        if name not in self._by_name:
            share = self.share(name)
            pace = Pace(self._policy.delay_s, self._policy.rate_per_host, share)
            if self._is_over:
                pace.end()
            self._by_name[name] = Manners(pace, asyncio.Semaphore(max(1, self._policy.per_host // share)))
        return self._by_name[name]

    def share(self, name: str) -> int:
        """How many lanes may ask this host at one time."""
        return self._policy.shares.get(name, 1) if _site(name) in self._own else self._policy.lanes

    def end(self) -> None:
        """Give no more turns at any host, those met later included."""
        self._is_over = True
        for manners in self._by_name.values():
            manners.pace.end()


def _site(name: str) -> str:
    """A name with and without www is one site: its items are in one lane, and they redirect to each other."""
    return name.removeprefix("www.")
