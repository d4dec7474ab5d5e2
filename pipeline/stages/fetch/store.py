"""fetch/store: every image ever fetched. Append-only: one Parquet of rows and one file of images per part.

A part is committed like all parts (`pipeline.core.parts`) and never changed afterwards, so whoever knows
(image_file, image_offset, image_bytes) reads the image in place, for as long as the run exists. A part that is not
committed does not count: its files are orphans, removed at the start of the next build.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any, Generic, TypeVar

import pyarrow as pa

from pipeline.core.ids import key_of
from pipeline.core.parts import OpenPart, committed, part_name
from pipeline.core.storage import Storage
from pipeline.core.tables import read_file, write_file
from pipeline.stages import robots_files
from pipeline.web.robots import Robots
from schemas.fetch import STORE
from schemas.fields import OK

T = TypeVar("T")
StoredRow = tuple[dict[str, Any], bytes | None]
"""Columns of one image, and its bytes if it is stored."""

STAGE = "fetch"
FOLDER = f"{STAGE}/store"
FOLDERS = (FOLDER, robots_files.folder_of(STAGE))


class AskedSince:
    """What attempts that died have committed after ``known`` parts were listed. ``lane``: of this one only."""

    def __init__(self, storage: Storage, known: Collection[str], measure_key: str, lane: int | None = None) -> None:
        self._failed: set[tuple[str, int]] = set()
        self._stored: set[tuple[str, int, tuple[float, ...]]] = set()
        for part in committed(storage, STAGE, skip=known):
            if part.measure_key == measure_key and lane in (None, part.stats.get("lane", lane)):
                names = ["url_id", "try_number", "outcome", "blurred_boxes"]
                for row in read_file(storage, part.files["rows"], names).to_pylist():
                    self._note(row)

    def __contains__(self, asked: Mapping[str, Any]) -> bool:
        """Whether a row of the todo list is done. An image with other boxes blurred belongs to another build."""
        key = (asked["url_id"], asked["try_number"])
        return key in self._failed or (*key, tuple(asked["boxes"] or ())) in self._stored

    def left_of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a todo list that are not done."""
        if not self._failed and not self._stored:
            return batch
        return batch.filter(pa.array([row not in self for row in batch.to_pylist()], pa.bool_()))

    def _note(self, row: Mapping[str, Any]) -> None:
        key = (row["url_id"], row["try_number"])
        if row["outcome"] == OK:
            self._stored.add((*key, tuple(row["blurred_boxes"] or ())))
        else:
            self._failed.add(key)


class ImagePart(OpenPart):
    """The part that a task is filling: images go to disk as they come, rows when it is closed."""

    def __init__(
        self, storage: Storage, measure_key: str, lane: int | None = None, robots: Robots | None = None
    ) -> None:
        super().__init__(storage, STAGE, measure_key)
        self.rows: list[dict[str, Any]] = []
        self._stats = {} if lane is None else {"lane": lane}
        self._robots = robots

    def add(self, row: dict[str, Any], picture: bytes | None) -> None:
        """Append one image: its columns, and the stored image if there is one."""
        if picture is not None:
            images = self.stream("images", FOLDER, ".images")
            place = {"image_file": images.path, "image_offset": images.tell()}
            row = row | place | {"image_bytes": images.write(picture)}
        self.rows.append(row)

    def close(self) -> None:
        """Write the rows and commit, named by the images and their tries."""
        measured = key_of(*sorted(_name_of(row) for row in self.rows))
        of_part = {"measure_key": self.measure_key, "part": part_name(self.measure_key, measured)}
        rows = [row | of_part for row in self.rows]
        self.add_file("rows", write_file(self.storage, FOLDER, STORE, [pa.Table.from_pylist(rows, schema=STORE)]))
        if self._robots is not None:
            self._stats |= robots_files.add_to(self, STAGE, self._robots)
        stats = self._stats | {
            "rows": len(rows),
            "good": sum(row["outcome"] == OK for row in rows),
            "requests": sum(row["tries"] for row in rows),
            "served_bytes": sum(row.get("served_bytes") or 0 for row in rows),
        }
        self.commit(measured, stats, rows={"images": sum("image_file" in row for row in rows)})


def _name_of(row: dict[str, Any]) -> str:
    """The name of what a row measures. Most have no boxes."""
    boxes = row.get("blurred_boxes")
    return f"{row['url_id']} {row['try_number']}" + (f" {boxes}" if boxes else "")


class Arrivals(Generic[T]):
    """An async iterator whose next item can be waited for in slices: a wait that ends loses and cancels nothing."""

    def __init__(self, source: AsyncIterator[T]) -> None:
        self._source = source
        self._next: asyncio.Future[T] | None = None

    async def another(self, within_s: float | None = None) -> bool:
        """Whether an item is there for `take`; False if none came in time, or none will come."""
        if within_s is not None and within_s <= 0:
            return False
        if self._next is None:
            self._next = asyncio.ensure_future(self._ask())
        done, _ = await asyncio.wait({self._next}, timeout=within_s)
        return bool(done) and not isinstance(self._next.exception(), StopAsyncIteration)

    def take(self) -> T:
        """The item that `another` found. Raises the source's error if it gave none."""
        found, self._next = self._next, None
        assert found is not None
        return found.result()

    async def aclose(self) -> None:
        """Stop waiting for the next item, and wait until the source has stopped."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)

    async def _ask(self) -> T:
        return await anext(self._source)


async def fill_parts(
    images: AsyncIterator[StoredRow], new_part: Callable[[], ImagePart], part_images: int, part_seconds: float
) -> int:
    """Store images as they come, closing a part when it is full or old; returns the number of images."""
    stored = 0
    arrivals = Arrivals(images)
    try:
        while await arrivals.another():
            with new_part() as part:
                closes_s = time.monotonic() + part_seconds
                while len(part.rows) < part_images and await arrivals.another(closes_s - time.monotonic()):
                    part.add(*arrivals.take())
                # aside: it syncs and hashes up to gigabytes while the lane has requests under way
                await asyncio.to_thread(part.close)
            stored += len(part.rows)
    finally:
        await arrivals.aclose()
    return stored
