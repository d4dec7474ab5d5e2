"""Parts: the unit of resume. A task writes its files, then commits them by creating one small record.

`<stage>/parts/PART.json` is created exclusively: of two attempts at one part the first counts, and the files of the
other are orphans. A part never changes; new rows form new parts. If work is named by its input (an input split), so is
its part, and a restarted run skips committed parts. Otherwise (a lane) the rows of committed parts tell what is done.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pipeline.core.ids import key_of
from pipeline.core.storage import FileRecord, NewFile, Storage


@dataclass(frozen=True)
class Part:
    """A committed part: its input, the key of its settings, and its files by role."""

    name: str
    measure_key: str
    input: str  # digest of the part's input
    files: dict[str, FileRecord]
    stats: dict[str, int] = field(default_factory=dict)


class OpenPart:
    """A part that is being filled by one task.

    A context: its files count from `commit` on, and what is not committed when it ends is removed.
    """

    def __init__(self, storage: Storage, stage: str, measure_key: str) -> None:
        self.storage, self.measure_key = storage, measure_key
        self._stage = stage
        self._streams: dict[str, NewFile] = {}
        self._records: dict[str, FileRecord] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
        files = [stream.path for stream in self._streams.values()] + [file.path for file in self._records.values()]
        for path in files:
            self.storage.delete(path)

    def stream(self, role: str, folder: str, ending: str) -> NewFile:
        """The file of a role, opened by the first call and finished by `commit`."""
        if role not in self._streams:
            self._streams[role] = self._stack.enter_context(self.storage.writing(folder, ending))
        return self._streams[role]

    def add_file(self, role: str, record: FileRecord) -> None:
        """A file that is finished."""
        self._records[role] = record

    def commit(self, measured: str, stats: Mapping[str, int], rows: Mapping[str, int] | None = None) -> str:
        """Finish all files and make the part count; its name, made of what it measures: of two equal ones the first
        counts. ``rows``: of streams, by role."""
        self._stack.close()
        streams = {role: stream.record((rows or {})[role]) for role, stream in self._streams.items()}
        name = part_name(self.measure_key, measured)
        commit(self.storage, self._stage, Part(name, self.measure_key, measured, self._records | streams, dict(stats)))
        self._streams, self._records = {}, {}
        return name


def part_name(measure_key: str, input_digest: str) -> str:
    """The name of the part that measures this input under these settings."""
    return key_of("part", measure_key, input_digest)


def commit(storage: Storage, stage: str, part: Part) -> bool:
    """Commit a part. False if another attempt was first; then the files of this one are removed."""
    data = json.dumps(asdict(part), sort_keys=True, indent=1).encode()
    if storage.create(_record_path(stage, part.name), data):
        return True
    for file in part.files.values():
        storage.delete(file.path)
    return False


def is_committed(storage: Storage, stage: str, name: str) -> bool:
    return storage.exists(_record_path(stage, name))


def committed(storage: Storage, stage: str, skip: Collection[str] = ()) -> list[Part]:
    """All committed parts with intact files, in order of name; the record of a broken one is removed, to redo it."""
    names = [name for name in _names(storage, stage) if name not in skip]

    def whole(name: str) -> Part | None:
        part = _parse(storage.read(_record_path(stage, name)))
        is_whole = part is not None and part.name == name and all(map(storage.intact, part.files.values()))
        return part if is_whole else None

    found = dict(zip(names, storage.each(whole, names), strict=True))
    storage.each(storage.delete, [_record_path(stage, name) for name, part in found.items() if part is None])
    return [part for part in found.values() if part is not None]


def part_files(storage: Storage, stage: str) -> list[FileRecord]:
    """Every file listed in a commit record of the stage, intact or not. Removes nothing."""
    parts = storage.each(lambda name: _parse(storage.read(_record_path(stage, name))), _names(storage, stage))
    return [file for part in parts if part is not None for file in part.files.values()]


def swept(storage: Storage, stage: str, folders: Iterable[str]) -> list[Part]:
    """All committed parts, after removing files in ``folders`` that belong to none: killed attempts left them. Call it
    as the run's only writer, before tasks start."""
    parts = committed(storage, stage)
    keep = {file.path for part in parts for file in part.files.values()}
    for folder in folders:
        storage.sweep(folder, keep)
    return parts


def files_of(parts: Iterable[Part], role: str) -> list[FileRecord]:
    """The files of one role, in the order of the parts."""
    return [part.files[role] for part in parts if role in part.files]


def _names(storage: Storage, stage: str) -> list[str]:
    """Names of the parts that have a record, in order."""
    return [
        name.removesuffix(".json")
        for name in storage.names(f"{stage}/parts")
        if name.endswith(".json") and not name.startswith(".")
    ]


def _record_path(stage: str, name: str) -> str:
    return f"{stage}/parts/{name}.json"


def _parse(data: bytes) -> Part | None:
    try:
        values = json.loads(data)
        values["files"] = {role: FileRecord(**record) for role, record in values["files"].items()}
        return Part(**values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
