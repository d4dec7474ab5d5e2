"""A lane says what it does, from time to time, and writes down where its threads are if it stands still."""

from __future__ import annotations

import asyncio
import faulthandler
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from pipeline.core.lanes import STALLED_S, LaneState, say
from pipeline.core.storage import Storage
from pipeline.web.lane import Lane

PAUSE_S, STORE_PAUSE_S = 1.0, 20.0  # between two files, on a disk and on a store


@asynccontextmanager
async def saying(lane: Lane, storage: Storage, stage: str, number: int) -> AsyncIterator[None]:
    """Say what a lane does while the block runs; after STALLED_S without progress, stacks go to stderr."""
    task = asyncio.create_task(_say(lane, storage, stage, number))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        faulthandler.cancel_dump_traceback_later()
        await asyncio.to_thread(say, storage, stage, number, LaneState(lane.state().done, idle=True))


async def _say(lane: Lane, storage: Storage, stage: str, number: int) -> None:
    pause_s = STORE_PAUSE_S if "://" in storage.root else PAUSE_S
    last: LaneState | None = None
    while True:
        state = lane.state()
        if last is None or state.done != last.done or state.idle:
            faulthandler.dump_traceback_later(STALLED_S, file=sys.__stderr__ or sys.stderr)
        if state != last:
            await asyncio.to_thread(say, storage, stage, number, state)
        last = state
        await asyncio.sleep(pause_s)
