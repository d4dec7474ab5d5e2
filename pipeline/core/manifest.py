"""manifest.json: the record of a stage that has run. Published last, in one step; without it the stage has not run."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage import FileRecord, Storage


class KeptRows(BaseModel):
    """What a stage hands on: how many rows, and an order-free digest of their keys (sum mod 2^64, as 16 hex digits)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    unit: str
    rows: int
    digest: str


class LookedAt(BaseModel):
    """A stage whose rows and verdicts were all read, as named by its manifest at that time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    result: str
    decide_key: str


class Manifest(BaseModel):
    """One stage's record of its result. ``rows_in == kept + sum(dropped.values())``, in the stage's own unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    unit: str
    off: bool = False
    rows_in: int
    kept: int
    dropped: dict[str, int]
    measured: int  # rows measured for the first time under this key
    inputs: list[KeptRows]
    looked_at: list[LookedAt] = []
    keeps: KeptRows
    measure_key: str
    decide_key: str
    input_fingerprint: str  # of the rows read: not part of a key
    result: str  # names the measured rows: what readers fingerprint
    settings: dict[str, Any]  # Measure and Decide settings, so that the next run can say what changed
    contents: dict[str, str] = {}  # digests of the files that settings name
    rules: list[dict[str, str | None]]
    facts: dict[str, Any] = {}  # further counts of the stage (pages, requests, ...)
    seconds: float
    files: dict[str, list[FileRecord]]  # by role: rows, ledger, ...

    def as_looked_at(self) -> LookedAt:
        """How a stage that sees all rows of this one records them."""
        return LookedAt(stage=self.stage, result=self.result, decide_key=self.decide_key)

    @property
    def all_files(self) -> list[FileRecord]:
        return [record for records in self.files.values() for record in records]


def manifest_path(stage: str) -> str:
    return f"{stage}/manifest.json"


def read_manifest(storage: Storage, stage: str) -> Manifest | None:
    """The stage's manifest; None if the stage has not run; InputError if it cannot be read."""
    path = manifest_path(stage)
    try:
        return Manifest.model_validate_json(storage.read(path))
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError, OSError) as error:
        raise InputError(
            ErrorCode.INPUT_UNREADABLE,
            f"{path} is not a valid manifest: {_why(error)}; remove it to rerun the stage",
        ) from error


def _why(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return type(error).__name__
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}"


def publish(storage: Storage, manifest: Manifest) -> None:
    """Replace the stage's manifest in one step."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
    storage.replace(manifest_path(manifest.stage), text.encode())
