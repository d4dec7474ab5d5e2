"""An allowance: so much may be under way at one time, and how much may change meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque


class Allowance:
    """A semaphore with a size that may change, and with weights. Who comes again is served before who comes first.

    What weighs more than the whole size is let in alone. Used in one event loop.
    """

    def __init__(self, size: int) -> None:
        self.size, self.taken = size, 0
        self._again: deque[tuple[asyncio.Future[None], int]] = deque()
        self._new: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def is_short(self) -> bool:
        """Whether somebody waits."""
        return bool(self._again or self._new)

    async def acquire(self, weight: int = 1, again: bool = False) -> None:
        """Wait until there is room for ``weight``, and take it."""
        if not self.is_short and self._fits(weight):
            self.taken += weight
            return
        entry = asyncio.get_running_loop().create_future(), weight
        line = self._again if again else self._new
        line.append(entry)
        try:
            await entry[0]
        except asyncio.CancelledError:
            if entry[0].done() and not entry[0].cancelled():
                self.release(weight)
            elif entry in line:
                line.remove(entry)
            raise

    def release(self, weight: int = 1) -> None:
        """Give back what was taken."""
        self.taken -= weight
        self._let_in()

    def resize(self, size: int) -> None:
        """Allow more, or less from now on: nothing is taken back."""
        self.size = size
        self._let_in()

    def _fits(self, weight: int) -> bool:
        return self.taken + weight <= self.size or not self.taken

    def _let_in(self) -> None:
        while (line := self._again or self._new) and self._fits(line[0][1]):
            entry, weight = line.popleft()
            if not entry.done():
                self.taken += weight
                entry.set_result(None)
