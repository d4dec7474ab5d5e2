"""A run: a folder, a config, and the stages' results in it."""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib import metadata
from typing import Any, Protocol

import pyarrow as pa
import pyspark
from pyspark.sql import DataFrame, SparkSession

from pipeline.core import verdict
from pipeline.core.config_files import Dumpable, dump_yaml, unknown
from pipeline.core.context import Context
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.lock import run_lock
from pipeline.core.manifest import Manifest, read_manifest
from pipeline.core.parts import Part, committed
from pipeline.core.progress import Done, Reporter
from pipeline.core.rules import Rule
from pipeline.core.spark import SparkConfig, spark_session
from pipeline.core.stage import Stage, rows_schema
from pipeline.core.storage import PROBE, Storage, meant
from pipeline.core.tables import read_table
from pipeline.core.user_rules import UserRule, compile_user_rules

MINIMUM_FREE_BYTES = 1 << 30
OURS = {".lock", "config.yaml", "run.json"}  # files allowed in a folder that becomes a run
RECORDED_PACKAGES = ("pairmill", "pyarrow", "pillow", "imagehash", "img2dataset", "langdetect", "torch")


class RunConfig(Dumpable, Protocol):
    """The parts of a run's config other than one section per stage."""

    @property
    def spark(self) -> SparkConfig: ...
    @property
    def rules(self) -> Sequence[UserRule]: ...


class Run:
    """The whole run, for building and auditing; a stage sees only a `Context` of it.

    ``stages`` is in funnel order; ``config`` has a section per stage.
    """

    def __init__(
        self,
        storage: Storage,
        config: RunConfig,
        stages: Mapping[str, Stage[Any]],
        reporter: Reporter,
        retry_failed: bool = False,
        verify_inputs: bool = False,
    ) -> None:
        self.storage = storage
        self.config = config
        self.stages = dict(stages)
        self.reporter = reporter
        self.retry_failed = retry_failed
        self.verify_inputs = verify_inputs

    @cached_property
    def spark(self) -> SparkSession:
        """The session, started when first needed: an up-to-date run never starts one."""
        return spark_session(self.config.spark)

    def config_of(self, stage: str) -> Any:
        """The stage's section of the config."""
        return getattr(self.config, stage)

    def is_off(self, stage: str) -> bool:
        return self.stages[stage].is_off(self.config_of(stage))

    def schema(self, stage: str) -> pa.Schema:
        """The schema of the stage's rows/."""
        return self._schemas[stage]

    @cached_property
    def _schemas(self) -> dict[str, pa.Schema]:
        return {name: rows_schema(stage, self.stages) for name, stage in self.stages.items()}

    def context(self, stage: str, measure_key: str = "") -> Context[Any]:
        """The run as a stage sees it."""
        looks_at = self.stages[stage].looks_at(self.config_of(stage))
        return Context(stage, self.stages[stage].reads, looks_at, self, measure_key)

    def manifest(self, stage: str) -> Manifest:
        """The published manifest; InputError if the stage has not run."""
        manifest = read_manifest(self.storage, stage)
        if manifest is None:
            raise InputError(
                ErrorCode.INPUT_MISSING, f"{stage} has not run in {self.storage.root}; run pairmill build first"
            )
        return manifest

    def rules(self, stage: str) -> list[Rule]:
        """The stage's rules, then the user's own; none for a stage that is off."""
        if self.is_off(stage):
            return []
        return [*self.stages[stage].rules(self.config_of(stage)), *self.user_rules.get(stage, [])]

    @cached_property
    def user_rules(self) -> dict[str, list[Rule]]:
        """The user's own rules by stage, parsed; InputError for an invalid one."""
        rules = self.config.rules
        if not rules:
            return {}
        for rule in rules:
            if rule.stage not in self.stages:
                raise InputError(
                    ErrorCode.CONFIG_INVALID, f"rules: {rule.name}: {unknown('stage', rule.stage, self.stages)}"
                )
            if self.is_off(rule.stage):
                raise InputError(
                    ErrorCode.CONFIG_INVALID,
                    f"rules: {rule.name}: the stage {rule.stage} is off, so its columns are null",
                )
        return compile_user_rules(self.spark, rules, {rule.stage: self.schema(rule.stage) for rule in rules})

    def parts_probe(self, stage: str, total: int | None = None, parts: int | None = None) -> Callable[[], Done]:
        """A probe for a progress bar: rows in parts committed from now on, of ``total``. Reads each commit record once.

        If only the number of ``parts`` is known, the total is estimated from the rows of the finished ones.
        """
        seen = {part.name for part in committed(self.storage, stage)}
        new: list[Part] = []

        def probe() -> Done:
            new.extend(committed(self.storage, stage, skip=seen))
            seen.update(part.name for part in new)
            rows = sum(part.stats["rows"] for part in new)
            good = [part.stats["good"] for part in new if "good" in part.stats]
            judged = round(rows * parts / len(new)) if parts and new else None
            return Done(rows, sum(good) if len(good) == len(new) else None, total or judged)

        return probe

    def rows(self, stage: str) -> DataFrame:
        """Every measured row of a stage, kept or not."""
        return read_table(self.spark, self.storage, self.manifest(stage).files["rows"], self.schema(stage))

    def judged(self, stage: str) -> DataFrame:
        """The rows with their verdict (columns of `pipeline.core.verdict`)."""
        return verdict.with_verdict(self.rows(stage), self.rules(stage), self.schema(stage))

    def kept(self, stage: str) -> DataFrame:
        """The rows that no rule drops."""
        return verdict.kept(self.rows(stage), self.rules(stage), self.schema(stage))


@contextlib.contextmanager
def open_for_writing(run: Run, check: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Check that the run's folder is writable, take its lock, then save config.yaml and run.json in it.

    ``check`` raises for any other invalid input: a rejected command leaves the run unchanged.
    """
    storage = run.storage
    try:
        require_ours(storage)
        storage.require_writable()
    except OSError as error:
        raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"run {storage.root}: {error.strerror or error}") from None
    storage.require_room(MINIMUM_FREE_BYTES)
    with run_lock(storage, run.reporter.line):
        check()
        run.storage.replace("config.yaml", dump_yaml(run.config).encode())
        run.storage.replace("run.json", json.dumps(_versions(), indent=1, sort_keys=True).encode())
        yield


def require_ours(storage: Storage) -> None:
    """InputError `output_exists` if the folder has files of something else: they are never overwritten."""
    if storage.exists("run.json"):
        return
    strangers = [name for name in storage.entries() if meant(name) not in OURS and not name.startswith(PROBE)]
    if strangers:
        raise InputError(
            ErrorCode.OUTPUT_EXISTS,
            f"{storage.root} is not empty and not a run (it contains {strangers[0]}); choose an empty folder",
        )


def _versions() -> dict[str, Any]:
    found = {"pyspark": pyspark.__version__}  # a cluster's own Spark has no metadata
    for package in RECORDED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return {"python": platform.python_version(), "packages": found}
