"""WACZ: a zip with WARC files in its folder ``archive``, stored or deflated. Read as it is, never unpacked to disk.

https://specs.webrecorder.net/wacz/latest/
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from pipeline.stages.extract.archives.records import Lost, Record, read_records
from pipeline.stages.extract.reasons import Reason

ZIP_MAGIC = b"PK\x03\x04"

_WARC = re.compile(r"(?:.*/)?archive/.*\.warc(?:\.gz|\.zst)?", re.IGNORECASE)


def is_wacz(path: Path) -> bool:
    """Whether a file is a zip with at least one WARC where a WACZ has them."""
    try:
        with path.open("rb") as file:
            if file.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
                return False
        with zipfile.ZipFile(path) as archive:
            return any(_WARC.fullmatch(name) for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def read_wacz(path: Path, max_block_bytes: int) -> Iterator[Record | Lost]:
    """All records of all its WARC files in the order of the zip. A record's place is its offset in such a file, and the
    file's name; what cannot be unpacked is lost."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not _WARC.fullmatch(member.filename):
                continue
            last: int | str = 0
            try:
                for item in read_records(member.filename, max_block_bytes, partial(_opened, archive)):
                    last = item.place
                    yield replace(item, place=f"{item.place} of {member.filename}")
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError):
                yield Lost(0, f"{last}+ of {member.filename}", Reason.ARCHIVE_MALFORMED)


def _opened(archive: zipfile.ZipFile, name: str) -> BinaryIO:
    """A member as a file. RuntimeError for an encrypted one, NotImplementedError for a method that is not known."""
    return cast(BinaryIO, archive.open(name))
