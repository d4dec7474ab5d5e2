"""What a lane is to ask for, on disk: rows that come sorted by origin, read again host by host.

A lane may have millions of URLs. They go to an unnamed file on this machine as they come; in memory are a few numbers
per origin. The rows of a host are read when its turn comes, READ_ROWS at a time. Its robots.txt may come ahead of them,
if it was fetched a short time ago (`pipeline.web.known_robots`).
"""

from __future__ import annotations

import mmap
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.web.host import Group, Item
from pipeline.web.manners import site_of
from pipeline.web.urls import split

READ_ROWS = 64  # of one host at a time
Row = dict[str, Any]


class Spool:
    """The rows of ``batches``, sorted by their column ``origin`` (empty for a URL that is never asked for).

    A context: its file is gone when it is left, or when the process dies. ``site in spool`` says whether there are
    rows of that site (False is certain; True may be wrong once in 10^10 times).
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], item_of: Callable[[Row], Item]) -> None:
        self._item_of = item_of
        self._file = tempfile.TemporaryFile(dir=_scratch_folder())  # noqa: SIM115  # closed as this context is left
        # Per origin: its first row; how many rows of robots.txt it begins with; whether an earlier run failed.
        self._begins, self._robots, self._tried = array("q"), array("q"), array("b")
        self._sites = array("q")  # hashes
        self._batch_begins = array("q", [0])
        self._rows = 0
        self._write(batches)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._rows

    def __contains__(self, site: object) -> bool:
        place = np.searchsorted(self._hashes, hash(site))
        return bool(place < len(self._hashes) and self._hashes[place] == hash(site))

    def groups(self) -> Iterator[Group]:
        """One per origin: first what an earlier run did not get, then those with most rows, which take longest."""
        begins = np.asarray(self._begins)
        counts = np.diff(np.append(begins, self._rows)) - np.asarray(self._robots)
        for n in np.lexsort((-counts, -np.asarray(self._tried))):
            if counts[n]:
                yield self._group(int(begins[n]), self._robots[n], int(counts[n]), bool(self._tried[n]))

    def _group(self, begin: int, robots: int, count: int, retried: bool) -> Group:
        first = self._slice(begin, 1)
        names = ("origin", "robots", "robots_fetched_at") if robots else ("origin",)
        origin, *known = (first[name][0].as_py() for name in names)
        items = self._items(begin + robots, count)
        return Group(origin, count, items, retried, (known[0], known[1]) if known else None)

    def _write(self, batches: Iterable[pa.RecordBatch]) -> None:
        last, writer = None, None
        for batch in batches:
            writer = writer or pa.ipc.new_file(self._file, batch.schema)
            writer.write_batch(batch)
            last = self._note(batch, last)
            self._rows += len(batch)
            self._batch_begins.append(self._rows)
        if writer is not None:
            writer.close()
            self._file.flush()
            self._reader = pa.ipc.open_file(pa.py_buffer(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)))
        self._hashes = np.unique(np.asarray(self._sites))
        self._sites = array("q")

    def _note(self, batch: pa.RecordBatch, last: str | None) -> str | None:
        """Note where origins begin in the next batch; ``last`` is that of the row before it."""
        runs = pc.run_end_encode(batch["origin"])
        begin = 0
        for origin, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            some = batch.slice(begin, end - begin)
            robots = some["try_number"].null_count  # rows of robots.txt are no tries
            tried = (pc.max(some["try_number"]).as_py() or 0) > 1
            if origin != last:
                self._begins.append(self._rows + begin)
                self._robots.append(robots)
                self._tried.append(tried)
                self._sites.append(hash(site_of(split(origin).host) if origin else ""))
            else:
                self._robots[-1] += robots
                self._tried[-1] |= tried
            last, begin = origin, end
        return last

    def _items(self, begin: int, rows: int) -> Iterator[Item]:
        at, end = begin, begin + rows
        while at < end:
            some = self._slice(at, min(READ_ROWS, end - at))
            at += len(some)
            yield from map(self._item_of, some.to_pylist())

    def _slice(self, begin: int, rows: int) -> pa.RecordBatch:
        """Up to so many rows, of one batch."""
        number = int(np.searchsorted(np.asarray(self._batch_begins), begin, side="right")) - 1
        return self._reader.get_batch(number).slice(begin - self._batch_begins[number], rows)


def _scratch_folder() -> str | None:
    """Spark's folder for spilled data, which its user has put on a disk with room."""
    return os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None
