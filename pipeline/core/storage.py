"""Where a run lies. The few operations that everything on disk is built from.

Files are written under a name nobody reads yet and become visible in one step: `create` (exclusive, the
first one wins) for commit records, `replace` for manifests. Paths are relative to the run. This version
knows local and mounted file systems; the operations are those an object store has too (no rename is asked for).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from pipeline.core.errors import InputError

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FileRecord:
    """A finished file of a run, as manifests and commit records list it."""

    path: str  # relative to the run, with forward slashes
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Storage:
    """Files below ``root``. Small and picklable: it travels to the tasks."""

    root: str

    @classmethod
    def at(cls, location: str) -> Storage:
        """Storage at a local path; InputError `output_unwritable` for a scheme this version does not write to, and
        for a folder that cannot be looked into."""
        if "://" in location:
            raise InputError(
                "output_unwritable", f"run {location}: object stores are not supported yet; give a local path"
            )
        try:
            root = Path(location).resolve()
            is_closed = root.is_dir() and not os.access(root, os.R_OK | os.X_OK)
        except (OSError, RuntimeError) as error:  # of a folder on the way there; RuntimeError: links in a circle
            raise InputError("output_unwritable", f"run {location}: {getattr(error, 'strerror', error)}") from None
        if is_closed:
            raise InputError("output_unwritable", f"run {root}: {os.strerror(errno.EACCES)}")
        return cls(str(root))

    def path(self, relative: str) -> Path:
        """The local path of a file of the run."""
        return Path(self.root, relative)

    def exists(self, relative: str) -> bool:
        return self.path(relative).exists()

    def read(self, relative: str) -> bytes:
        return self.path(relative).read_bytes()

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted; empty where there is no such folder."""
        try:
            return sorted(entry.name for entry in os.scandir(self.path(folder)) if entry.is_file())
        except FileNotFoundError:
            return []

    def create(self, relative: str, data: bytes) -> bool:
        """Write a file that must not exist yet; False, and nothing changed, where it does. Whole or not at all."""
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
        """Write a file in one visible step, over an older one if there is one."""
        target = self.path(relative)
        os.replace(self._write_aside(target, data), target)
        _sync_folder(target.parent)

    def delete(self, relative: str) -> None:
        """Remove a file; nothing happens where there is none."""
        self.path(relative).unlink(missing_ok=True)

    @contextlib.contextmanager
    def writing(self, folder: str, suffix: str) -> Iterator[tuple[str, BinaryIO]]:
        """A new file under a name of its own: (relative path, stream). Removed if the block fails, synced if not."""
        relative = f"{folder}/{uuid.uuid4().hex}{suffix}"
        target = self.path(relative)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with disk_errors(), target.open("wb") as stream:
                yield relative, stream
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def record(self, relative: str, rows: int) -> FileRecord:
        """The record of a file that is finished: its size and sha256 read back from disk."""
        digest = hashlib.sha256()
        with self.path(relative).open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
            return FileRecord(relative, rows, stream.tell(), digest.hexdigest())

    def intact(self, record: FileRecord) -> bool:
        """Whether a listed file is there with the size it had. `audit --check` compares the sha256 as well."""
        try:
            return self.path(record.path).stat().st_size == record.bytes
        except FileNotFoundError:
            return False

    def sweep(self, folder: str, keep: set[str]) -> int:
        """Remove the files of a folder that nothing refers to (``keep``: relative paths); how many there were."""
        orphans = [f"{folder}/{name}" for name in self.names(folder) if f"{folder}/{name}" not in keep]
        for relative in orphans:
            self.delete(relative)
        return len(orphans)

    def _write_aside(self, target: Path, data: bytes) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            with disk_errors(), temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary


class Pictures:
    """Reads stored pictures in place. Holds one file open: ask in order of file and offset."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._name: str | None = None
        self._stream: BinaryIO | None = None

    def read(self, file: str | None, offset: int | None, size: int | None) -> bytes | None:
        """The bytes at a place of a file of the run; None where they are not there in full."""
        if file is None or offset is None or size is None:
            return None
        try:
            if file != self._name:
                self.close()
                self._stream, self._name = self._storage.path(file).open("rb"), file
            data = os.pread(self._stream.fileno(), size, offset)  # type: ignore[union-attr]
        except OSError:
            return None
        return data if len(data) == size else None

    def close(self) -> None:
        """Close the open file, if any."""
        if self._stream is not None:
            self._stream.close()
        self._stream = self._name = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """A full disk is the user's to mend: one line and exit code 2 instead of a traceback."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError("disk_full", f"{error.strerror}: free space, then run the same command again") from error
        raise


def require_room(location: Path, free_bytes: int) -> None:
    """InputError unless at least ``free_bytes`` are free where ``location`` is or will be."""
    existing = next(parent for parent in (location, *location.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < free_bytes:
        raise InputError(
            "disk_full", f"{free / 2**30:.1f} GiB free for the run, {free_bytes / 2**30:.1f} GiB needed; free space"
        )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
