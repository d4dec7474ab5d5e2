"""From one input split to its rows: the whole measurement of ``extract``, without Spark.

Rows with one ``candidate_id`` may come more than once (an archive that holds a capture twice): the stage adds up
their counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa

from pipeline.core.boundary import contained, is_cut, said
from pipeline.stages.extract.archives.warc import read_warc
from pipeline.stages.extract.archives.wat import read_wat
from pipeline.stages.extract.archives.webdataset import read_webdataset
from pipeline.stages.extract.candidates import Row, in_batches, lost
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.lists.url_lists import read_url_list, url_list_tables
from pipeline.stages.extract.pages.html_files import is_page_or_index, read_html, runs_among
from pipeline.stages.extract.raw.places import File, file_at, files_below, is_url, on_disk, open_place
from pipeline.stages.extract.reasons import Reason
from pipeline.stages.extract.sources.inputs import Split
from schemas.extract import ADDS

BATCH_ROWS = 4096


def extract_split(split: Split, config: Config) -> Iterator[list[Row]]:
    """Rows of one split in lists of at most BATCH_ROWS; each row has all columns of ADDS."""
    with _readable(split) as here:
        yield from batched(all_rows(_rows(here, config), here.path, here.fingerprint))


def extract_tables(split: Split, config: Config) -> Iterator[pa.Table]:
    """The same rows as tables in the schema of the stage. Those of a URL list never become dicts."""
    if split.format != "urls":
        yield from map(table_of, extract_split(split, config))
        return
    with _readable(split) as here:
        yield from url_list_tables(here.path, here.container, here.columns, here.fingerprint, config)


def table_of(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=ADDS)


def batched(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """The rows in lists of at most BATCH_ROWS, fewer where their texts are long."""
    return in_batches(rows, BATCH_ROWS, lambda row: len(row["alt_text"] or ""))


def all_rows(rows: Iterator[Row], path: str, fingerprint: str) -> Iterator[Row]:
    """The rows of a file; where its bytes make the reader raise, one row stands for the rest of it."""
    return contained(rows, lambda error, count: _rest(path, fingerprint, error, count))


def _rest(path: str, fingerprint: str, error: Exception, count: int) -> Row:
    reason = Reason.ARCHIVE_TRUNCATED if is_cut(error) else Reason.ARCHIVE_MALFORMED
    return lost(fingerprint, "end", reason, f"{path.rpartition('/')[2]}, after {count:,} rows: {said(error)}")


def _rows(split: Split, config: Config) -> Iterator[Row]:
    match split.format:
        case "warc":
            return read_warc(split.path, split.fingerprint, config)
        case "wat":
            return read_wat(split.path, split.fingerprint, config)
        case "html":
            return read_html(split.path, split.fingerprint, config)
        case "urls":
            return read_url_list(split.path, split.container, split.columns, split.fingerprint, config)
        case "webdataset":
            return read_webdataset(split.path, split.fingerprint, config)
        case other:
            raise ValueError(f"no such format: {other!r}")


def _is_streamed(split: Split) -> bool:
    """Whether the reader needs no file on a disk: of an archive that is packed with gzip. Others look ahead."""
    if split.format not in ("warc", "wat"):
        return False
    with open_place(split.path) as stream:
        return stream.read(2) == b"\x1f\x8b"


@contextmanager
def _readable(split: Split) -> Iterator[Split]:
    """The split as its reader can open it: an object, or the pages below a prefix, as a copy on a disk."""
    if not is_url(split.path) or _is_streamed(split):
        yield split
        return
    file = file_at(split.path)
    with on_disk([file] if file else _pages_below(split.path)) as folder:
        path = folder / split.path.rpartition("/")[2] if file else folder
        yield replace(split, path=str(path))


def _pages_below(prefix: str) -> list[File]:
    """The pages below a prefix and the lists of their URLs; as of a folder, none of a run."""
    files = files_below(prefix)
    runs = runs_among({file.relative for file in files})
    return [file for file in files if is_page_or_index(file.relative) and not file.relative.startswith(runs)]
