"""Files that are inputs, on a disk or on an object store: looked up, listed, opened, and copied where a reader needs a
file on a disk."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO, TypeVar

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage import (
    CHUNK_BYTES,
    SCHEMES,
    STREAM_AHEAD_BYTES,
    ObjectStorage,
    disk_errors,
    environment_of_stores,
)

AT_ONCE = 16
FOOTER_BYTES = 8  # at the end of a Parquet file: the length of what describes it, and PAR1
DIRECTORY_BYTES = 2**22  # at the end of a zip: more than the directory of any WACZ
_PARQUET, _ZIP = b"PAR1", b"PK\x03\x04"

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, order=True)
class File:
    """An input file as it is now. ``version`` is another text after every change that leaves size and path alone."""

    path: str  # on a disk, or a URL
    bytes: int
    version: str  # a disk: mtime in ns; a store: its time and etag
    relative: str = ""  # below the folder in which it was found; empty if it was named itself
    fault: str = ""  # why it cannot be read


def is_url(path: str) -> bool:
    return "://" in path


def file_at(path: str) -> File | None:
    """The file at a path or URL; None if there is none. OSError, also for what is not a plain file."""
    if is_url(path):
        storage, key = _store_of(path, hasty=True)
        found = storage.stat(key) if key else None
        return found and File(path, found.bytes, found.version)
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):
            raise OSError("a link to a file that does not exist") from None
        return None
    if stat.S_ISDIR(status.st_mode):
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError("a device or pipe, not a file; save it as a file")
    is_utf8 = not any("\udc80" <= character <= "\udcff" for character in path)
    fault = "" if is_utf8 else "its name is not UTF-8; rename it"  # no table can have it
    return File(path, status.st_size, str(status.st_mtime_ns), fault=fault)


def file_or_fault(path: str) -> File:
    """The file at a path that a listing gave; with a fault if it cannot be read."""
    try:
        return file_at(path) or File(path, 0, "", fault="removed meanwhile")
    except OSError as error:
        return File(path, 0, "", fault=error.strerror or str(error))


def files_below(folder: str) -> list[File]:
    """Every file below a folder or prefix, hidden ones too, in the order of their names, links followed.

    OSError for a folder that cannot be listed.
    """
    if is_url(folder):
        storage, key = _store_of(folder, hasty=True)
        start = len(key) + 1 if key else 0
        root = storage.root
        listed = storage.listed(key)
        return [File(f"{root}/{one.path}", one.bytes, one.version, one.path[start:]) for one in listed]
    found = []
    for name in _names_below(folder):
        path = os.path.join(folder, name)
        found.append(replace(file_or_fault(path), relative=name))
    return sorted(found, key=lambda file: file.relative.split("/"))


def _names_below(folder: str) -> Iterator[str]:
    """Each folder once, however many links lead to it."""
    seen = set()

    def fail(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        status = os.stat(place)
        is_known = (status.st_dev, status.st_ino) in seen
        seen.add((status.st_dev, status.st_ino))
        folders[:] = [] if is_known else sorted(folders)
        if not is_known:
            yield from (os.path.relpath(os.path.join(place, name), folder) for name in names)


def each(operation: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Apply an operation to every item, some at a time: each may be a request. Results are in order."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(operation, items))


def open_place(path: str) -> BinaryIO:
    """An input file, opened for reading from its start on."""
    if not is_url(path):
        return Path(path).open("rb")
    storage, key = _store_of(path)
    return storage.open(key, STREAM_AHEAD_BYTES)


@contextmanager
def beginning(file: File, n_bytes: int) -> Iterator[Path]:
    """A file on a disk that begins as ``file`` does, under the same name: enough to tell what it is.

    Of an object it has the first ``n_bytes``; a Parquet file and a zip also have their end, with nothing between.
    """
    if not is_url(file.path):
        yield Path(file.path)
        return
    storage, key = _store_of(file.path)
    (head,) = storage.in_haste().read_ranges(key, [(0, min(n_bytes, file.bytes))])
    with tempfile.TemporaryDirectory(prefix="pairmill-") as folder:
        path = Path(folder, key.rpartition("/")[2])
        with path.open("wb") as copy:
            copy.write(head or b"")
            if (head or b"").startswith((_PARQUET, _ZIP)) and file.bytes > n_bytes:
                is_zip = (head or b"").startswith(_ZIP)
                copy.seek(_start_of_directory(file) if is_zip else _start_of_footer(storage, key, file.bytes))
                with storage.open(key, STREAM_AHEAD_BYTES) as whole:
                    whole.seek(copy.tell())
                    copyfileobj(whole, copy, CHUNK_BYTES)
        yield path


def _start_of_directory(file: File) -> int:
    return max(0, file.bytes - DIRECTORY_BYTES)


def _start_of_footer(storage: ObjectStorage, key: str, size: int) -> int:
    (end,) = storage.read_ranges(key, [(size - FOOTER_BYTES, FOOTER_BYTES)])
    return max(0, size - FOOTER_BYTES - int.from_bytes((end or b"")[:4], "little"))


@contextmanager
def on_disk(files: list[File]) -> Iterator[Path]:
    """A folder with copies of objects, each at its ``relative`` or under its own name; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="pairmill-") as folder:

        def copy(file: File) -> None:
            path = Path(folder, file.relative or file.path.rpartition("/")[2])
            path.parent.mkdir(parents=True, exist_ok=True)
            with disk_errors(), open_place(file.path) as source, path.open("wb") as target:
                copyfileobj(source, target, CHUNK_BYTES)

        if files:
            _store_of(files[0].path)[0].each(copy, files)
        yield Path(folder)


def _store_of(url: str, hasty: bool = False) -> tuple[ObjectStorage, str]:
    """The bucket of a URL, and the object's name in it. ``hasty``: a user waits, so give up within seconds."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    storage = _bucket(f"{scheme}://{bucket}")
    return storage.in_haste() if hasty else storage, key.strip("/")


@lru_cache(maxsize=64)
def _bucket(root: str) -> ObjectStorage:
    return ObjectStorage(root, environment_of_stores())


def require_known_scheme(url: str) -> None:
    """InputError `config_invalid` for a URL that is not of a store, with what to write instead."""
    scheme, _, rest = url.partition("://")
    if scheme in SCHEMES:
        if not rest.partition("/")[0]:
            raise InputError(ErrorCode.CONFIG_INVALID, f"extract.inputs: {url}: name a bucket")
        if "@" in rest.partition("/")[0]:
            text = f"{scheme}://: credentials are not allowed in a URL; set the store's environment variables"
            raise InputError(ErrorCode.CONFIG_INVALID, f"extract.inputs: {text}")
        return
    what = {
        "file": f"write the path without file://: {rest}",
        "s3a": f"write s3://{rest}",
        "s3n": f"write s3://{rest}",
        "gcs": f"write gs://{rest}",
        "http": "files are not read from the web; download it first, or start a crawl with crawl.seeds",
    }
    what["https"] = what["http"]
    known = ", ".join(f"{name}://" for name in SCHEMES)
    hint = what.get(scheme, f"give a path or {known}; mount anything else")
    raise InputError(ErrorCode.CONFIG_INVALID, f"extract.inputs: {url}: {hint}")
