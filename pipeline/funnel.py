"""The funnel: the stages in order, the config of all, and `build`, which brings them up to date one after another."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from pipeline.core.config import Operate, StageConfig
from pipeline.core.config_files import load_config, unknown
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.manifest import Manifest
from pipeline.core.progress import Reporter
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.stage import Stage
from pipeline.core.storage import Storage, open_storage
from pipeline.core.user_rules import UserRule
from pipeline.stages.attach.stage import Attach
from pipeline.stages.attach.stage import Config as AttachConfig
from pipeline.stages.clip.config import Config as ClipConfig
from pipeline.stages.clip.stage import Clip
from pipeline.stages.crawl.config import Config as CrawlConfig
from pipeline.stages.crawl.stage import Crawl
from pipeline.stages.dedup.stage import Config as DedupConfig
from pipeline.stages.dedup.stage import Dedup
from pipeline.stages.export.stage import Config as ExportConfig
from pipeline.stages.export.stage import Export
from pipeline.stages.extract.config import Config as ExtractConfig
from pipeline.stages.extract.stage import Extract, input_formats
from pipeline.stages.fetch.config import Config as FetchConfig
from pipeline.stages.fetch.stage import Fetch
from pipeline.stages.select.stage import Config as SelectConfig
from pipeline.stages.select.stage import Select, is_capped
from pipeline.stages.text.config import Config as TextConfig
from pipeline.stages.text.stage import Text
from pipeline.web.config import WebConfig

STAGES: tuple[Stage[Any], ...] = (
    Crawl(),
    Extract(),
    Text(),
    Fetch(),
    Dedup(),
    Attach(),
    Clip(),
    Select(),
    Export(),
)
BY_NAME = {stage.name: stage for stage in STAGES}


class Config(StageConfig):
    """The whole config: one section per stage, web access, Spark, and the user's own rules."""

    crawl: Operate[CrawlConfig] = Field(default_factory=CrawlConfig)
    extract: Operate[ExtractConfig] = Field(default_factory=ExtractConfig)
    text: Operate[TextConfig] = Field(default_factory=TextConfig)
    fetch: Operate[FetchConfig] = Field(default_factory=FetchConfig)
    dedup: Operate[DedupConfig] = Field(default_factory=DedupConfig)
    attach: Operate[AttachConfig] = Field(default_factory=AttachConfig)
    clip: Operate[ClipConfig] = Field(default_factory=ClipConfig)
    select: Operate[SelectConfig] = Field(default_factory=SelectConfig)
    export: Operate[ExportConfig] = Field(default_factory=ExportConfig)
    web: Operate[WebConfig] = Field(default_factory=WebConfig)
    spark: Operate[SparkConfig] = Field(default_factory=SparkConfig)
    rules: Operate[list[UserRule]] = Field([], description="the user's own rules, Spark SQL over a stage's columns")

    @model_validator(mode="after")
    def _one_source(self) -> Config:
        if self.crawl.seeds and self.extract.inputs:
            raise ValueError("crawl.seeds and extract.inputs are both set; a run has one source: choose one")
        return self


def open_run(
    location: str, config: Config, reporter: Reporter, retry_failed: bool = False, verify_inputs: bool = False
) -> Run:
    """A run at a location, with all stages of the funnel."""
    return Run(open_storage(location), config, BY_NAME, reporter, retry_failed, verify_inputs)


def build(run: Run, until: str | None = None) -> list[Manifest]:
    """Bring the stages up to date, in order, up to ``until``. Invalid input is rejected before work starts."""
    if until is not None and until not in BY_NAME:
        raise InputError(ErrorCode.CONFIG_INVALID, unknown("stage", until, BY_NAME))
    if not run.config_of("crawl").seeds and not run.config_of("extract").inputs:
        raise InputError(
            ErrorCode.INPUT_MISSING, "no source: set crawl.seeds (URLs to start from) or extract.inputs (files)"
        )
    names = [stage.name for stage in STAGES]
    wanted = STAGES[: names.index(until) + 1] if until else STAGES

    def check() -> None:
        config = run.config
        assert isinstance(config, Config)  # open_run and open_existing give no other
        if BY_NAME["fetch"] in wanted:
            require_fitting_engine(config)
            require_comparable_hashes(config)
        if BY_NAME["select"] in wanted:
            require_queries(config)
        for stage in wanted:
            if not run.is_off(stage.name):
                stage.check(run.context(stage.name))
        _ = run.user_rules  # parsed, or rejected, before anything runs

    with open_for_writing(run, check):
        return [run_stage(stage, run) for stage in wanted]


def require_fitting_engine(config: Config) -> None:
    """InputError `config_invalid` unless `fetch.engine` fits the kind of input."""
    formats = input_formats(config.extract)
    if config.fetch.reads_shards and formats != {"webdataset"}:
        found = ", ".join(sorted(formats - {"webdataset"})) or "no inputs"
        raise InputError(
            ErrorCode.CONFIG_INVALID,
            f"fetch.engine is shards, which reads tars of images, but extract has {found}; "
            "give only tars, or choose another engine",
        )
    if "webdataset" in formats and not config.fetch.reads_shards:
        raise InputError(
            ErrorCode.CONFIG_INVALID,
            f"fetch.engine is {config.fetch.engine}, but extract.inputs has tars of images, which are read in place; "
            "set fetch.engine=shards",
        )


def require_comparable_hashes(config: Config) -> None:
    """InputError `config_invalid` if stored images are cropped or padded and a list has hashes of whole images."""
    if config.dedup.eval_hashes and config.fetch.resize_mode in ("center_crop", "border"):
        raise InputError(
            ErrorCode.CONFIG_INVALID,
            f"fetch.resize_mode is {config.fetch.resize_mode}, but dedup.eval_hashes lists hashes of whole images, "
            "which cannot match cropped or padded ones; set fetch.resize_mode to keep_ratio_largest or keep_ratio",
        )


def require_queries(config: Config) -> None:
    """InputError `config_invalid` for a cap over queries without a list of queries."""
    if is_capped(config.select) and not config.text.balance_queries:
        raise InputError(ErrorCode.CONFIG_INVALID, "select.balance_t needs a list of queries; set text.balance_queries")


def open_existing(location: str, reporter: Reporter) -> Run:
    """An existing run with the config of its last build; InputError if it is not a run."""
    storage = open_storage(location)
    if not storage.exists("config.yaml"):
        raise InputError(
            ErrorCode.INPUT_MISSING, f"{location} is not a run: config.yaml is missing; run pairmill build first"
        )
    config = load_config(Config, saved=_saved_config(storage))
    return Run(storage, config, BY_NAME, reporter)


def _saved_config(storage: Storage) -> str:
    try:
        return storage.read("config.yaml").decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"{storage.where('config.yaml')}: {error}") from None
