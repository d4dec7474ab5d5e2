"""A run on an object store: s3://, gs://, az://, and compatible services (MinIO, R2, Ceph).

A PUT is complete or has no effect, and a conditional one (`If-None-Match`, `If-Match`; RFC 9110, section 13) fails if
another writer was first: commit records and the lock need nothing else. Large files are multipart uploads, which are
invisible until they are completed. There is no rename and no append, and folders are only prefixes of names.

Credentials come from the environment or the machine's role, as obstore finds them, never from a config. The driver's
environment variables are sent to the tasks with this object, because workers of a cluster have other ones.
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
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError, PreconditionError
from obstore.store import from_url

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage.base import PROBE, READ_AHEAD_BYTES, STREAM_AHEAD_BYTES, NewFile, Storage, new_name

SCHEMES = ("s3", "gs", "az")
CREDENTIALS = ("AWS_", "GOOGLE_", "AZURE_")  # prefixes of variables with credentials and endpoints
REQUESTS_AT_ONCE = 16
GAP_BYTES = 128 << 10  # ranges of a file that are closer share a request, which is cheaper
PATIENT = {"max_retries": 10, "retry_timeout": timedelta(minutes=3)}
HASTY = {"max_retries": 2, "retry_timeout": timedelta(seconds=5)}  # when a user waits, or a lock may be lost
TIMEOUTS = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(minutes=5)}
HASTY_TIMEOUTS = {"connect_timeout": timedelta(seconds=3), "timeout": timedelta(seconds=5)}
ROLE_OF_MACHINE = re.compile(r"/latest/(api|meta-data)|169\.254\.169\.254|metadata\.google|/metadata/identity")

T = TypeVar("T")
R = TypeVar("R")
_FENCED: set[str] = set()  # roots that this process must not change


@dataclass(frozen=True)
class Version:
    """One version of an object; a conditional PUT replaces the object only if it still has this version."""

    e_tag: str | None
    version: str | None
    modified: datetime | None = None  # by the store's clock

    def as_condition(self) -> dict[str, str]:
        """The condition in the form that obstore takes."""
        given = {"e_tag": self.e_tag, "version": self.version}
        return {name: value for name, value in given.items() if value is not None}


class Listed(NamedTuple):
    """An object in a listing; ``version`` is another text after every change of it."""

    path: str
    bytes: int
    version: str


@dataclass(frozen=True)
class ObjectStorage(Storage):
    """All objects below ``root``, a URL."""

    root: str
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # may hold secrets: never shown
    hasty: bool = False  # give up within seconds

    @staticmethod
    def at(location: str) -> ObjectStorage:
        """The store at a URL, checked by one request; InputError `output_unwritable` if it cannot be used."""
        scheme, _, rest = location.partition("://")
        if scheme not in SCHEMES:
            known = ", ".join(f"{name}://" for name in SCHEMES)
            raise InputError(
                ErrorCode.OUTPUT_UNWRITABLE, f"run {scheme}://: unknown scheme; give a local path or {known}"
            )
        if re.search(r"[@?#]", rest):
            raise InputError(
                ErrorCode.OUTPUT_UNWRITABLE,
                f"run {scheme}://: credentials and options are not allowed in a URL; "
                "set the store's environment variables",
            )
        storage = ObjectStorage(location.rstrip("/"), environment_of_stores())
        try:
            storage.in_haste().entries()
        except OSError as error:
            raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"run {location}: {error}") from None
        return storage

    def fence(self, closed: bool) -> None:
        """Forbid or allow changes by this process: without the lock, another process may be writing."""
        (_FENCED.add if closed else _FENCED.discard)(self.root)

    def in_haste(self) -> ObjectStorage:
        """The same storage, giving up within seconds."""
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
        """A store does not report its free space."""

    def each(self, operation: Callable[[T], R], items: Iterable[T]) -> list[R]:
        todo = list(items)
        if len(todo) < 2:
            return [operation(item) for item in todo]
        with ThreadPoolExecutor(min(len(todo), REQUESTS_AT_ONCE)) as pool:
            return list(pool.map(operation, todo))

    # Only on a store.

    def listed(self, prefix: str) -> list[Listed]:
        """All objects whose name begins with ``prefix/`` (empty: all), in the order of their names."""
        with _errors():
            found = [entry for page in obstore.list(self._store, prefix or None) for entry in page]
        return sorted(Listed(entry["path"], entry["size"], _version_of(entry)) for entry in found)

    def stat(self, relative: str) -> Listed | None:
        """One object; None if it does not exist."""
        with _errors():
            try:
                entry = obstore.head(self._store, relative)
            except FileNotFoundError:
                return None
        return Listed(entry["path"], entry["size"], _version_of(entry))

    def copy(self, source: str, target: str) -> None:
        """Copy a file inside the store, without downloading it. S3 allows this up to 5 GiB."""
        with self._changing():
            obstore.copy(self._store, source, target)

    def read_version(self, relative: str) -> tuple[bytes, Version]:
        """The content of a small file and its version."""
        with _errors():
            answer = obstore.get(self._store, relative)
            meta = answer.meta
            return answer.bytes().to_bytes(), Version(meta["e_tag"], meta["version"], meta["last_modified"])

    def replace_version(self, relative: str, data: bytes, expected: Version | None) -> Version | None:
        """Write a file if it still has the ``expected`` version (None: does not exist). Returns the new version, or
        None if it has another one; then nothing changes."""
        mode: Any = "create" if expected is None else expected.as_condition()
        with _errors():
            try:
                put = obstore.put(self._store, relative, data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                return None
        return Version(put["e_tag"], put["version"])

    def clock(self) -> datetime:
        """The time of the store's clock, the only one that can be compared with the age of its objects."""
        probe = f"{PROBE}.{uuid.uuid4().hex}"  # others may do this at the same time
        self.replace(probe, b"")
        _, version = self.read_version(probe)
        self.delete(probe)
        assert version.modified is not None
        return version.modified

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        if self.root in _FENCED:
            raise OSError(f"the lock of {self.root} was lost; this process changes nothing more")
        with _errors():
            yield

    def _up_to(self, relative: str, start: int, end: int) -> bytes:
        """The bytes from ``start`` to ``end``, fewer if the file ends before."""
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
    """An object as a file. Each read is a request, so wrap it in a buffer."""

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


def environment_of_stores() -> tuple[tuple[str, str], ...]:
    """The variables with credentials and endpoints of this process."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(CREDENTIALS)))


def _version_of(entry: Any) -> str:
    return f"{entry['last_modified'].isoformat()} {entry['e_tag']}"


def _runs(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """(start, end) of the requests for these (offset, length), ascending; nearby ones share one of limited size."""
    runs: list[tuple[int, int]] = []
    for start, end in sorted((offset, offset + length) for offset, length in ranges):
        if runs and start - runs[-1][1] <= GAP_BYTES and end - runs[-1][0] <= STREAM_AHEAD_BYTES:
            runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
        else:
            runs.append((start, end))
    return runs


@lru_cache(maxsize=16)
def _connected(url: str, environment: tuple[tuple[str, str], ...], hasty: bool) -> Any:
    """The client, made once per process. obstore reads the environment when a client is made."""
    os.environ.update(environment)
    options: dict[str, Any] = dict(HASTY_TIMEOUTS if hasty else TIMEOUTS)
    options["allow_http"] = any(value.startswith("http://") for _, value in environment)  # the endpoint is http
    with _errors():
        # A name is a name, as in the keys of objects: a%20b is not "a b".
        return from_url(
            url.replace("%", "%25"),
            client_options=cast(Any, options),
            retry_config=cast(Any, HASTY if hasty else PATIENT),
        )


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Turn errors of the library into an OSError with a one-line message."""
    try:
        yield
    except (BaseError, ValueError) as error:  # ValueError: an invalid URL
        raise OSError(_told(str(error))) from None


def _told(text: str) -> str:
    """The useful part of an error message."""
    if "NoSuchBucket" in text or "ContainerNotFound" in text:
        return "the bucket does not exist; create it or name another"
    if ROLE_OF_MACHINE.search(text):  # the last link of the chain
        return "no credentials found; set the store's environment variables, such as AWS_ACCESS_KEY_ID (docs/stores.md)"
    code, message = (re.search(f"<{tag}>([^<]*)", text) for tag in ("Code", "Message"))
    if code:
        return f"the store refused: {code[1]}{f': {message[1]}' if message else ''}"
    if "error sending request" in text or "timed out" in text:
        url = re.search(r"https?://[^/\s)]+", text)
        return f"{url[0] if url else 'the store'} cannot be reached; check the network and the endpoint"
    return re.sub(r"\?\S*", "", text.strip().splitlines()[0])[:300]  # a query may hold a signature
