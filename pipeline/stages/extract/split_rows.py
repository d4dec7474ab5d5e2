"""From one input split to its rows: the whole measurement of ``extract``, without Spark.

Rows with one ``candidate_id`` may come more than once (an archive that holds a capture twice): the stage adds up
their counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from pipeline.stages.extract.candidates import Row
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.html_files import is_page_or_index, read_html
from pipeline.stages.extract.inputs import Split
from pipeline.stages.extract.places import file_at, files_below, is_url, on_disk, open_place
from pipeline.stages.extract.url_lists import read_url_list
from pipeline.stages.extract.warc import read_warc
from pipeline.stages.extract.wat import read_wat
from pipeline.stages.extract.webdataset import read_webdataset

BATCH_ROWS = 4096


def extract_split(split: Split, config: Config) -> Iterator[list[Row]]:
    """Rows of one split in lists of at most BATCH_ROWS; each row has all columns of ADDS."""
    return batched(_rows(split, config))


def batched(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """The rows in lists of at most BATCH_ROWS."""
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


def _rows(split: Split, config: Config) -> Iterator[Row]:
    if is_url(split.path) and not _is_streamed(split):
        return _rows_of_copy(split, config)
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


def _rows_of_copy(split: Split, config: Config) -> Iterator[Row]:
    """Rows of an object, or of the pages below a prefix, read from a copy on a disk."""
    file = file_at(split.path)
    pages = () if file else (one for one in files_below(split.path) if is_page_or_index(one.relative))
    with on_disk([file] if file else list(pages)) as folder:
        path = folder / split.path.rpartition("/")[2] if file else folder
        yield from _rows(replace(split, path=str(path)), config)
