"""What every storage of a run can do, and what a file of a run is."""

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

PROBE = ".probe"  # how the names of files begin that only try whether they can be written
CHUNK_BYTES = 1 << 20
READ_AHEAD_BYTES = 1 << 20  # of a file on a store that is read here and there
STREAM_AHEAD_BYTES = 8 << 20  # of one that is read from its beginning to its end

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class FileRecord:
    """A finished file of a run, as manifests and commit records list it."""

    path: str  # relative to the run, with forward slashes
    rows: int
    bytes: int
    sha256: str


class Sink(Protocol):
    """What takes the bytes of a new file."""

    def write(self, data: Any, /) -> int: ...


class NewFile(io.RawIOBase):
    """A file of a run that is being written: a stream that measures what goes through it. ``path``: its name."""

    def __init__(self, path: str, sink: Sink) -> None:
        self.path = path
        self._sink = sink
        self._digest = hashlib.sha256()
        self._bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Pass on everything; returns its number of bytes."""
        size = memoryview(data).nbytes
        self._sink.write(data)
        self._digest.update(data)
        self._bytes += size
        return size

    def tell(self) -> int:
        """Bytes written."""
        return self._bytes

    def record(self, rows: int) -> FileRecord:
        """The record of the file as it was written; it counts once the file is finished."""
        return FileRecord(self.path, rows, self._bytes, self._digest.hexdigest())


class Storage(ABC):
    """Files below ``root``, a path or URL as people know it."""

    root: str

    # What a store of files must be able to do.

    @abstractmethod
    def size(self, relative: str) -> int | None:
        """Bytes of a file; None where there is none."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted; empty where there is no such folder."""

    @abstractmethod
    def entries(self) -> list[str]:
        """Names of the files and folders right below the root, sorted."""

    @abstractmethod
    def read(self, relative: str) -> bytes:
        """A small file as a whole; FileNotFoundError where there is none."""

    @abstractmethod
    def open(self, relative: str, read_ahead: int = READ_AHEAD_BYTES) -> BinaryIO:
        """A stream to read and seek in; a store is asked for ``read_ahead`` bytes at a time. FileNotFoundError."""

    @abstractmethod
    def read_ranges(self, relative: str, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """The bytes at each (offset, length) of a file; None where they are not there in full. Neighbours together."""

    @abstractmethod
    def create(self, relative: str, data: bytes) -> bool:
        """Write a file that must not exist yet; False, and nothing changed, where another does. Whole or not at all."""

    @abstractmethod
    def replace(self, relative: str, data: bytes) -> None:
        """Write a file in one visible step, over an older one if there is one."""

    @abstractmethod
    def delete(self, relative: str) -> None:
        """Remove a file; nothing happens where there is none."""

    @abstractmethod
    def writing(self, folder: str, suffix: str) -> contextlib.AbstractContextManager[NewFile]:
        """A new file under a name of its own. Whole and durable when the block ends, removed if it fails."""

    @abstractmethod
    def require_writable(self) -> None:
        """OSError unless files can be written here; makes the folder where that is needed."""

    @abstractmethod
    def require_room(self, free_bytes: int) -> None:
        """InputError `disk_full` unless at least this much is free."""

    @abstractmethod
    def each(self, operation: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """``operation`` on every item, in order of the items; several at a time where each is a request."""

    # What follows from it.

    def where(self, relative: str) -> str:
        """The place of a file or folder, for a person."""
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
        """Whether a listed file is there with the size it had. `audit --check` compares the sha256 as well."""
        return self.size(record.path) == record.bytes

    def sweep(self, folder: str, keep: set[str]) -> int:
        """Remove the files of a folder that nothing refers to (``keep``: relative paths); how many there were."""
        orphans = [f"{folder}/{name}" for name in self.names(folder) if f"{folder}/{name}" not in keep]
        self.each(self.delete, orphans)
        return len(orphans)


def meant(name: str) -> str:
    """The name of the file that ``name`` was to become, where a kill left it half written; else ``name`` itself."""
    return re.sub(r"^\.(.+)\.[0-9a-f]{32}$", r"\1", name)


def new_name(folder: str, suffix: str) -> str:
    """The relative path of a file that no other attempt will write."""
    return f"{folder}/{uuid.uuid4().hex}{suffix}"


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """A full disk is the user's to mend: one line and exit code 2 instead of a traceback."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                ErrorCode.DISK_FULL, f"{error.strerror}: free space, then run the same command again"
            ) from error
        raise
