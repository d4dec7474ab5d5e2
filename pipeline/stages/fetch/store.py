"""fetch/store: every image ever fetched. Append-only: one Parquet of rows and one file of pictures a part.

A part is committed like all parts (`pipeline.core.parts`) and never changed afterwards, so whoever knows
(image_file, image_offset, image_bytes) reads the picture in place, for as long as the run exists. A part that is not
committed is nothing: its files are orphans, removed at the start of the next build.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import ExitStack
from typing import Any, Generic, Self, TypeVar

import pyarrow as pa

from pipeline.core.ids import key_of
from pipeline.core.parts import Part, commit, committed, files_of, part_name
from pipeline.core.storage import NewFile, Storage
from pipeline.core.tables import read_file, write_file
from schemas.fetch import STORE
from schemas.fields import OK

T = TypeVar("T")
StoredRow = tuple[dict[str, Any], bytes | None]
"""Columns of one image, and its picture where there is one."""

STAGE = "fetch"
FOLDER = f"{STAGE}/store"


Try = tuple[str, int]
"""url_id and try_number: what is asked for once."""


def asked_since(
    storage: Storage, known: Collection[str], measure_key: str, todo: Mapping[Try, Mapping[str, Any]]
) -> set[Try]:
    """What of ``todo`` an attempt at a task that died has committed since ``known`` parts were listed.

    A picture in which other boxes are blurred is of another build's task, and none of ours.
    """
    found: set[Try] = set()
    since = [part for part in committed(storage, STAGE, skip=known) if part.measure_key == measure_key]
    for record in files_of(since, "rows"):
        for row in read_file(storage, record, ["url_id", "try_number", "outcome", "blurred_boxes"]).to_pylist():
            asked = todo.get((row["url_id"], row["try_number"]))
            if asked is not None and (row["outcome"] != OK or row["blurred_boxes"] == asked["boxes"]):
                found.add((row["url_id"], row["try_number"]))
    return found


class OpenPart:
    """The part that a lane is filling: pictures go to disk as they come, rows when it is committed.

    A context: what is not committed when it ends is removed.
    """

    def __init__(self, storage: Storage, measure_key: str) -> None:
        self.rows: list[dict[str, Any]] = []
        self._storage, self._measure_key = storage, measure_key
        self._stack = ExitStack()
        self._images: NewFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
        if self._images is not None:
            self._storage.delete(self._images.path)

    def add(self, row: dict[str, Any], picture: bytes | None) -> None:
        """Append one image: its columns, and the stored picture if there is one."""
        if picture is not None:
            if self._images is None:
                self._images = self._stack.enter_context(self._storage.writing(FOLDER, ".images"))
            place = {"image_file": self._images.path, "image_offset": self._images.tell()}
            row = row | place | {"image_bytes": self._images.write(picture)}
        self.rows.append(row)

    def commit(self) -> None:
        """Finish both files and make the part count. Named by what it measures: of two equal ones the first counts."""
        measured = key_of(*sorted(_name_of(row) for row in self.rows))
        name = part_name(self._measure_key, measured)
        good = sum(row["outcome"] == OK for row in self.rows)
        self._stack.close()
        rows = [row | {"measure_key": self._measure_key, "part": name} for row in self.rows]
        files = {"rows": write_file(self._storage, FOLDER, STORE, [pa.Table.from_pylist(rows, schema=STORE)])}
        if self._images is not None:
            files["images"] = self._images.record(sum("image_file" in row for row in rows))
        stats = {
            "rows": len(rows),
            "good": good,
            "requests": sum(row["tries"] for row in rows),
            "served_bytes": sum(row.get("served_bytes") or 0 for row in rows),
        }
        commit(self._storage, STAGE, Part(name, self._measure_key, measured, files, stats))
        self._images = None


def _name_of(row: dict[str, Any]) -> str:
    """What a row measures. Most have no boxes."""
    boxes = row.get("blurred_boxes")
    return f"{row['url_id']} {row['try_number']}" + (f" {boxes}" if boxes else "")


class Arrivals(Generic[T]):
    """An async iterator whose next item can be waited for in slices: a wait that ends loses and cancels nothing."""

    def __init__(self, source: AsyncIterator[T]) -> None:
        self._source = source
        self._next: asyncio.Future[T] | None = None

    async def another(self, within_s: float | None = None) -> bool:
        """Whether an item is there for `take`; False where none came in time, or none will come."""
        if within_s is not None and within_s <= 0:
            return False
        if self._next is None:
            self._next = asyncio.ensure_future(self._ask())
        done, _ = await asyncio.wait({self._next}, timeout=within_s)
        return bool(done) and not isinstance(self._next.exception(), StopAsyncIteration)

    def take(self) -> T:
        """The item that `another` found. Raises what the source raised instead of giving one."""
        found, self._next = self._next, None
        return found.result()

    async def aclose(self) -> None:
        """Give up the item that is waited for, and wait until the source has noticed."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)

    async def _ask(self) -> T:
        return await anext(self._source)


async def fill_parts(
    images: AsyncIterator[StoredRow], storage: Storage, measure_key: str, part_images: int, part_seconds: float
) -> int:
    """Store images as they come, closing a part when it is full or old; returns the number of images."""
    stored = 0
    arrivals = Arrivals(images)
    try:
        while await arrivals.another():
            with OpenPart(storage, measure_key) as part:
                closes_s = time.monotonic() + part_seconds
                while len(part.rows) < part_images and await arrivals.another(closes_s - time.monotonic()):
                    part.add(*arrivals.take())
                # aside: it syncs and hashes up to gigabytes while the lane has requests under way
                await asyncio.to_thread(part.commit)
            stored += len(part.rows)
    finally:
        await arrivals.aclose()
    return stored
