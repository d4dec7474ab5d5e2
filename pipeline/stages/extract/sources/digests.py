"""The sha256 of input files, hashed in threads, and remembered in the run for files that did not change.

A file is taken as unchanged if its path, size, and mtime (on a store: its time and etag) are as they were.
``--verify-inputs`` hashes all again. A file that was written in the last seconds is not remembered: it may change again
within the resolution of its mtime.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import replace

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage import CHUNK_BYTES, Storage
from pipeline.stages.extract.raw.places import File, each, is_url, open_place

MEMORY = "extract/inputs.json"
TOO_FRESH_NS = 2 * 10**9

_known: dict[File, str] = {}  # of this process; `relative` is empty in these keys


def sha256s_of(files: Iterable[File]) -> dict[File, str]:
    """The sha256 of each file. InputError `input_unreadable` for one that cannot be read."""
    wanted = list(dict.fromkeys(files))
    missing = [file for file in dict.fromkeys(map(_key, wanted)) if file not in _known]
    found = dict(zip(missing, each(_sha256, missing), strict=True))
    _known.update((file, sha256) for file, sha256 in found.items() if _may_be_remembered(file))
    return {file: found.get(_key(file)) or _known[_key(file)] for file in wanted}


def unknown(files: Iterable[File]) -> list[File]:
    """The files that have to be hashed."""
    return [file for file in files if _key(file) not in _known]


def recall(storage: Storage) -> None:
    """Take what a run remembers. What cannot be read counts as nothing."""
    try:
        values = json.loads(storage.read(MEMORY))
        _known.update({File(*key): sha256 for *key, sha256 in values})
    except (OSError, ValueError, TypeError):
        return


def remember(storage: Storage, files: Iterable[File]) -> None:
    """Keep the digests of these files in the run, and no others."""
    rows = sorted([file.path, file.bytes, file.version, _known[file]] for file in map(_key, files) if file in _known)
    data = json.dumps(rows, ensure_ascii=True, indent=0).encode()
    if not storage.exists(MEMORY) or storage.read(MEMORY) != data:
        storage.replace(MEMORY, data)


def forget() -> None:
    """Hash everything again."""
    _known.clear()


def _key(file: File) -> File:
    path = file.path if is_url(file.path) else os.path.abspath(file.path)
    return replace(file, path=path, relative="")


def _may_be_remembered(file: File) -> bool:
    return is_url(file.path) or time.time_ns() - int(file.version) > TOO_FRESH_NS


def _sha256(file: File) -> str:
    try:
        with open_place(file.path) as stream:
            digest = hashlib.sha256()
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
            return digest.hexdigest()
    except OSError as error:
        text = f"{file.path}: {error.strerror or error}"
        raise InputError(ErrorCode.INPUT_UNREADABLE, text) from None
