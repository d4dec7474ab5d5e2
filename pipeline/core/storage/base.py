"""The operations of every storage, and the files of a run."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, TypeVar

from pipeline.core.errors import ErrorCode, InputError

PROBE = ".probe"  # prefix of files that only test whether files can be written
CHUNK_BYTES = 1 << 20
READ_AHEAD_BYTES = 1 << 20  # for random access to a file on a store
STREAM_AHEAD_BYTES = 8 << 20  # for sequential reading

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class FileRecord:
    """A finished file of a run, as manifests and commit records list it. ValueError for a path out of the run: a
    manifest may be a stranger's."""

    path: str  # relative to the run, with forward slashes
    rows: int
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if {"", ".", ".."} & set(self.path.split("/")) or "\0" in self.path:
            raise ValueError(f"{self.path!r} is not the path of a file of this run")


class Sink(Protocol):
    """Receives the bytes of a new file."""

    def write(self, data: Any, /) -> int: ...


class NewFile(io.RawIOBase):
    """A file of a run while it is written: a stream that counts and hashes its bytes. ``path`` is its name."""

    def __init__(self, path: str, sink: Sink) -> None:
        self.path = path
        self._sink = sink
        self._digest = hashlib.sha256()
        self._bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write all of ``data``; returns its number of bytes."""
        size = memoryview(data).nbytes
        self._sink.write(data)
        self._digest.update(data)
        self._bytes += size
        return size

    def tell(self) -> int:
        """Bytes written."""
        return self._bytes

    def record(self, rows: int) -> FileRecord:
        """The record of the file as written; valid once the file is finished."""
        return FileRecord(self.path, rows, self._bytes, self._digest.hexdigest())


class Storage(ABC):
    """Files below ``root``, a path or URL."""

    root: str

    # What each storage implements.

    @abstractmethod
    def size(self, relative: str) -> int | None:
        """Size of a file in bytes; None if it does not exist."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted; empty if the folder does not exist."""

    @abstractmethod
    def entries(self) -> list[str]:
        """Names of the files and folders directly below the root, sorted."""

    @abstractmethod
    def read(self, relative: str) -> bytes:
        """The content of a small file; FileNotFoundError if it does not exist."""

    @abstractmethod
    def open(self, relative: str, read_ahead: int = READ_AHEAD_BYTES) -> BinaryIO:
        """A seekable stream to read; a store is asked for ``read_ahead`` bytes at a time. FileNotFoundError."""

    @abstractmethod
    def read_ranges(self, relative: str, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """The bytes at each (offset, length) of a file, None if incomplete. Nearby ranges share a request."""

    @abstractmethod
    def create(self, relative: str, data: bytes) -> bool:
        """Write a file that must not exist yet, completely or not at all; False if it exists, then nothing changes."""

    @abstractmethod
    def replace(self, relative: str, data: bytes) -> None:
        """Write a file in one visible step; an older one is replaced."""

    @abstractmethod
    def delete(self, relative: str) -> None:
        """Remove a file, if it exists."""

    @abstractmethod
    def writing(self, folder: str, suffix: str) -> contextlib.AbstractContextManager[NewFile]:
        """A new file with a unique name. Complete and durable when the block ends, removed if it fails."""

    @abstractmethod
    def require_writable(self) -> None:
        """OSError unless files can be written here; makes the folder if needed."""

    @abstractmethod
    def require_room(self, free_bytes: int) -> None:
        """InputError `disk_full` unless at least this much is free."""

    @abstractmethod
    def each(self, operation: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Apply ``operation`` to every item, results in order; several at a time if each is a request."""

    # What all of them share.

    def where(self, relative: str) -> str:
        """Path or URL of a file or folder, for messages."""
        return f"{self.root.rstrip('/')}/{relative}"

    def exists(self, relative: str) -> bool:
        return self.size(relative) is not None

    def record(self, relative: str, rows: int) -> FileRecord:
        """The record of a finished file: its size and sha256, read back."""
        digest = hashlib.sha256()
        with self.open(relative, STREAM_AHEAD_BYTES) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
            return FileRecord(relative, rows, stream.tell(), digest.hexdigest())

    def intact(self, record: FileRecord) -> bool:
        """Whether a listed file exists with its recorded size. `audit --check` also compares the sha256."""
        return self.size(record.path) == record.bytes

    def sweep(self, folder: str, keep: set[str]) -> int:
        """Remove the files of a folder that are not in ``keep`` (relative paths); returns their number."""
        orphans = [f"{folder}/{name}" for name in self.names(folder) if f"{folder}/{name}" not in keep]
        self.each(self.delete, orphans)
        return len(orphans)


def meant(name: str) -> str:
    """The final name of a temporary file that a killed process left; other names are returned unchanged."""
    return re.sub(r"^\.(.+)\.[0-9a-f]{32}$", r"\1", name)


def new_name(folder: str, suffix: str) -> str:
    """The relative path of a file that no other attempt will write."""
    return f"{folder}/{uuid.uuid4().hex}{suffix}"


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Turn the error of a full disk into InputError `disk_full`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                ErrorCode.DISK_FULL, f"{error.strerror}: free space, then run the same command again"
            ) from error
        raise
