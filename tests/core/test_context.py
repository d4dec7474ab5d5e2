"""A stage sees what it declares and nothing else, and everything that it declares is fingerprinted."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pyspark.sql import functions as F

from pipeline import funnel
from pipeline.audit.counts import funnel_table
from pipeline.core.config import (
    CONTENT,
    Decide,
    Field,
    InputContent,
    Measure,
    MeasuredContent,
    Operate,
    StageConfig,
    settings_of,
)
from pipeline.core.context import Context, LooksAt, UndeclaredRead
from pipeline.core.manifest import Manifest
from pipeline.core.progress import Reporter
from pipeline.core.rules import Rule, col
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import open_storage
from pipeline.core.user_rules import UserRule
from schemas.fields import INT64, STRING, column, table


class Reason(StrEnum):
    ODD = "odd"


class PagesConfig(StageConfig):
    rows: Measure[int] = Field(4, description="rows to make")
    answer: Measure[int] = Field(0, description="a column that hands nothing on")
    least: Decide[int] = Field(0, description="smaller numbers are dropped")
    pace: Operate[int] = Field(1, description="enters nothing")


class Pages(Stage[PagesConfig]):
    name, unit, key, keeps, fans_out = "pages", "thing", "thing_id", ("thing", "thing_id"), True
    Config, Reason = PagesConfig, Reason
    adds = table(1, [column("thing_id", STRING, "key"), column("number", INT64, "n"), column("answer", INT64, "n")])

    def measure(self, context: Context[Any]) -> Measured:
        numbers = context.spark.range(context.config.rows)
        rows = numbers.select(
            F.md5(F.col("id").cast("string")).alias("thing_id"),
            F.col("id").alias("number"),
            F.when(F.col("id") == 0, context.config.answer).otherwise(0).cast("long").alias("answer"),
        )
        return Measured(rows, facts={"answers": context.config.answer})

    def rules(self, config: PagesConfig) -> list[Rule]:
        return [Rule(Reason.ODD, when=col("number") < config.least)]


class TextConfig(StageConfig):
    terms: MeasuredContent[str] = Field("", description="a file that moves values")
    blocked: InputContent[list[str]] = Field([], description="files that hide rows")


class Text(Stage[TextConfig]):
    """Hands on every row; what it does besides, each test says."""

    name, unit, key, keeps, reads = "text", "thing", "thing_id", ("thing", "thing_id"), ("pages",)
    carries: ClassVar = ("thing_id",)
    Config, Reason = TextConfig, Reason
    adds = table(1, [column("seen", INT64, "n")])

    def __init__(self, seen: LooksAt = LooksAt(), look: Callable[[Context[Any]], Any] = lambda context: None) -> None:  # noqa: B008
        self._seen, self._look = seen, look

    def looks_at(self, config: TextConfig) -> LooksAt:
        return self._seen

    def measure(self, context: Context[Any]) -> Measured:
        self._look(context)
        return Measured(context.kept("pages").withColumn("seen", F.lit(1).cast("long")))

    def rules(self, config: TextConfig) -> list[Rule]:
        return []


class Config(StageConfig):
    pages: Operate[PagesConfig] = PagesConfig()
    text: Operate[TextConfig] = TextConfig()
    spark: Operate[SparkConfig] = SparkConfig()
    rules: Operate[list[UserRule]] = Field([], description="the user's")


def build(folder: Path, stage: Text, **sections: object) -> tuple[Run, Manifest]:
    stages: dict[str, Stage[Any]] = {"pages": Pages(), "text": stage}
    run = Run(open_storage(str(folder)), Config.model_validate(sections), stages, Reporter(quiet=True))
    with open_for_writing(run):
        run_stage(stages["pages"], run)
        return run, run_stage(stage, run)


@pytest.mark.parametrize(
    ("look", "what"),
    [
        (lambda context: context.rows("pages"), "all rows of pages"),
        (lambda context: context.judged("pages"), "verdicts of pages"),
        (lambda context: context.kept("text"), "kept rows of text"),
        (lambda context: context.fact("pages.answers"), "the fact pages.answers"),
        (lambda context: context.files("pages.rows"), "the files pages.rows"),
        (lambda context: context.setting("pages.pace"), "the setting pages.pace"),
        (lambda context: context.setting("pages"), "the setting pages"),
    ],
)
def test_a_stage_that_looks_at_more_than_it_declares_fails_at_once(spark, tmp_path, look, what) -> None:
    with pytest.raises(UndeclaredRead, match=f"^text reads {what}, which it does not declare$"):
        build(tmp_path, Text(look=look))


def test_a_stage_sees_what_it_declares(spark, tmp_path) -> None:
    found = {}

    def look(context: Context[Any]) -> None:
        found["rows"] = context.rows("pages").count()
        found["kept"] = context.kept("pages").count()
        found["fact"] = context.fact("pages.answers")
        found["files"] = len(context.files("pages.rows"))
        found["settings"] = context.setting("pages.pace"), context.setting("pages").rows

    seen = LooksAt(("pages",), ("pages.answers",), ("pages.rows",), ("pages.pace", "pages"))
    build(tmp_path, Text(seen, look), pages={"least": 1, "answer": 5})
    assert found == {"rows": 4, "kept": 3, "fact": 5, "files": found["files"], "settings": (1, 4)}


@pytest.mark.parametrize(
    ("seen", "change", "is_again"),
    [
        (LooksAt(rows=("pages",)), {"answer": 7}, True),
        (LooksAt(facts=("pages.answers",)), {"answer": 7}, True),
        (LooksAt(files=("pages.rows",)), {"answer": 7}, True),
        (LooksAt(settings=("pages.answer",)), {"answer": 7}, True),
        (LooksAt(settings=("pages",)), {"pace": 7}, False),
    ],
)
def test_what_a_stage_looks_at_is_fingerprinted(spark, tmp_path, seen, change, is_again) -> None:
    """The kept keys of pages are equal in both builds."""
    calls = []
    text = Text(seen, lambda context: calls.append(1))
    build(tmp_path, text)
    build(tmp_path, text)
    assert len(calls) == 1
    build(tmp_path, text, pages=change)
    assert len(calls) == 1 + is_again


def test_the_check_compares_what_was_looked_at(spark, tmp_path) -> None:
    """Pages are measured again and text is not: its manifest still names what it saw."""
    text = Text(LooksAt(rows=("pages",)))
    run, _ = build(tmp_path, text)
    assert funnel_table(run).broken == ()
    run = Run(run.storage, Config.model_validate({"pages": {"answer": 7}}), run.stages, run.reporter)
    with open_for_writing(run):
        run_stage(run.stages["pages"], run)
    told = [str(finding) for finding in funnel_table(run).broken]
    assert any("rows or verdicts of pages changed after this stage read them" in text for text in told), told


def test_a_file_that_a_setting_names_counts_by_its_content(spark, tmp_path) -> None:
    terms, blocked = tmp_path / "terms.txt", tmp_path / "blocked.txt"
    terms.write_text("one")
    blocked.write_text("a")
    calls: list[int] = []
    text = Text(look=lambda context: calls.append(1))

    def built(terms: Path, blocked: Path) -> Manifest:
        return build(tmp_path / "run", text, text={"terms": str(terms), "blocked": [str(blocked)]})[1]

    first = built(terms, blocked)
    assert built(terms.rename(tmp_path / "moved.txt"), blocked).measure_key == first.measure_key
    assert len(calls) == 1
    blocked.write_text("a, b")
    second = built(tmp_path / "moved.txt", blocked)
    assert (len(calls), second.measure_key) == (2, first.measure_key)  # other input, the same measurements
    (tmp_path / "moved.txt").write_text("two")
    third = built(tmp_path / "moved.txt", blocked)
    assert (len(calls), third.measure_key == first.measure_key) == (3, False)


def test_the_files_that_settings_name_are_marked_so() -> None:
    marked = {
        f"{name}.{setting}": getattr(funnel.Config(), name)
        for name in funnel.BY_NAME
        for setting in settings_of(getattr(funnel.Config(), name), *CONTENT)
    }
    assert set(marked) == {
        "extract.inputs",
        "text.adult_terms",
        "text.blocked_domains",
        "text.blocked_urls",
        "text.balance_queries",
        "fetch.blocked_sha256",
        "fetch.blocked_md5",
        "fetch.blocked_pdq",
        "fetch.pdq_bits",
        "fetch.blocklist_key",
        "dedup.eval_hashes",
        "clip.model",
    }
