"""One fetch task: a lane of image hosts, from URLs to committed parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import aclosing

import pyarrow as pa

from pipeline.core.parts import committed
from pipeline.core.storage import Storage
from pipeline.fetch.config import Config
from pipeline.fetch.measure import image_settings, measure_answer, want
from pipeline.fetch.store import STAGE, StoredRow, asked, fill_parts
from pipeline.vision.measure import ImageSettings
from pipeline.web.client import Answer, Client
from pipeline.web.config import WebConfig
from pipeline.web.lane import Item, LanePolicy, run_lane
from pipeline.web.robots import Robots


def run_fetch_lane(
    batches: Iterator[pa.RecordBatch],
    storage: Storage,
    known: Collection[str],
    measure_key: str,
    config: Config,
    web: WebConfig,
) -> Iterator[pa.RecordBatch]:
    """Ask for every (url_id, request_url, try_number) of ``batches``, store what comes, say how many images that were.

    ``known`` names the parts there were when the todo list was made: what has been committed since by an attempt at
    this lane that died is not asked for again.
    """
    lost_attempts = [part for part in committed(storage, STAGE, skip=known) if part.measure_key == measure_key]
    done = asked(storage, lost_attempts)
    items = [
        Item(row["url_id"], row["request_url"], row["try_number"])
        for batch in batches
        for row in batch.to_pylist()
        if (row["url_id"], row["try_number"]) not in done
    ]
    images = asyncio.run(_fetch(items, storage, measure_key, config, web)) if items else 0
    yield pa.RecordBatch.from_pydict({"images": [images]})


async def _fetch(items: Sequence[Item], storage: Storage, measure_key: str, config: Config, web: WebConfig) -> int:
    async with (
        Client(web) as client,
        aclosing(run_lane(items, _policy(config, web), client, Robots(client))) as answers,
        aclosing(_measured(answers, image_settings(config))) as images,
    ):
        return await fill_parts(images, storage, measure_key, config.part_images, config.part_seconds)


async def _measured(answers: AsyncIterator[tuple[Item, Answer]], settings: ImageSettings) -> AsyncIterator[StoredRow]:
    """Decode and measure in a thread, one image at a time: requests under way go on meanwhile, a lane uses one core."""
    async for item, answer in answers:
        columns, picture = await asyncio.to_thread(measure_answer, answer, settings)
        yield {"url_id": item.key, "request_url": item.url, "try_number": item.payload} | columns, picture


def _policy(config: Config, web: WebConfig) -> LanePolicy:
    """An image host's limits. Addresses have none of their own: CDNs serve thousands of hosts from one."""
    return LanePolicy(
        want=want(config),
        per_host=config.per_host,
        delay_s=config.delay_s,
        rate_per_host=config.rate_per_host,
        max_hosts=web.max_hosts_per_lane,
    )
