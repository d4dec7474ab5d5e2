"""What a stage is: it measures rows and lists rules. It never judges, counts or writes a ledger itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args, get_origin

import pyarrow as pa

from pipeline.core.config import CONTENT, StageConfig, settings_of
from pipeline.core.contents import digest_of
from pipeline.core.context import Context, LooksAt
from pipeline.core.rules import CoreReason, Rule
from pipeline.core.storage import FileRecord
from pipeline.core.tables import Through

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from pipeline.core.manifest import Manifest

C = TypeVar("C", bound=StageConfig)


@dataclass(frozen=True)
class Measured:
    """The rows a stage measured, to be written by `run_stage`.

    ``rows_in`` is the number of rows that entered, if that is not the kept rows of the first input (another unit).
    ``measured`` counts the rows measured just now; if None, `run_stage` counts those whose key is not in the stage's
    previous result. ``files`` are further files of the stage, by role, listed in the manifest;
    ``scratch`` are folders that ``rows`` reads from, emptied after the rows are written. ``through`` makes the stage's
    rows from those of ``rows`` in the tasks that write them (`write_table`).
    """

    rows: DataFrame
    rows_in: int | None = None
    measured: int | None = None
    files: Mapping[str, list[FileRecord]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    scratch: tuple[str, ...] = ()
    through: Through | None = None


class Stage(ABC, Generic[C]):
    """One stage of the funnel. Subclasses have no state: everything is in the class attributes.

    ``unit`` and ``key``: what it measures, and the column that identifies a row. ``keeps``: the same for what it
    hands on. ``reads``: the stages whose kept rows it reads; it judges the rows of the first. ``carries``: the columns
    it hands on unchanged. ``adds``: the columns it measures. rows/ has carries + adds. `looks_at` says what else it
    sees. ``measure_version`` is raised by hand when measured values change for the same settings. A stage that
    ``fans_out`` makes its own rows (pages from seeds, candidates from pages): all that it found counts as entered, lost
    ones included. ``retryable``: the reasons that `--retry-failed` tries again.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    key: ClassVar[str]
    keeps: ClassVar[tuple[str, str]]
    reads: ClassVar[tuple[str, ...]] = ()
    carries: ClassVar[tuple[str, ...]] = ()
    fans_out: ClassVar[bool] = False
    retryable: ClassVar[tuple[str, ...]] = ()
    packs: ClassVar[tuple[str, ...]] = ()
    measure_version: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]]  # the one in the brackets: class Clip(Stage[Config])
    Reason: ClassVar[type[StrEnum]]
    adds: ClassVar[pa.Schema]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for base in vars(cls).get("__orig_bases__", ()):
            if get_origin(base) is Stage and "Config" not in vars(cls):
                (cls.Config,) = get_args(base)

    @abstractmethod
    def measure(self, context: Context[C]) -> Measured:
        """Measure the kept rows of the stages it reads. One row in, one row out, unless it fans out.

        ``context.measure_key`` names the settings: stored rows under the same key may be reused.
        """

    @abstractmethod
    def rules(self, config: C) -> list[Rule]:
        """The rules in order; the first that matches gives the reason."""

    def is_off(self, config: C) -> bool:
        """Whether the config turns the stage off: then its columns are null and no rule applies."""
        return False

    def looks_at(self, config: C) -> LooksAt:
        """What it sees of the run besides the rows it reads. All of it is fingerprinted; anything else raises."""
        return LooksAt()

    def contents(self, config: C) -> Mapping[str, str]:
        """Digests of the files that Content settings name, by setting; settings without a file are left out."""
        named = {name: files for name, files in settings_of(config, *CONTENT).items() if files}
        lists = {name: [files] if isinstance(files, str) else files for name, files in named.items()}
        return {name: digest_of(files) for name, files in lists.items() if isinstance(files, list)}

    def check(self, context: Context[C]) -> None:
        """Raise InputError for invalid input. Called for all stages before anything runs."""

    def keep_notes(self, context: Context[C]) -> None:
        """Store what `check` found out, for the next build. Called when all checks have passed and its turn has come,
        also if it is up to date."""

    def pack(self, context: Context[C], manifest: Manifest) -> Mapping[str, list[FileRecord]]:
        """Only for export: write the corpus from the rows that ``manifest`` (about to be published) keeps.

        Returns its files by role; ``packs`` lists the roles.
        """
        return {}

    @property
    def reasons(self) -> list[str]:
        """The stage's closed set of reasons, with those of the core; the user's own rules are not in it."""
        return [reason.value for reason in (*self.Reason, *CoreReason)]


def rows_schema(stage: Stage[Any], stages: Mapping[str, Stage[Any]]) -> pa.Schema:
    """The schema of a stage's rows/: the carried columns as their own stage declares them, then the added ones."""
    sources = [rows_schema(stages[name], stages) for name in stage.reads] if stage.carries else []
    carried = [_declared(column, sources, stage) for column in stage.carries]
    return pa.schema([*carried, *stage.adds], metadata=stage.adds.metadata)


def _declared(column: str, sources: list[pa.Schema], stage: Stage[Any]) -> pa.Field:
    for schema in sources:
        if column in schema.names:
            return schema.field(column)
    raise TypeError(f"{stage.name} carries {column}, but none of {stage.reads} hands it on")
