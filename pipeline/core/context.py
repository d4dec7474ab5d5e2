"""What a stage sees: its own section and storage, and from the rest of the run only what it declares.

If a stage read something that is not in its fingerprint, it would say "up to date" after that changed. So a stage gets
a `Context`, which raises `UndeclaredRead` for everything that is neither in ``Stage.reads`` nor in `LooksAt`.
`run_stage` fingerprints everything that these name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import pyarrow as pa

from pipeline.core.lanes import STALLED_S, LaneWatch
from pipeline.core.manifest import Manifest
from pipeline.core.progress import Reporter
from pipeline.core.rules import Rule
from pipeline.core.spark import plan_for
from pipeline.core.storage import FileRecord, Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession

    from pipeline.core.progress import Done

C = TypeVar("C")


class UndeclaredRead(TypeError):
    """A stage read something that it does not declare: a bug in the stage."""


@dataclass(frozen=True)
class LooksAt:
    """What a stage sees of the rest of the run, besides the kept rows of the stages it reads.

    ``rows``: stages of which it sees every measured row with its verdict. ``facts``: ``stage.name``, facts of
    manifests. ``files``: ``stage.role``, further files of manifests. ``settings``: ``section.name``, or a whole
    ``section``; all but Operate settings are part of the measure key.
    """

    rows: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[str, ...]:
        """Every stage named, once, in order."""
        named = (*self.rows, *(name.partition(".")[0] for name in (*self.facts, *self.files)))
        return tuple(dict.fromkeys(named))


class Whole(Protocol):
    """The parts of the run that a context needs."""

    storage: Storage
    reporter: Reporter
    retry_failed: bool
    verify_inputs: bool

    @property
    def spark(self) -> SparkSession: ...
    def schema(self, stage: str) -> pa.Schema: ...
    def manifest(self, stage: str) -> Manifest: ...
    def rules(self, stage: str) -> list[Rule]: ...
    def rows(self, stage: str) -> DataFrame: ...
    def judged(self, stage: str) -> DataFrame: ...
    def kept(self, stage: str) -> DataFrame: ...
    def config_of(self, stage: str) -> Any: ...
    def parts_probe(self, stage: str, total: int | None = None, parts: int | None = None) -> Callable[[], Done]: ...


class Context(Generic[C]):
    """The run as one stage sees it. ``measure_key`` is empty while settings are checked."""

    def __init__(self, stage: str, reads: tuple[str, ...], looks_at: LooksAt, whole: Whole, measure_key: str) -> None:
        self._stage, self._reads, self._looks_at, self._whole = stage, reads, looks_at, whole
        self.config: C = whole.config_of(stage)
        self.measure_key = measure_key
        self.storage = whole.storage
        self.reporter = whole.reporter
        self.retry_failed = whole.retry_failed
        self.verify_inputs = whole.verify_inputs

    @property
    def spark(self) -> SparkSession:
        """The session, started when first needed."""
        return self._whole.spark

    def plan_for(self, rows: int) -> None:
        """Say how many rows the tables have from now on, if they are not those that the stage reads."""
        plan_for(self.spark, rows)

    @property
    def schema(self) -> pa.Schema:
        """The schema of the stage's own rows/."""
        return self._whole.schema(self._stage)

    @property
    def rules(self) -> list[Rule]:
        """The stage's own rules and the user's on it."""
        return self._whole.rules(self._stage)

    def bar(self, total: int | None = None, parts: int | None = None) -> AbstractContextManager[None]:
        """A progress bar over the rows of the stage's parts that are committed from now on."""
        return self.reporter.bar(self._stage, self._whole.parts_probe(self._stage, total, parts))

    @contextmanager
    def lanes_at_work(self, pause_s: float, total: int | None = None) -> Iterator[None]:
        """Around the Spark job of lanes: a progress bar with their news; StageError after ten minutes without
        progress, and ``pause_s`` more: the longest time that may be planned between two answers."""
        watch = LaneWatch(self.storage, self._stage, self.spark.sparkContext.cancelAllJobs, STALLED_S + pause_s)
        probe = self._whole.parts_probe(self._stage, total)
        with watch.watching() as news, self.reporter.bar(self._stage, lambda: replace(probe(), news=news())):
            yield

    def kept(self, stage: str) -> DataFrame:
        """The rows that a stage hands on."""
        self._require(stage in self._reads or stage in self._looks_at.rows, f"kept rows of {stage}")
        return self._whole.kept(stage)

    def rows(self, stage: str) -> DataFrame:
        """Every measured row of a stage, kept or not."""
        self._require(stage in self._looks_at.rows, f"all rows of {stage}")
        return self._whole.rows(stage)

    def judged(self, stage: str) -> DataFrame:
        """Every measured row of a stage with its verdict."""
        self._require(stage in self._looks_at.rows, f"verdicts of {stage}")
        return self._whole.judged(stage)

    def fact(self, name: str) -> Any:
        """``stage.name``: a fact in the manifest of that stage; None if it has no such fact."""
        self._require(name in self._looks_at.facts, f"the fact {name}")
        stage, _, fact = name.partition(".")
        return self._whole.manifest(stage).facts.get(fact)

    def files(self, name: str) -> list[FileRecord]:
        """``stage.role``: files that the manifest of that stage lists."""
        self._require(name in self._looks_at.files, f"the files {name}")
        stage, _, role = name.partition(".")
        return self._whole.manifest(stage).files.get(role, [])

    def setting(self, name: str) -> Any:
        """``section.name``: a setting of another section; ``section``: all of it."""
        self._require(name in self._looks_at.settings, f"the setting {name}")
        section, _, field = name.partition(".")
        found = self._whole.config_of(section)
        return getattr(found, field) if field else found

    def _require(self, is_declared: bool, what: str) -> None:
        if not is_declared:
            raise UndeclaredRead(f"{self._stage} reads {what}, which it does not declare")
