"""Where a run lies. The few operations that everything in it is built from.

Files are written under a name nobody reads yet and become visible in one step: `create` (exclusive, the first one
wins) for commit records, `replace` for manifests. Nothing is renamed here, since an object store cannot. Paths are
relative to the run, with forward slashes. `LocalStorage` is for local and mounted file systems, `ObjectStorage`
(`pipeline.core.object_store`) for s3://, gs:// and az://; both are small and picklable and travel to the tasks.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, TypeVar

from pipeline.core.errors import InputError

PROBE = ".probe"  # how the names of files begin that only try whether they can be written
CHUNK_BYTES = 1 << 20
READ_AHEAD_BYTES = 1 << 20  # of a file on a store that is read here and there
STREAM_AHEAD_BYTES = 8 << 20  # of one that is read from its beginning to its end
PICTURES_AT_ONCE = 256  # these two bound what `read_pictures` holds
PICTURE_BYTES_AT_ONCE = 64 << 20

T = TypeVar("T")
R = TypeVar("R")
Place = tuple[str | None, int | None, int | None]
"""Where a picture is: file, offset and length in bytes; null where there is none. A file of the run is named relative
to it; an absolute path is a file of a person's on this machine's disks, such as a tar that is read in place."""


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

    @staticmethod
    def at(location: str) -> Storage:
        """Storage at a local path or URL. InputError `output_unwritable` for a scheme that is not known, a store that
        does not answer, and a folder that cannot be looked into."""
        if "://" not in location:
            return LocalStorage.at(location)
        from pipeline.core.object_store import ObjectStorage  # it builds on this module

        return ObjectStorage.at(location)

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


@dataclass(frozen=True)
class LocalStorage(Storage):
    """A folder of a local or mounted file system; ``root`` is its absolute path."""

    root: str

    @staticmethod
    def at(location: str) -> LocalStorage:
        """The folder, there or not; InputError `output_unwritable` for one that cannot be looked into."""
        try:
            root = Path(location).resolve()
            is_closed = root.is_dir() and not os.access(root, os.R_OK | os.X_OK)
        except (OSError, RuntimeError) as error:  # of a folder on the way there; RuntimeError: links in a circle
            raise InputError("output_unwritable", f"run {location}: {getattr(error, 'strerror', error)}") from None
        if is_closed:
            raise InputError("output_unwritable", f"run {root}: {os.strerror(errno.EACCES)}")
        return LocalStorage(str(root))

    def path(self, relative: str) -> Path:
        """The path of a file of the run."""
        return Path(self.root, relative)

    def size(self, relative: str) -> int | None:
        try:
            return self.path(relative).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self.path(folder)) if entry.is_file())
        except FileNotFoundError:
            return []

    def entries(self) -> list[str]:
        try:
            return sorted(os.listdir(self.root))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, relative: str) -> bytes:
        return self.path(relative).read_bytes()

    def open(self, relative: str, read_ahead: int = READ_AHEAD_BYTES) -> BinaryIO:
        return self.path(relative).open("rb")  # the kernel reads ahead

    def read_ranges(self, relative: str, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        try:
            with self.path(relative).open("rb", buffering=0) as file:
                found = [os.pread(file.fileno(), length, offset) for offset, length in ranges]
        except FileNotFoundError:
            return [None] * len(ranges)
        return [data if len(data) == length else None for data, (_, length) in zip(found, ranges, strict=True)]

    def create(self, relative: str, data: bytes) -> bool:
        target = self.path(relative)
        temporary = self._write_aside(target, data)
        try:
            os.link(temporary, target)  # fails where the target exists: exclusive create with the content already whole
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        return True

    def replace(self, relative: str, data: bytes) -> None:
        target = self.path(relative)
        os.replace(self._write_aside(target, data), target)
        _sync_folder(target.parent)

    def delete(self, relative: str) -> None:
        self.path(relative).unlink(missing_ok=True)

    @contextlib.contextmanager
    def writing(self, folder: str, suffix: str) -> Iterator[NewFile]:
        relative = new_name(folder, suffix)
        target = self.path(relative)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with disk_errors(), target.open("wb") as stream:
                yield NewFile(relative, stream)
                _sync(stream)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def require_writable(self) -> None:
        self.path("").mkdir(parents=True, exist_ok=True)
        probe = self.path(PROBE)
        probe.touch()
        probe.unlink()

    def require_room(self, free_bytes: int) -> None:
        folder = self.path("")
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        if free < free_bytes:
            free_and_needed = f"{free / 2**30:.1f} GiB free for the run, {free_bytes / 2**30:.1f} GiB needed"
            raise InputError("disk_full", f"{free_and_needed}; free space")

    def each(self, operation: Callable[[T], R], items: Iterable[T]) -> list[R]:
        return [operation(item) for item in items]

    def _write_aside(self, target: Path, data: bytes) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")  # `meant` reads this name
        try:
            with disk_errors(), temporary.open("wb") as stream:
                stream.write(data)
                _sync(stream)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary


def meant(name: str) -> str:
    """The name of the file that ``name`` was to become, where a kill left it half written; else ``name`` itself."""
    return re.sub(r"^\.(.+)\.[0-9a-f]{32}$", r"\1", name)


def new_name(folder: str, suffix: str) -> str:
    """The relative path of a file that no other attempt will write."""
    return f"{folder}/{uuid.uuid4().hex}{suffix}"


def read_pictures(storage: Storage, places: Iterable[Place]) -> Iterator[bytes | None]:
    """The stored pictures at these places, read in place, in their order; None where one is not there in full.

    Some hundred at a time, each file once for them, so that neighbours share a request.
    """
    for some in _some_at_a_time(places):
        by_file: dict[str, list[tuple[int, int]]] = {}
        for file, offset, size in some:
            if file is not None and offset is not None and size is not None:
                by_file.setdefault(file, []).append((offset, size))
        read = storage.each(lambda item: _holder(storage, item[0]).read_ranges(*item), by_file.items())
        found = {file: iter(pictures) for file, pictures in zip(by_file, read, strict=True)}
        for file, offset, size in some:
            yield None if file is None or offset is None or size is None else next(found[file])


def _holder(storage: Storage, file: str) -> Storage:
    """What reads a file of a `Place`."""
    return LocalStorage("/") if file.startswith("/") else storage


def _some_at_a_time(places: Iterable[Place]) -> Iterator[list[Place]]:
    some: list[Place] = []
    held = 0
    for place in places:
        size = place[2] or 0
        if some and (len(some) == PICTURES_AT_ONCE or held + size > PICTURE_BYTES_AT_ONCE):
            yield some
            some, held = [], 0
        some.append(place)
        held += size
    if some:
        yield some


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """A full disk is the user's to mend: one line and exit code 2 instead of a traceback."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError("disk_full", f"{error.strerror}: free space, then run the same command again") from error
        raise


def _sync(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
