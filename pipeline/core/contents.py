"""Digests of files that settings name: a file counts by its bytes, not by its path. Each is hashed once per process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from pipeline.core.errors import ErrorCode, InputError


def digest_of(files: Iterable[str | Path]) -> str:
    """A digest of the content of some files, independent of their order; "" for no file.

    InputError `resource_missing` for a file that cannot be read.
    """
    found = sorted(_sha256(*_version(Path(file))) for file in files)
    return hashlib.sha256("\n".join(found).encode()).hexdigest() if found else ""


def _version(path: Path) -> tuple[str, int, int]:
    """(path, mtime, size): a changed file has another key in the cache."""
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(ErrorCode.RESOURCE_MISSING, f"{path}: {error.strerror}") from None
    return str(path), stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=1024)
def _sha256(path: str, mtime_ns: int, size: int) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(ErrorCode.RESOURCE_MISSING, f"{path}: {error.strerror}") from None
