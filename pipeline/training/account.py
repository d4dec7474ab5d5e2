"""What names a training, and the account of a finished one: train.json, written last.

A training is named by its Measure settings and the digest of its data. An output folder holds one training.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.core.config import settings_key
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage import Storage
from pipeline.training import checkpoint

TRAINING_VERSION = "1"  # raised when the same settings and data would give another model
MODEL, RESULT, METRICS = "model.pt", "train.json", "metrics.jsonl"


@dataclass(frozen=True)
class TrainResult:
    """A finished training. ``losses`` has one value per step."""

    model: Path
    steps: int
    samples: int  # that have a picture and a caption
    unreadable: list[str]  # keys of those that have none, or whose picture does not decode
    losses: list[float]
    data: str  # digest of the data
    sha256: str  # of model.pt
    up_to_date: bool = False  # it was finished before


@dataclass(frozen=True)
class Name:
    """What makes a training this one."""

    settings: dict[str, Any]  # the Measure settings
    data: str

    @property
    def key(self) -> str:
        return settings_key(TRAINING_VERSION, self.settings, self.data)

    def difference(self, settings: dict[str, Any], data: str) -> str:
        """What another training had otherwise, in words."""
        changed = [
            f"{name} {settings.get(name)} → {value}"
            for name, value in self.settings.items()
            if settings.get(name) != value
        ]
        if data != self.data:
            changed.append(f"data {data} → {self.data}")
        return ", ".join(changed) or "another version of the trainer"


def publish(storage: Storage, name: Name, weights: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Write the model, then its account: after that the training has happened."""
    model = checkpoint.to_bytes(weights)
    storage.replace(MODEL, model)
    account = {
        "key": name.key,
        "settings": name.settings,
        "data": name.data,
        **facts,
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "torch": torch.__version__,
    }
    storage.replace(RESULT, json.dumps(account, indent=1, ensure_ascii=False).encode())


def finished(output: Path, storage: Storage, name: Name, up_to_date: bool) -> TrainResult | None:
    """The training where it is finished and its model whole. InputError ``output_exists`` for another one (N18)."""
    account = _read(storage)
    if account is None:
        return None
    if account["key"] != name.key:
        raise InputError(
            ErrorCode.OUTPUT_EXISTS,
            f"{output} holds another training ({name.difference(account['settings'], account['data'])}); "
            "choose another output, or set overwrite",
        )
    if not storage.exists(MODEL) or hashlib.sha256(storage.read(MODEL)).hexdigest() != account["model_sha256"]:
        return None
    return TrainResult(
        output / MODEL,
        account["steps"],
        account["samples"],
        account["unreadable"],
        account["losses"],
        account["data"],
        account["model_sha256"],
        up_to_date,
    )


def forget_another(storage: Storage, name: Name) -> None:
    """Remove what a training of another name left, its account first; what this one left stays."""
    account = _read(storage)
    if account is not None and account["key"] != name.key:
        storage.delete(RESULT)
    begun = checkpoint.load_newest(storage, lambda _: None)
    if begun is not None and begun["key"] != name.key:
        storage.delete(checkpoint.LATEST)
        storage.sweep(checkpoint.FOLDER, keep=set())
        for file in (MODEL, METRICS):
            storage.delete(file)


def _read(storage: Storage) -> dict[str, Any] | None:
    """train.json; None where it is missing, InputError where it is not valid."""
    if not storage.exists(RESULT):
        return None
    try:
        account: dict[str, Any] = json.loads(storage.read(RESULT))
    except ValueError as error:
        raise InputError(
            ErrorCode.INPUT_UNREADABLE, f"{storage.where(RESULT)}: {error}; remove it to train again"
        ) from None
    return account
