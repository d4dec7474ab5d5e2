"""One fetch task: a lane of image hosts, from URLs to committed parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext

from pipeline.core.storage import Storage
from pipeline.stages.fetch.alternates import Row, alternate_of, with_alternate
from pipeline.stages.fetch.blocklist import NO_BLOCKLIST, Blocklist
from pipeline.stages.fetch.config import Config
from pipeline.stages.fetch.image_rows import Examiner, image_settings, measure_answer, want
from pipeline.stages.fetch.store import STAGE, AskedSince, ImagePart, StoredRow, fill_parts
from pipeline.web.client import Answer, Client
from pipeline.web.config import WebConfig
from pipeline.web.lane import Group, Item, Lane, LanePolicy
from pipeline.web.lane_news import saying
from pipeline.web.robots import Robots
from pipeline.web.spool import Spool


def run_fetch_lane(
    batches: Iterator[pa.RecordBatch],
    storage: Storage,
    known: Collection[str],
    measure_key: str,
    config: Config,
    web: WebConfig,
    lanes: int = 1,
    ends_at: float | None = None,
    blocklist: Blocklist = NO_BLOCKLIST,
) -> Iterator[pa.RecordBatch]:
    """Request every image of ``batches`` (`pipeline.stages.fetch.spread`) and store what comes; yields what is left.

    ``known`` names the parts that existed when the todo list was made: what an attempt at this lane that died has
    committed since is not requested again.
    """
    context = TaskContext.get()
    output = _Output(storage, measure_key, context.partitionId() if context else 0)
    done, shares = AskedSince(storage, known, measure_key, output.lane), dict[str, int]()
    with Spool(_to_ask(batches, done, shares), lambda row: Item(row["url_id"], row["request_url"], row)) as spool:
        policy = replace(_policy(config, web), shares=shares, lanes=lanes, ends_at=ends_at)
        if spool:
            yield asyncio.run(_fetch(spool, policy, Examiner(image_settings(config), blocklist), output, config, web))


@dataclass(frozen=True)
class _Output:
    """Where a lane stores its images."""

    storage: Storage
    measure_key: str
    lane: int

    def part(self, robots: Robots) -> ImagePart:
        return ImagePart(self.storage, self.measure_key, self.lane, robots)


def _to_ask(batches: Iterable[pa.RecordBatch], done: AskedSince, shares: dict[str, int]) -> Iterator[pa.RecordBatch]:
    """What is not done; the hosts that are split over several lanes are noted in ``shares``."""
    for batch in batches:
        split_up = batch.filter(pc.greater(batch["share"], 1))
        shares.update(zip(split_up["host"].to_pylist(), split_up["share"].to_pylist(), strict=True))
        yield done.left_of(batch)


async def _fetch(
    spool: Spool,
    policy: LanePolicy,
    examiner: Examiner,
    output: _Output,
    config: Config,
    web: WebConfig,
) -> pa.RecordBatch:
    with examiner:
        starting = asyncio.create_task(asyncio.to_thread(examiner.start))
        async with Client(web) as client:
            robots = Robots(client)
            lane = Lane(policy, client, robots, own=spool)
            async with (
                saying(lane, output.storage, STAGE, output.lane),
                aclosing(_images(spool.groups(), lane, examiner)) as images,
            ):
                await fill_parts(images, partial(output.part, robots), config.part_images, config.part_seconds)
            await starting
            return lane.left_over.batch()


async def _images(groups: Iterable[Group], lane: Lane, examiner: Examiner) -> AsyncGenerator[StoredRow, None]:
    """Each image once. If its URL has failed for good, its alternate URL is asked for next at the same host."""
    async with aclosing(lane.run(groups)) as answers, aclosing(_measured(answers, examiner)) as measured:
        async for asked, columns, picture in measured:
            first = asked.get("first")
            if first is not None:
                yield _named(asked, with_alternate(first, columns, asked["alternate_url"])), picture
            elif alternate := alternate_of(asked, columns):
                lane.ask_too(Item(asked["url_id"], alternate, asked | {"first": columns}))
            else:
                yield _named(asked, columns), picture


async def _measured(
    answers: AsyncIterator[tuple[Item, Answer]], examiner: Examiner
) -> AsyncGenerator[tuple[Row, Row, bytes | None], None]:
    """What was asked for, its columns and its image. One image at a time is sent to the child, by a thread that waits
    for it; requests continue meanwhile."""
    async for item, answer in answers:
        asked: Row = item.payload
        columns, picture = await asyncio.to_thread(measure_answer, answer, examiner, asked["boxes"] or ())
        yield asked, columns, picture


def _named(asked: Row, columns: Row) -> Row:
    return {name: asked[name] for name in ("url_id", "request_url", "try_number")} | columns


def _policy(config: Config, web: WebConfig) -> LanePolicy:
    """An image host's limits. Addresses have none of their own: CDNs serve thousands of hosts from one."""
    return LanePolicy(
        want=want(config),
        per_host=config.per_host,
        delay_s=config.delay_s,
        rate_per_host=config.rate_per_host,
        max_hosts=web.max_hosts_per_lane,
        tail_s=config.tail_s,
    )
