"""One writer a run: an OS lock, free the moment its holder dies, with a note that says who holds it."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.core.errors import InputError


@contextlib.contextmanager
def run_lock(folder: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold RUN/.lock. InputError `output_locked` names the holder; a dead holder's lock is taken over with one line."""
    path = folder / ".lock"
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        holder = _holder(file.read())
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                "output_locked", f"{folder} is in use by {holder}; wait for it or choose another --run"
            ) from None
        if holder:
            warn(f"taking over the lock of {holder}, which ended without releasing it")
        file.truncate(0)
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        file.write(json.dumps({"host": socket.gethostname(), "process": os.getpid(), "started": started}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _holder(text: str) -> str:
    try:
        note = json.loads(text)
        return f"process {note['process']} on {note['host']}, started {note['started']}"
    except (ValueError, KeyError, TypeError):
        return "another run" if text.strip() else ""
