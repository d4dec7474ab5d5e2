"""A run in a folder of a local or mounted file system."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, TypeVar

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage.base import PROBE, READ_AHEAD_BYTES, NewFile, Storage, disk_errors, new_name

T = TypeVar("T")
R = TypeVar("R")


def at_home(path: str) -> str:
    """The path with ``~`` or ``~name`` at its start replaced by that home, unless something of this name exists: a
    shell does the same for arguments, but not in ``--run=~/x`` and not in a config."""
    return path if os.path.lexists(path) else os.path.expanduser(path)


@dataclass(frozen=True)
class LocalStorage(Storage):
    """A folder of a local or mounted file system; ``root`` is its absolute path."""

    root: str

    @staticmethod
    def at(location: str) -> LocalStorage:
        """The folder, existing or not; InputError `output_unwritable` if it cannot be listed."""
        try:
            root = Path(at_home(location)).resolve()
            is_closed = root.is_dir() and not os.access(root, os.R_OK | os.X_OK)
        except (OSError, RuntimeError) as error:  # of a parent folder; RuntimeError: circular links
            raise InputError(
                ErrorCode.OUTPUT_UNWRITABLE, f"run {location}: {getattr(error, 'strerror', error)}"
            ) from None
        if is_closed:
            raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"run {root}: {os.strerror(errno.EACCES)}")
        return LocalStorage(str(root))

    def path(self, relative: str) -> Path:
        """The path of a file of the run. InputError `input_unreadable` if it, or a link in it, leads out of the run: a
        run that a stranger made must not name other files to read, replace or remove."""
        path, root = os.path.join(self.root, relative), os.path.realpath(self.root)
        real = os.path.realpath(path)
        if os.path.commonpath([real, root]) != root:
            raise InputError(
                ErrorCode.INPUT_UNREADABLE, f"{path} leads out of the run, to {real}; remove the link from the run"
            )
        return Path(path)

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
        probe = self.path(f"{PROBE}.{uuid.uuid4().hex}")
        probe.touch(exist_ok=False)
        probe.unlink()

    def require_room(self, free_bytes: int) -> None:
        folder = self.path("")
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        if free < free_bytes:
            free_and_needed = f"{free / 2**30:.1f} GiB free for the run, {free_bytes / 2**30:.1f} GiB needed"
            raise InputError(ErrorCode.DISK_FULL, f"{free_and_needed}; free space")

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


def _sync(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
