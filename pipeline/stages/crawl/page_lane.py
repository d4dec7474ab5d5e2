"""One lane of a round: its hosts' pages are requested, written and committed part by part.

A part is a WARC file of its good pages, a table of all its answers and a table of the links found; the three are valid
once the part's record exists, and not before. A killed lane loses the part it was filling, whose files are
orphans without a name in any record, so a later run never has to repair a half-written file
(docs/faults.md, C29).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Set
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
from pyspark import TaskContext

from pipeline.core.ids import key_of
from pipeline.core.parts import OpenPart, committed, files_of
from pipeline.core.storage import Storage
from pipeline.core.tables import read_file, write_file
from pipeline.stages import robots_files
from pipeline.stages.crawl.config import Config
from pipeline.stages.crawl.link_child import LinkChild, Page
from pipeline.stages.crawl.links import looks_like_html
from pipeline.stages.crawl.reasons import CrawlReason
from pipeline.stages.crawl.warc_writer import WarcWriter
from pipeline.web.client import Answer, Client, Head, Want
from pipeline.web.config import WebConfig
from pipeline.web.lane import Item, Lane, LanePolicy
from pipeline.web.lane_news import saying
from pipeline.web.reasons import NetReason
from pipeline.web.robots import Robots
from pipeline.web.spool import Spool
from pipeline.web.urls import split, url_id
from schemas.crawl import LINKS, PAGES
from schemas.fields import OK

STAGE = "crawl"
WARC_FOLDER, FRONTIER_FOLDER, ROWS_FOLDER = f"{STAGE}/warc", f"{STAGE}/frontier", f"{STAGE}/parts/rows"
FOLDERS = (WARC_FOLDER, FRONTIER_FOLDER, ROWS_FOLDER, robots_files.folder_of(STAGE))

MAX_PART_LINKS = 200_000  # bounds what a part holds in memory until it is committed
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})


@dataclass(frozen=True)
class PageLane:
    """The task: rows of `frontier.to_ask` in, parts on disk, what was left over out. Sent to the workers.

    ``known`` names the parts that existed when the pages to request were chosen: what an attempt at this lane that
    died has committed since is not requested again.
    """

    storage: Storage
    config: Config
    web: WebConfig
    measure_key: str
    round: int
    known: frozenset[str] = frozenset()

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """For mapInArrow. A lane without pages does not touch the network."""
        context = TaskContext.get()
        number = context.partitionId() if context else 0
        done = self._answered(number)
        with Spool(_left_of(batches, done), lambda page: Item(page["page_id"], page["page_url"], page)) as spool:
            if spool:
                yield asyncio.run(self._crawl(spool, number))

    async def _crawl(self, spool: Spool, number: int) -> pa.RecordBatch:
        going = True
        async with Client(self.web) as client:
            robots = Robots(client)
            lane = Lane(self._policy(), client, robots, own=spool)
            with LinkChild(self.config) as finder:
                async with saying(lane, self.storage, STAGE, number), aclosing(lane.run(spool.groups())) as answers:
                    while going:
                        with PagePart(self, number, robots, finder) as part:
                            going = await part.fill(answers)
                            if part.rows:  # aside: it syncs and hashes while others are requested
                                await asyncio.to_thread(part.close)
        return lane.left_over.batch()

    def _answered(self, number: int) -> set[tuple[str, int]]:
        """(page_id, try_number) that an attempt before this one has committed."""
        found: set[tuple[str, int]] = set()
        news = [part for part in committed(self.storage, STAGE, skip=self.known) if part.stats["lane"] == number]
        for record in files_of(news, "rows"):
            keys = read_file(self.storage, record, ["page_id", "try_number"])
            found.update(zip(keys["page_id"].to_pylist(), keys["try_number"].to_pylist(), strict=True))
        return found

    def _policy(self) -> LanePolicy:
        scope = self.config.scope()
        return LanePolicy(
            want=Want(
                accept="text/html,application/xhtml+xml;q=0.9",
                accept_encoding="gzip, br",
                timeout_s=self.config.timeout_s,
                max_body_bytes=self.config.max_page_bytes,
                check_head=_check_head,
                check_start=_check_start,
                without_target=NetReason.TOO_MANY_REDIRECTS,
            ),
            per_host=1,
            delay_s=self.config.delay_s,
            max_hosts=self.web.max_hosts_per_lane,
            tail_s=self.config.tail_s,
            max_address_connections=self.web.max_address_connections,
            scope=lambda url: None if split(url).host in scope else CrawlReason.OUT_OF_SCOPE,
        )


def _left_of(batches: Iterable[pa.RecordBatch], done: Set[tuple[str, int]]) -> Iterator[pa.RecordBatch]:
    """The pages that are not done."""
    for batch in batches:
        tries = zip(batch["page_id"].to_pylist(), batch["try_number"].to_pylist(), strict=True)
        yield batch.filter(pa.array([each not in done for each in tries], pa.bool_())) if done else batch


class PagePart(OpenPart):
    """The part that a lane is filling: pages are written as they arrive, tables when it is closed."""

    def __init__(self, lane: PageLane, number: int, robots: Robots, finder: LinkChild) -> None:
        super().__init__(lane.storage, STAGE, lane.measure_key)
        self.rows: list[dict[str, Any]] = []
        self._lane, self._number, self._robots = lane, number, robots
        self._finder = finder
        self._links: list[dict[str, Any]] = []
        self._left_out: Counter[str] = Counter()
        self._closes_at = time.monotonic() + lane.config.part_seconds
        self._warc: WarcWriter | None = None

    @property
    def is_full(self) -> bool:
        """Whether the part must be committed."""
        config = self._lane.config
        return (
            len(self.rows) >= config.part_pages
            or len(self._links) >= MAX_PART_LINKS
            or (self._warc is not None and self._warc.size >= config.warc_max_bytes)
            or time.monotonic() >= self._closes_at
        )

    async def fill(self, answers: AsyncIterator[tuple[Item, Answer]]) -> bool:
        """Take answers until the part is full (True) or there are no more (False)."""
        async for item, answer in answers:
            await self.add(item, answer)
            if self.is_full:
                return True
        return False

    async def add(self, item: Item, answer: Answer) -> None:
        """Append one answer; for a good one also the page and its links."""
        row = _row(item, answer)
        if answer.reason is None:
            file = self.stream("warc", WARC_FOLDER, ".warc.gz")
            self._warc = self._warc or WarcWriter(file, self._lane.web.user_agent())
            place = self._warc.write_response(answer)
            row |= {"warc_file": file.path, "warc_offset": place.offset, "warc_length": place.length}
            await self._add_links(answer, item.payload["depth"] + 1)
        self.rows.append(row)

    def close(self) -> None:
        """Write the tables and commit, named by the pages and their tries."""
        rows, links = (pa.Table.from_pylist(some, schema=s) for some, s in ((self.rows, PAGES), (self._links, LINKS)))
        self.add_file("rows", write_file(self.storage, ROWS_FOLDER, PAGES, [rows]))
        self.add_file("links", write_file(self.storage, FRONTIER_FOLDER, LINKS, [links]))
        good = sum(row["outcome"] == OK for row in self.rows)
        stats = robots_files.add_to(self, STAGE, self._robots) | {
            "rows": len(self.rows),
            "good": good,
            "requests": sum(row["tries"] for row in self.rows),
            "round": self._lane.round,
            "lane": self._number,
        }
        measured = key_of(*sorted(f"{row['page_id']} {row['try_number']}" for row in self.rows))
        self.commit(measured, stats | self._left_out, rows={"warc": good})

    async def _add_links(self, answer: Answer, depth: int) -> None:
        content_type = answer.header("content-type") or ""
        robots = ",".join(
            value.decode("latin-1") for name, value in answer.raw_headers if name.lower() == b"x-robots-tag"
        )
        page = Page(answer.body, answer.final_url, content_type, robots)
        found = await asyncio.to_thread(self._finder.find, page)
        self._links += [asdict(link) | {"depth": depth} for link in found.links]
        self._left_out += Counter(
            links_out_of_scope=found.out_of_scope,
            links_nofollow=found.nofollow,
            links_over_limit=found.over_limit,
            pages_links_lost=found.lost,
        )


def _row(item: Item, answer: Answer) -> dict[str, Any]:
    """An answer in the columns of PAGES."""
    return {
        "page_id": item.key,
        "count": 1,
        "page_url": item.url,
        "depth": item.payload["depth"],
        "outcome": OK if answer.reason is None else answer.reason.value,
        "detail": answer.detail or None,
        "http_status": answer.status,
        "final_url": answer.final_url,
        "final_page_id": url_id(answer.final_url) if answer.reason is None else None,
        "tries": answer.tries,
        "fetched_at": answer.fetched_at,
        "robots_fetched_at": answer.robots_fetched_at or None,
        "tried": list(answer.tried) or None,
        "body_bytes": len(answer.body) if answer.reason is None else None,
        "optouts": list(answer.optouts),
        "try_number": item.payload["try_number"],
    }


def _check_head(head: Head) -> NetReason | None:
    """A page is HTML or XHTML by its header; without a header its first bytes decide (C24)."""
    if head.location is not None:
        return None
    declared = _content_type(head)
    return NetReason.NOT_HTML if declared and declared not in _HTML_TYPES else None


def _check_start(head: Head, start: bytes) -> NetReason | None:
    return None if _content_type(head) or looks_like_html(start) else NetReason.NOT_HTML


def _content_type(head: Head) -> str:
    return (head.header("content-type") or "").partition(";")[0].strip().lower()
