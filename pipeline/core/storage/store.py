"""A run on an object store: s3://, gs://, az://, and what speaks like one of them (MinIO, R2, Ceph).

A PUT is whole or not at all, and a conditional one (`If-None-Match`, `If-Match`; RFC 9110, section 13) is refused where
another writer was first: commit records and the lock need no more. Large files are multipart uploads, which nobody sees
before they are completed. There is no rename, no append, and no folder but the names that begin alike.

Credentials come from the environment or the machine's own role, as obstore finds them, and never from a config. What
the environment of the driver says travels to the tasks with this object: the workers of a cluster have another one.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, BinaryIO, TypeVar, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError, PreconditionError
from obstore.store import from_url

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage.base import PROBE, READ_AHEAD_BYTES, STREAM_AHEAD_BYTES, NewFile, Storage, new_name

SCHEMES = ("s3", "gs", "az")
CREDENTIALS = ("AWS_", "GOOGLE_", "AZURE_")  # how the variables begin that say who we are and where the store is
REQUESTS_AT_ONCE = 16
GAP_BYTES = 128 << 10  # ranges of a file that are nearer share a request: cheaper than one more
PATIENT = {"max_retries": 10, "retry_timeout": timedelta(minutes=3)}
HASTY = {"max_retries": 2, "retry_timeout": timedelta(seconds=5)}  # where a person waits, or a lock may be lost
TIMEOUTS = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(minutes=5)}
HASTY_TIMEOUTS = {"connect_timeout": timedelta(seconds=3), "timeout": timedelta(seconds=5)}
ROLE_OF_MACHINE = re.compile(r"/latest/(api|meta-data)|169\.254\.169\.254|metadata\.google|/metadata/identity")

T = TypeVar("T")
R = TypeVar("R")
_FENCED: set[str] = set()  # roots that this process must not change any more


@dataclass(frozen=True)
class Version:
    """One state of one object: it can be replaced on the condition that it still is this one."""

    e_tag: str | None
    version: str | None
    modified: datetime | None = None  # by the store's clock

    def as_condition(self) -> dict[str, str]:
        """What obstore asks for."""
        given = {"e_tag": self.e_tag, "version": self.version}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class ObjectStorage(Storage):
    """All objects whose names begin with the path of ``root``, a URL."""

    root: str
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # may hold secrets: never shown
    hasty: bool = False  # gives up within seconds

    @staticmethod
    def at(location: str) -> ObjectStorage:
        """The store behind a URL, after one request to it; InputError `output_unwritable` says why it cannot be."""
        scheme, _, rest = location.partition("://")
        if scheme not in SCHEMES:
            known = ", ".join(f"{name}://" for name in SCHEMES)
            raise InputError(
                ErrorCode.OUTPUT_UNWRITABLE, f"run {scheme}://: no such storage; give a local path or {known}"
            )
        if re.search(r"[@?#]", rest):
            raise InputError(
                ErrorCode.OUTPUT_UNWRITABLE,
                f"run {scheme}://: no credentials or options in a URL; set the store's environment variables",
            )
        environment = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(CREDENTIALS)))
        storage = ObjectStorage(location.rstrip("/"), environment)
        try:
            storage.in_haste().entries()
        except OSError as error:
            raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"run {location}: {error}") from None
        return storage

    def fence(self, closed: bool) -> None:
        """Whether this process is barred from changing anything here: it lost the lock, another may be writing."""
        (_FENCED.add if closed else _FENCED.discard)(self.root)

    def in_haste(self) -> ObjectStorage:
        """The same storage, where an answer within seconds matters more than an answer."""
        return ObjectStorage(self.root, self.environment, hasty=True)

    @property
    def _store(self) -> Any:
        return _connected(self.root, self.environment, self.hasty)

    def size(self, relative: str) -> int | None:
        with _errors():
            try:
                return int(obstore.head(self._store, relative)["size"])
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        with _errors():
            listed = obstore.list_with_delimiter(self._store, folder)
        return sorted(entry["path"].rpartition("/")[2] for entry in listed["objects"])

    def entries(self) -> list[str]:
        with _errors():
            listed = obstore.list_with_delimiter(self._store)
        return sorted([*listed["common_prefixes"], *(entry["path"] for entry in listed["objects"])])

    def read(self, relative: str) -> bytes:
        return self.read_version(relative)[0]

    def open(self, relative: str, read_ahead: int = READ_AHEAD_BYTES) -> BinaryIO:
        size = self.size(relative)
        if size is None:
            raise FileNotFoundError(f"{self.where(relative)} is not there")
        return cast(BinaryIO, io.BufferedReader(_RangedFile(self, relative, size), read_ahead))

    def read_ranges(self, relative: str, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        runs = _runs(ranges)
        read = self.each(lambda run: self._up_to(relative, *run), runs)
        starts = [start for start, _ in runs]
        found: list[bytes | None] = []
        for offset, length in ranges:
            number = bisect_right(starts, offset) - 1  # the last run that begins no later holds it
            place = offset - starts[number]
            data = read[number][place : place + length]
            found.append(data if len(data) == length else None)
        return found

    def create(self, relative: str, data: bytes) -> bool:
        with self._changing():
            try:
                obstore.put(self._store, relative, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return self.read(relative) == data  # ours, written by a request whose answer was lost
        return True

    def replace(self, relative: str, data: bytes) -> None:
        with self._changing():
            obstore.put(self._store, relative, data, use_multipart=False)

    def delete(self, relative: str) -> None:
        with self._changing(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, relative)

    @contextlib.contextmanager
    def writing(self, folder: str, suffix: str) -> Iterator[NewFile]:
        relative = new_name(folder, suffix)
        with self._changing(), obstore.open_writer(self._store, relative) as sink:  # an exception aborts the upload
            yield NewFile(relative, sink)

    def require_writable(self) -> None:
        hasty = self.in_haste()
        hasty.replace(PROBE, b"")
        hasty.delete(PROBE)

    def require_room(self, free_bytes: int) -> None:
        """A store has no end that it would tell."""

    def each(self, operation: Callable[[T], R], items: Iterable[T]) -> list[R]:
        todo = list(items)
        if len(todo) < 2:
            return [operation(item) for item in todo]
        with ThreadPoolExecutor(min(len(todo), REQUESTS_AT_ONCE)) as pool:
            return list(pool.map(operation, todo))

    # What only a store can do.

    def copy(self, source: str, target: str) -> None:
        """Copy a file within the store; no byte passes through here. S3 does this up to 5 GiB."""
        with self._changing():
            obstore.copy(self._store, source, target)

    def read_version(self, relative: str) -> tuple[bytes, Version]:
        """A small file, and the state it was in."""
        with _errors():
            answer = obstore.get(self._store, relative)
            meta = answer.meta
            return answer.bytes().to_bytes(), Version(meta["e_tag"], meta["version"], meta["last_modified"])

    def replace_version(self, relative: str, data: bytes, expected: Version | None) -> Version | None:
        """Write a file that is still in the ``expected`` state (None: is not there); its new state, or None where it
        is in another one and nothing was changed."""
        mode: Any = "create" if expected is None else expected.as_condition()
        with _errors():
            try:
                put = obstore.put(self._store, relative, data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                return None
        return Version(put["e_tag"], put["version"])

    def clock(self) -> datetime:
        """What time it is for the store: no other clock can be compared with the age of its objects."""
        probe = f"{PROBE}.{uuid.uuid4().hex}"  # others may ask at the same moment
        self.replace(probe, b"")
        _, version = self.read_version(probe)
        self.delete(probe)
        assert version.modified is not None
        return version.modified

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        if self.root in _FENCED:
            raise OSError(f"the lock of {self.root} was lost; nothing is changed any more")
        with _errors():
            yield

    def _up_to(self, relative: str, start: int, end: int) -> bytes:
        """The bytes from ``start`` to ``end``, as many as there are."""
        with _errors():
            try:
                return obstore.get_range(self._store, relative, start=start, end=end).to_bytes()
            except FileNotFoundError:
                return b""
            except GenericError as error:
                if "416 Range Not Satisfiable" in str(error):  # the file ends before
                    return b""
                raise


class _RangedFile(io.RawIOBase):
    """An object as a file: each read is a request, so it wants a buffer in front of it."""

    def __init__(self, storage: ObjectStorage, relative: str, size: int) -> None:
        self._storage, self._relative, self._size = storage, relative, size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size - self._place)
        if length <= 0:
            return 0
        with _errors():
            data = obstore.get_range(self._storage._store, self._relative, start=self._place, length=length)
        buffer[: len(data)] = memoryview(data)
        self._place += len(data)
        return len(data)


def _runs(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """(start, end) of the requests for these (offset, length), ascending: near ones share one of bounded size."""
    runs: list[tuple[int, int]] = []
    for start, end in sorted((offset, offset + length) for offset, length in ranges):
        if runs and start - runs[-1][1] <= GAP_BYTES and end - runs[-1][0] <= STREAM_AHEAD_BYTES:
            runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
        else:
            runs.append((start, end))
    return runs


@lru_cache(maxsize=16)
def _connected(url: str, environment: tuple[tuple[str, str], ...], hasty: bool) -> Any:
    """The client, once a process. obstore reads the environment when one is made."""
    os.environ.update(environment)
    options: dict[str, Any] = dict(HASTY_TIMEOUTS if hasty else TIMEOUTS)
    options["allow_http"] = any(value.startswith("http://") for _, value in environment)  # an endpoint that says so
    with _errors():
        return from_url(url, client_options=cast(Any, options), retry_config=cast(Any, HASTY if hasty else PATIENT))


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """What the library raises as an OSError of one line, like that of a disk."""
    try:
        yield
    except (BaseError, ValueError) as error:  # ValueError: no URL for the library
        raise OSError(_told(str(error))) from None


def _told(text: str) -> str:
    """The part of an error that a person can do something about."""
    if "NoSuchBucket" in text or "ContainerNotFound" in text:
        return "there is no such bucket; create it, or name another"
    if ROLE_OF_MACHINE.search(text):  # the last link of the chain
        return "no credentials found; set the store's environment variables, as AWS_ACCESS_KEY_ID (docs/stores.md)"
    code, message = (re.search(f"<{tag}>([^<]*)", text) for tag in ("Code", "Message"))
    if code:
        return f"the store refuses: {code[1]}{f': {message[1]}' if message else ''}"
    if "error sending request" in text or "timed out" in text:
        url = re.search(r"https?://[^/\s)]+", text)
        return f"{url[0] if url else 'the store'} cannot be reached; check the network and the endpoint"
    return re.sub(r"\?\S*", "", text.strip().splitlines()[0])[:300]  # a query may hold a signature
