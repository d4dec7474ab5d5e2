"""One writer per run. The note in RUN/.lock names the holder; the lock of a dead holder is taken over with a warning.

On a file system it is an OS lock, released when its holder dies. On a store it is an object that its holder renews by
conditional PUT; it is stale if nobody renewed it for two minutes. Only the store's clock measures its age, so clocks
that jump or differ do not matter. A holder that died on the machine where the next build starts is recognized as dead.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import signal
import socket
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage import LocalStorage, ObjectStorage, Storage, Version

LOCK = ".lock"
NOTE_CHARS = 4096  # more than any note has
BEAT_S = 20.0
STALE_S = 120.0
INTERRUPTION = signal.SIGUSR1


def run_lock(storage: Storage, warn: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    """Hold RUN/.lock. InputError `output_locked` names the holder; `warn` is called when a dead holder's lock is taken
    over."""
    if isinstance(storage, ObjectStorage):
        return lease(storage, warn)
    if isinstance(storage, LocalStorage):
        return _os_lock(storage, warn)
    raise TypeError(f"no lock for {type(storage).__name__}")


@contextlib.contextmanager
def _os_lock(storage: LocalStorage, warn: Callable[[str], None]) -> Iterator[None]:
    with _lock_file(storage) as file:
        holder = _holder(file.read(NOTE_CHARS))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(storage, holder) from None
        if holder:
            warn(_takes_over(holder))
        file.seek(0)
        file.truncate(0)
        file.write(json.dumps(_note()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _lock_file(storage: LocalStorage) -> TextIO:
    """RUN/.lock, made if it is missing. InputError `output_unwritable` for anything but a file of its own: a link, soft
    or hard, would make us empty what it names."""
    path = os.path.join(storage.root, LOCK)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _not_a_lock(path) from None
        raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"{path}: {error.strerror}") from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(handle)
        raise _not_a_lock(path)
    return os.fdopen(handle, "r+", encoding="utf-8", errors="replace")


def _not_a_lock(path: str) -> InputError:
    return InputError(
        ErrorCode.OUTPUT_UNWRITABLE, f"{path} is a link or not a file, so it is no lock of ours; remove it and rerun"
    )


@contextlib.contextmanager
def lease(
    storage: ObjectStorage, warn: Callable[[str], None], beat_s: float = BEAT_S, stale_s: float = STALE_S
) -> Iterator[None]:
    """Hold the lock of a run on a store, renewed every ``beat_s``.

    A process that cannot renew it before others may consider it stale writes nothing more, not even to clean up. The
    block is interrupted if it runs in the main thread, and ends with InputError `output_locked`.
    """
    hasty = storage.in_haste()
    note = _note() | {"machine": _machine(), "begun": _begun(os.getpid()), "lease": uuid.uuid4().hex, "beat": 0}
    version = _acquire(hasty, note, warn, stale_s)
    storage.fence(False)
    heart = _Heart(hasty, note, version, beat_s, give_up_s=stale_s * 3 / 4)
    try:
        with _interruptible():
            heart.start()
            try:
                yield
            finally:
                heart.stop()
    except BaseException:
        if heart.lost:  # the exception is our own interruption, or caused by it
            raise _lost(storage) from None
        raise
    finally:
        storage.fence(False)  # for the next build of this process
    if heart.lost:
        raise _lost(storage)


class _Heart(threading.Thread):
    """Renews a lease until it is stopped or ``lost``."""

    def __init__(
        self, storage: ObjectStorage, note: dict[str, Any], version: Version, beat_s: float, give_up_s: float
    ) -> None:
        super().__init__(name="lock", daemon=True)
        self.lost = False
        self._storage, self._note, self._version = storage, note, version
        self._beat_s, self._give_up_s = beat_s, give_up_s
        self._stopping = threading.Event()

    def run(self) -> None:
        renewed_s = time.monotonic()
        while not self._stopping.wait(self._beat_s):
            sent_s = time.monotonic()
            self._note["beat"] += 1
            with contextlib.suppress(OSError):  # a network error: the next beat may succeed
                following = self._storage.replace_version(LOCK, _text(self._note), self._version)
                if following is None and not self._is_ours():
                    break
                self._version, renewed_s = following or self._version, sent_s
            if time.monotonic() - renewed_s > self._give_up_s:
                break
        else:
            return
        self.lost = True
        self._storage.fence(True)
        if signal.getsignal(INTERRUPTION) is _interrupt:
            signal.pthread_kill(threading.main_thread().ident or 0, INTERRUPTION)

    def stop(self) -> None:
        """Stop renewing; release the lock if it is still held."""
        self._stopping.set()
        self.join()
        if not self.lost:
            with contextlib.suppress(OSError):  # the lock becomes stale soon
                free = {
                    "freed": self._note["lease"]
                }  # no two notes are equal: some stores derive the version from the content
                self._storage.replace_version(LOCK, _text(free), self._version)

    def _is_ours(self) -> bool:
        """Whether the lock holds our note, written by a request whose response was lost."""
        data, version = self._storage.read_version(LOCK)
        if _parsed(data).get("lease") != self._note["lease"]:
            return False
        self._version = version
        return True


class _Interrupted(BaseException):
    """The lease of the running block was lost."""


def _interrupt(*_: object) -> None:
    raise _Interrupted


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let another thread interrupt the block. Not by SIGINT: background jobs of a shell ignore it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(INTERRUPTION, _interrupt)
    try:
        yield
    finally:
        signal.signal(INTERRUPTION, before)


def _acquire(storage: ObjectStorage, note: dict[str, Any], warn: Callable[[str], None], stale_s: float) -> Version:
    try:
        found, old = storage.read_version(LOCK)
    except FileNotFoundError:
        holder, expected = "", None
    else:
        holder, expected = _holder(found.decode("utf-8", "replace")), old
        if holder and not _is_dead(_parsed(found)):
            silent_s = (storage.clock() - old.modified).total_seconds() if old.modified else 0.0
            if silent_s < stale_s:
                raise _in_use(storage, f"{holder}, last renewed {silent_s:.0f} s ago")
    version = storage.replace_version(LOCK, _text(note), expected)
    if version is None:
        raise _in_use(storage, "a build that started at the same moment")
    if holder:
        warn(_takes_over(holder))
    return version


def _is_dead(note: dict[str, Any]) -> bool:
    """Whether the holder was a process on this machine, since its last boot, that has ended."""
    if not note.get("machine") or note["machine"] != _machine():
        return False
    return bool(note.get("begun")) and _begun(note["process"]) != note["begun"]


def _machine() -> str:
    """The boot of this machine and our process namespace; empty if unknown."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _begun(process: int) -> str:
    """When a process of this machine started, in ticks; empty if it does not exist. Process ids are reused."""
    with contextlib.suppress(OSError, IndexError):
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return fields[18] if state not in "ZX" else ""  # proc(5): starttime is the 22nd
    return ""


def _note() -> dict[str, Any]:
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "process": os.getpid(), "started": started}


def _text(note: dict[str, Any]) -> bytes:
    return json.dumps(note, sort_keys=True).encode()


def _parsed(data: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        note = json.loads(data)
        return note if isinstance(note, dict) else {}
    return {}


def _holder(text: str) -> str:
    """Who holds the lock according to its note; empty if it is free."""
    note = _parsed(text.encode())
    if not text.strip() or "freed" in note:
        return ""
    try:
        return f"process {note['process']} on {note['host']}, started {note['started']}"
    except KeyError:
        return "another run"


def _takes_over(holder: str) -> str:
    return f"taking over the lock of {holder}, which ended without releasing it"


def _in_use(storage: Storage, holder: str) -> InputError:
    return InputError(
        ErrorCode.OUTPUT_LOCKED, f"{storage.root} is in use by {holder}; wait for it or choose another --run"
    )


def _lost(storage: Storage) -> InputError:
    return InputError(
        ErrorCode.OUTPUT_LOCKED,
        f"{storage.root}: the lock could not be renewed in time or was taken over; stopped; "
        "finished parts are kept, run the same command again to resume",
    )
