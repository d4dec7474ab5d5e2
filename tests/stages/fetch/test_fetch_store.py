"""The store: parts close when full or old, commit whole or not at all, and leave no orphan."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.ids import key_of
from pipeline.core.parts import committed, swept
from pipeline.core.storage import Storage, open_storage
from pipeline.stages.fetch.store import FOLDER, STAGE, AskedSince, ImagePart, fill_parts
from schemas.fetch import STORE
from schemas.fields import FLOATS


def image(number: int, try_number: int = 1) -> tuple[dict, bytes | None]:
    """Every third one has no picture."""
    row = {
        "url_id": key_of(str(number)),
        "request_url": f"http://h.example/{number}",
        "try_number": try_number,
        "tries": 1,
    }
    if number % 3 == 2:
        return row | {"outcome": "http_4xx"}, None
    data = f"picture {number} ".encode() * (number + 1)
    return row | {"outcome": "ok", "image_sha256": hashlib.sha256(data).hexdigest(), "served_bytes": len(data)}, data


async def arriving(
    numbers: Iterable[int], pauses_s: dict[int, float] | None = None
) -> AsyncIterator[tuple[dict, bytes | None]]:
    for number in numbers:
        await asyncio.sleep((pauses_s or {}).get(number, 0))
        yield image(number)


def fill(storage: Storage, images: AsyncIterator, part_images: int = 4, part_seconds: float = 60.0) -> int:
    return asyncio.run(fill_parts(images, partial(ImagePart, storage, "key", 3), part_images, part_seconds))


def rows_of(storage: Storage) -> list[dict]:
    return [
        row
        for part in committed(storage, STAGE)
        for row in pq.read_table(storage.path(part.files["rows"].path)).to_pylist()
    ]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path))


def test_a_part_closes_when_it_is_full(storage) -> None:
    assert fill(storage, arriving(range(10))) == 10
    parts = committed(storage, STAGE)
    assert sorted(part.stats["rows"] for part in parts) == [2, 4, 4]
    assert sum(part.stats["good"] for part in parts) == 7
    assert {part.measure_key for part in parts} == {"key"}


def test_a_part_closes_when_it_is_old_and_loses_no_image_that_comes_late(storage) -> None:
    started = time.monotonic()
    assert fill(storage, arriving(range(5), {3: 0.4}), part_images=100, part_seconds=0.1) == 5
    assert time.monotonic() - started < 5
    assert sorted(part.stats["rows"] for part in committed(storage, STAGE)) == [2, 3]


def test_every_stored_picture_lies_where_its_row_says(storage) -> None:
    fill(storage, arriving(range(10)))
    rows = rows_of(storage)
    assert len(rows) == 10
    for row in rows:
        if row["outcome"] != "ok":
            assert (row["image_file"], row["image_offset"], row["image_bytes"]) == (None, None, None)
            continue
        with storage.path(row["image_file"]).open("rb") as stream:
            stream.seek(row["image_offset"])
            assert hashlib.sha256(stream.read(row["image_bytes"])).hexdigest() == row["image_sha256"]


def test_rows_have_the_stores_schema_and_name_their_part_and_key_r14(storage) -> None:
    """R14: every row carries the key it was measured under."""
    fill(storage, arriving(range(5)))
    for part in committed(storage, STAGE):
        table = pq.read_table(storage.path(part.files["rows"].path))
        assert table.schema.equals(STORE)
        assert set(table["part"].to_pylist()) == {part.name}
        assert set(table["measure_key"].to_pylist()) == {"key"}


def test_a_part_without_pictures_has_no_bytes_file(storage) -> None:
    fill(storage, arriving([2, 5, 8]))
    [part] = committed(storage, STAGE)
    assert set(part.files) == {"rows"}


def test_what_fails_costs_the_open_part_only_r9(storage) -> None:
    """R9, R6: committed parts stay, the open part leaves no file behind."""

    async def broken() -> AsyncIterator[tuple[dict, bytes | None]]:
        async for found in arriving(range(6)):
            yield found
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        fill(storage, broken())
    parts = committed(storage, STAGE)
    assert [part.stats["rows"] for part in parts] == [4]
    assert len(storage.names(FOLDER)) == 2
    assert left_over(storage, ()) == [4, 5]
    assert left_over(storage, {part.name for part in parts}) == left_over(storage, (), "another key") == [*range(6)]
    assert left_over(storage, (), lane=3) == [4, 5]
    assert left_over(storage, (), lane=1) == [*range(6)]
    # with other boxes only failures, which have no picture, will do
    assert left_over(storage, (), boxes=[0.0, 0.0, 1.0, 1.0]) == [0, 1, 3, 4, 5]


def left_over(storage: Storage, known, key: str = "key", lane: int | None = None, boxes=None) -> list[int]:
    """Of a todo list of six, what an attempt after one that died has to ask for."""
    todo = [{"url_id": key_of(str(number)), "try_number": 1, "boxes": boxes, "n": number} for number in range(6)]
    schema = pa.schema([("url_id", pa.string()), ("try_number", pa.int32()), ("boxes", FLOATS), ("n", pa.int32())])
    batch = pa.RecordBatch.from_pylist(todo, schema=schema)
    return AskedSince(storage, known, key, lane).left_of(batch)["n"].to_pylist()


def test_a_source_that_is_given_up_is_closed(storage) -> None:
    closed = []

    async def endless() -> AsyncIterator[tuple[dict, bytes | None]]:
        try:
            yield image(0)
            await asyncio.sleep(3600)
        finally:
            closed.append(True)

    async def stopped() -> None:
        async with asyncio.timeout(0.2):
            await fill_parts(endless(), partial(ImagePart, storage, "key"), 4, 60.0)

    with pytest.raises(TimeoutError):
        asyncio.run(stopped())
    assert closed == [True]
    assert storage.names(FOLDER) == []


def test_of_two_attempts_at_one_part_the_first_counts_r12(storage) -> None:
    """R12: attempt-unique file names, exclusive commit, one row an input row."""
    fill(storage, arriving(range(4)))
    before = storage.names(FOLDER)
    fill(storage, arriving(reversed(range(4))))
    assert storage.names(FOLDER) == before
    assert len(rows_of(storage)) == 4


def test_files_of_no_part_are_swept_and_parts_are_left_alone(storage) -> None:
    fill(storage, arriving(range(8)))
    before = storage.names(FOLDER)
    killed = ImagePart(storage, "key")  # never ends: as after kill -9
    killed.add(*image(0))
    assert len(storage.names(FOLDER)) == len(before) + 1
    assert [part.stats["rows"] for part in swept(storage, STAGE, [FOLDER])] == [4, 4]
    assert storage.names(FOLDER) == before


def test_a_damaged_part_is_forgotten_and_its_files_go_r15(storage) -> None:
    """R15: found by size before use; what it held is asked for again."""
    fill(storage, arriving(range(8)))
    damaged = committed(storage, STAGE)[0]
    storage.path(damaged.files["images"].path).write_bytes(b"cut")
    assert damaged.name not in {part.name for part in swept(storage, STAGE, [FOLDER])}
    assert len(storage.names(FOLDER)) == 2
