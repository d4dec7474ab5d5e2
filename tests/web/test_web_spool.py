"""What a lane is to ask for, kept on disk and read host by host."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from pipeline.web.host import Item
from pipeline.web.spool import READ_ROWS, Spool

SCHEMA = pa.schema([("url", pa.string()), ("origin", pa.string()), ("try_number", pa.int32())])


def rows_of(counts: dict[str, int], retried: str = "") -> list[dict]:
    return [
        {"url": f"{origin}/{n}", "origin": origin, "try_number": 1 + (origin == retried and n == 0)}
        for origin, count in sorted(counts.items())
        for n in range(count)
    ]


def batches(rows: list[dict], size: int) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pylist(rows[n : n + size], schema=SCHEMA) for n in range(0, len(rows), size)]


def item_of(row: dict) -> Item:
    return Item(row["url"], row["url"], row)


COUNTS = {"http://a.example:80": 3, "http://b.example:80": 2 * READ_ROWS + 5, "https://www.c.example:443": 1, "": 2}


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_each_row_comes_back_once_with_its_origin_whatever_the_batches(size: int) -> None:
    with Spool(batches(rows_of(COUNTS), size), item_of) as spool:
        found = {group.origin: (group.count, [item.payload for item in group.items]) for group in spool.groups()}
        assert len(spool) == sum(COUNTS.values())
    assert {origin: count for origin, (count, _) in found.items()} == COUNTS
    assert sorted((row for _, rows in found.values() for row in rows), key=str) == sorted(rows_of(COUNTS), key=str)
    assert [row["url"] for row in found["http://a.example:80"][1]] == [f"http://a.example:80/{n}" for n in range(3)]


def test_what_an_earlier_run_did_not_get_comes_first_then_the_longest() -> None:
    with Spool(batches(rows_of(COUNTS, retried="https://www.c.example:443"), 2), item_of) as spool:
        groups = list(spool.groups())
    order = [group.origin for group in groups]
    assert [group.retried for group in groups] == [True, False, False, False]
    assert order == ["https://www.c.example:443", "http://b.example:80", "http://a.example:80", ""]


def test_it_knows_the_sites_of_its_rows() -> None:
    with Spool(batches(rows_of(COUNTS), 2), item_of) as spool:
        assert [site in spool for site in ("a.example", "c.example", "www.c.example", "d.example")] == [
            *(True, True, False, False)
        ]


def test_a_robots_txt_comes_with_the_rows_of_its_origin() -> None:
    """However the batches fall; one of an origin without rows is left out."""
    schema = pa.schema([*SCHEMA, ("robots", pa.binary()), ("robots_fetched_at", pa.string())])
    rows = rows_of({"http://a.example:80": 2, "http://b.example:80": 1})
    known = [
        {"origin": f"http://{name}.example:80", "robots": name.encode(), "robots_fetched_at": f"2026-01-0{day}"}
        for name, day in (("a", 1), ("a", 2), ("c", 3))
    ]
    ordered = [*known[:2], *rows, known[2]]
    for size in (1, 2, 3, 9):
        some = [pa.RecordBatch.from_pylist(ordered[n : n + size], schema=schema) for n in range(0, len(ordered), size)]
        with Spool(some, item_of) as spool:
            groups = list(spool.groups())
            assert [(group.origin, group.count, group.robots) for group in groups] == [
                ("http://a.example:80", 2, (b"a", "2026-01-01")),
                ("http://b.example:80", 1, None),
            ]
            assert [item.url for item in groups[0].items] == ["http://a.example:80/0", "http://a.example:80/1"]


def test_nothing_to_ask_for() -> None:
    with Spool(iter([]), item_of) as spool:
        assert (len(spool), list(spool.groups()), "a.example" in spool) == (0, [], False)
    with Spool(batches([], 1) or [pa.RecordBatch.from_pylist([], schema=SCHEMA)], item_of) as spool:
        assert (len(spool), list(spool.groups())) == (0, [])


MANY = """
import sys
import pyarrow as pa
from pipeline.web.host import Item
from pipeline.web.spool import Spool

hosts, rows = int(sys.argv[1]), int(sys.argv[2])
text = "x" * 100

def batches():
    for begin in range(0, rows, 2000):
        origins = [f"http://h{n * hosts // rows:09}.example:80" for n in range(begin, min(rows, begin + 2000))]
        urls = [f"{origin}/{text}" for origin in origins]
        yield pa.RecordBatch.from_arrays([pa.array(urls), pa.array(origins), pa.array([1] * len(urls), pa.int32())], names=["url", "origin", "try_number"])

with Spool(batches(), lambda row: Item(row["url"], row["url"])) as spool:
    seen = sum(1 for group in spool.groups() for _ in group.items)
assert seen == rows
private = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")]
print(private[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_rows() -> None:
    def kib(hosts: int, rows: int) -> int:
        done = subprocess.run(
            [sys.executable, "-c", MANY, str(hosts), str(rows)], capture_output=True, text=True, check=True, timeout=120
        )
        return int(done.stdout)

    assert kib(100, 200_000) - kib(100, 2_000) < 20_000  # the rows are 30 MB
