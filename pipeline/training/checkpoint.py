"""Checkpoints: whole or not there, told by their sha256, and nothing in them but tensors and plain values.

A checkpoint is written aside, synced and renamed; then ``checkpoints/latest.json`` is replaced, which lists the ones
that count with their digests, newest first; then the oldest go. A kill at any moment leaves the list and what it names
intact (N2, N17). Readers check the digest before the file is opened and fall back to the one before (N3); files are
read with ``weights_only=True``, which builds no object but tensors (N4).

No random state is kept: order, crops and captions are functions of seed, epoch and key (``batches.py``).
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage import Storage

FOLDER = "checkpoints"
LATEST = f"{FOLDER}/latest.json"


@dataclass(frozen=True)
class Entry:
    """A checkpoint that counts."""

    file: str
    step: int
    sha256: str


def to_bytes(value: Any) -> bytes:
    """A file that ``torch.load(..., weights_only=True)`` reads; the same tensors give the same bytes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def save(storage: Storage, step: int, state: dict[str, Any], keep: int) -> None:
    """Write the checkpoint of a step, then let go of all but the ``keep`` newest. InputError: ``disk_full``."""
    data = to_bytes(state)
    entry = Entry(f"{FOLDER}/step-{step:06d}.pt", step, hashlib.sha256(data).hexdigest())
    storage.replace(entry.file, data)
    kept = [entry, *(older for older in entries(storage) if older.step != step)][:keep]
    storage.replace(LATEST, json.dumps([asdict(one) for one in kept], indent=1).encode())
    storage.sweep(FOLDER, keep={LATEST, *(one.file for one in kept)})


def entries(storage: Storage) -> list[Entry]:
    """The checkpoints that count, newest first."""
    if not storage.exists(LATEST):
        return []
    try:
        return [Entry(**one) for one in json.loads(storage.read(LATEST))]
    except (ValueError, TypeError) as error:
        raise InputError(
            ErrorCode.CHECKPOINT_CORRUPT, f"{LATEST} is not a list of checkpoints; remove {FOLDER} to start over"
        ) from error


def load_newest(storage: Storage, warn: Callable[[str], None]) -> dict[str, Any] | None:
    """The newest whole checkpoint; None where none was ever written.

    InputError: ``checkpoint_corrupt`` where there are some and none is whole, ``unsafe_checkpoint``.
    """
    listed = entries(storage)
    for entry in listed:
        data = storage.read(entry.file) if storage.exists(entry.file) else b""
        if hashlib.sha256(data).hexdigest() == entry.sha256:
            return _load(entry.file, data)
        warn(f"{entry.file} is cut off or was changed: resuming from the checkpoint before it")
    if listed:
        raise InputError(
            ErrorCode.CHECKPOINT_CORRUPT, f"no whole checkpoint in {FOLDER}; remove the folder to start over"
        )
    return None


def _load(file: str, data: bytes) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            ErrorCode.UNSAFE_CHECKPOINT,
            f"{file} holds more than tensors and plain values and was not loaded; remove it",
        ) from error
    return state
