"""run_stage on toy stages: counting, reuse, the ledger, and what it refuses to publish."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from pipeline.core.config import Decide, Field, Measure, Operate, StageConfig
from pipeline.core.config_files import dump_yaml, load_config
from pipeline.core.context import Context
from pipeline.core.errors import InputError, StageError
from pipeline.core.progress import Reporter
from pipeline.core.rules import CoreReason, Rule, col
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import open_storage
from pipeline.core.user_rules import UserRule
from schemas.fields import FLOAT64, INT64, STRING, column, table


class SourceReason(StrEnum):
    ODD = "odd"


class SourceConfig(StageConfig):
    rows: Measure[int] = Field(20, description="rows to make")
    drop_odd: Decide[bool] = Field(False, description="drop odd numbers")
    errors: Decide[int] = Field(0, description="rows on which measuring raised")
    wait_s: Operate[float] = Field(0.0, description="not looked at")


class Source(Stage[SourceConfig]):
    name, unit, key, keeps, fans_out = "source", "thing", "thing_id", ("thing", "thing_id"), True
    Config, Reason = SourceConfig, SourceReason
    adds = table(1, [column("thing_id", STRING, "key"), column("count", INT64, "weight"), column("number", INT64, "n")])
    calls: ClassVar[list[int]] = []

    def measure(self, context: Context[Any]) -> Measured:
        self.calls.append(context.config.rows)
        numbers = context.spark.range(context.config.rows).select(
            F.md5(F.col("id").cast("string")).alias("thing_id"),
            F.lit(2).cast("long").alias("count"),
            F.col("id").alias("number"),
        )
        return Measured(numbers)

    def rules(self, config: SourceConfig) -> list[Rule]:
        errors = [Rule(CoreReason.RULE_ERROR, when=col("number") < config.errors)]
        flags = [Rule(SourceReason.ODD, when=col("number").isin([1, 3, 5, 7, 9]), value=col("number"))]
        return errors + (flags if config.drop_odd else [])


class ScoreReason(StrEnum):
    LOW = "low"


class ScoreConfig(StageConfig):
    min_score: Decide[float] = Field(0.25, description="lowest score kept")
    off: Measure[bool] = Field(False, description="turn the stage off")
    lose: Measure[int] = Field(0, description="rows to lose by mistake")


class Score(Stage[ScoreConfig]):
    name, unit, key, keeps, reads = "score", "thing", "thing_id", ("thing", "thing_id"), ("source",)
    carries: ClassVar = ("thing_id", "count", "number")
    Config, Reason = ScoreConfig, ScoreReason
    adds = table(1, [column("score", FLOAT64, "n/20")])

    def measure(self, context: Context[Any]) -> Measured:
        entered = context.kept("source").where(F.col("number") >= context.config.lose)
        return Measured(entered.withColumn("score", F.col("number") / 20))

    def rules(self, config: ScoreConfig) -> list[Rule]:
        return [
            Rule(ScoreReason.LOW, when=col("score") < config.min_score, value=col("score"), threshold=config.min_score)
        ]

    def is_off(self, config: ScoreConfig) -> bool:
        return config.off


class Config(StageConfig):
    source: Operate[SourceConfig] = SourceConfig()
    score: Operate[ScoreConfig] = ScoreConfig()
    spark: Operate[SparkConfig] = SparkConfig()
    rules: Operate[list[UserRule]] = Field([], description="the user's")


def build(folder: Path, quiet: Reporter, **sections: object) -> tuple[Run, dict]:
    stages = {"source": Source(), "score": Score()}
    run = Run(open_storage(str(folder)), Config.model_validate(sections), stages, quiet)
    with open_for_writing(run, lambda: run.user_rules):
        return run, {name: run_stage(stage, run) for name, stage in stages.items()}


def ledger_of(run: Run, stage: str) -> list[dict]:
    files = [str(run.storage.path(record.path)) for record in run.manifest(stage).files["ledger"]]
    return sorted(
        pa.concat_tables(pq.read_table(file) for file in files).to_pylist(), key=lambda row: float(row["value"])
    )


@pytest.fixture(autouse=True)
def _fresh(spark) -> None:
    Source.calls.clear()


def test_every_row_is_kept_or_in_the_ledger_with_value_and_threshold(tmp_path, quiet) -> None:
    run, found = build(tmp_path, quiet)
    score = found["score"]
    assert (score.rows_in, score.kept, score.dropped) == (40, 30, {"low": 10})
    assert score.rows_in == score.kept + sum(score.dropped.values())
    ledger = ledger_of(run, "score")
    assert [row["value"] for row in ledger] == ["0.0", "0.05", "0.1", "0.15", "0.2"]
    assert {(row["reason"], row["threshold"], row["count"]) for row in ledger} == {("low", "0.25", 2)}


def test_what_a_stage_hands_on_is_what_its_reader_names(tmp_path, quiet) -> None:
    _, found = build(tmp_path, quiet, source={"drop_odd": True})
    assert found["score"].inputs == [found["source"].keeps]
    assert found["source"].keeps.rows == 30


def test_a_changed_decide_setting_measures_nothing_again_r14(tmp_path, quiet) -> None:
    """R14: rules are applied again to the stored rows."""
    _, first = build(tmp_path, quiet)
    _, second = build(tmp_path, quiet, score={"min_score": 0.5})
    assert Source.calls == [20]
    assert first["score"].measure_key == second["score"].measure_key
    assert first["score"].files["rows"] == second["score"].files["rows"]
    assert [second[name].measured for name in second] == [0, 0]
    assert second["score"].dropped == {"low": 20}


def test_an_operate_setting_changes_no_key(tmp_path, quiet) -> None:
    _, first = build(tmp_path, quiet)
    _, second = build(tmp_path, quiet, source={"wait_s": 3.0})
    assert second == {name: manifest.model_copy(update={"measured": 0}) for name, manifest in first.items()}


def test_a_tighter_stage_before_measures_no_row_again(tmp_path, quiet) -> None:
    _, first = build(tmp_path, quiet)
    _, second = build(tmp_path, quiet, source={"drop_odd": True})
    assert second["score"].measured == 0
    assert second["score"].rows_in == first["score"].rows_in - 10
    _, third = build(tmp_path, quiet)
    assert third["score"].measured == 5  # rows: they had been forgotten by the tighter result


def test_a_measure_setting_measures_again(tmp_path, quiet) -> None:
    build(tmp_path, quiet)
    _, found = build(tmp_path, quiet, source={"rows": 10})
    assert Source.calls == [20, 10]
    assert found["source"].measured == 10


def test_lost_rows_are_never_published_r16(tmp_path, quiet) -> None:
    """R16: kept + dropped ≠ rows in: exit 1, the last result stands."""
    build(tmp_path, quiet)
    with pytest.raises(StageError, match=r"ledger_mismatch: score: 40 things in, 30 kept, 4 dropped"):
        build(tmp_path, quiet, score={"lose": 3})
    run, _ = build(tmp_path, quiet)
    assert run.manifest("score").kept == 30
    assert ds.dataset(tmp_path / "score/rows").count_rows() == 20  # nothing is left of the refused result


def test_a_stage_that_is_off_keeps_all_and_has_null_columns(tmp_path, quiet) -> None:
    run, found = build(tmp_path, quiet, score={"off": True})
    assert found["score"].off
    assert (found["score"].rows_in, found["score"].kept) == (40, 40)
    assert {row["score"] for row in run.kept("score").collect()} == {None}
    with pytest.raises(InputError, match="is off"):
        build(
            tmp_path, quiet, score={"off": True}, rules=[{"stage": "score", "name": "mine", "drop_when": "score < 1"}]
        )


def test_a_users_rule_has_reason_and_ledger_like_ours(tmp_path, quiet) -> None:
    rule = {"stage": "score", "name": "big", "drop_when": "NUMBER > 17 and score > 0.1"}
    run, found = build(tmp_path, quiet, rules=[rule])
    assert found["score"].dropped == {"low": 10, "user:big": 4}
    assert {
        row["reason"]
        for row in run.spark.read.parquet(
            *[str(run.storage.path(r.path)) for r in found["score"].files["ledger"]]
        ).collect()
    } == {"low", "user:big"}


def test_a_users_rule_is_parsed_before_anything_runs(tmp_path, quiet) -> None:
    with pytest.raises(InputError, match="nosuch"):
        build(tmp_path / "new", quiet, rules=[{"stage": "score", "name": "mine", "drop_when": "nosuch < 1"}])
    assert Source.calls == []


def test_a_damaged_part_of_a_result_is_made_again_r15(tmp_path, quiet) -> None:
    """R15: found by size before use."""
    run, found = build(tmp_path, quiet)
    run.storage.path(found["source"].files["rows"][0].path).write_bytes(b"cut")
    _, again = build(tmp_path, quiet)
    assert Source.calls == [20, 20]
    assert again["source"].kept == 40


@pytest.mark.parametrize("had_a_result", [False, True])
def test_rows_that_a_killed_build_had_written_are_neither_counted_nor_left_r9(tmp_path, quiet, had_a_result) -> None:
    """R9: as a kill between the rows and the manifest leaves them."""
    _, found = build(tmp_path, quiet)
    score = tmp_path / "score"
    for name in ("rows", "ledger"):
        written = next((score / name).glob("*.parquet"))
        shutil.copy(written, score / name / f"{'0' * 32}.parquet")
        (score / name / f".{'1' * 32}.parquet").write_bytes(b"half")
    if not had_a_result:
        (score / "manifest.json").unlink()
    run, manifests = build(tmp_path, quiet)
    assert Source.calls == [20]
    assert (manifests["score"].kept, manifests["score"].dropped) == (found["score"].kept, found["score"].dropped)
    files = manifests["score"].files
    listed = {run.storage.path(file.path) for name in ("rows", "ledger") for file in files[name]}
    assert {file for name in ("rows", "ledger") for file in (score / name).iterdir()} == listed


def test_nothing_is_written_into_a_folder_that_is_no_run_e10(tmp_path, quiet) -> None:
    """E10: files we did not make are left alone."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="output_exists"):
        build(tmp_path, quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_a_kill_left_of_the_first_files_of_a_run_does_not_lock_its_folder_r9(tmp_path, quiet) -> None:
    """R9: a run's first files are written aside too."""
    for name in ("config.yaml", "run.json"):
        (tmp_path / f".{name}.{'0' * 32}").write_text("half")
    assert build(tmp_path, quiet)[1]["source"].kept == 40


def test_a_saved_text_that_looks_like_a_number_is_read_back_as_text() -> None:
    class Words(StageConfig):
        words: Operate[list[str]] = Field([], description="some words")

    saved = dump_yaml(Words(words=["1e5", "yes", "5e-4"]))
    assert load_config(Words, saved=saved).words == ["1e5", "yes", "5e-4"]


def test_a_second_run_on_one_folder_is_refused_and_a_dead_ones_lock_is_taken_over_r7_r8(tmp_path) -> None:
    """R7: the lock names its holder. R8: an OS lock is free at once when its holder dies."""
    lines: list[str] = []

    class Listening(Reporter):
        def line(self, text: str, **facts: object) -> None:
            lines.append(text)

    run, _ = build(tmp_path, Reporter(quiet=True))
    with open_for_writing(run), pytest.raises(InputError, match=r"output_locked: .* is in use by process \d+ on "):
        build(tmp_path, Reporter(quiet=True))
    (tmp_path / ".lock").write_text('{"host": "gone", "process": 7, "started": "2026-01-01T00:00:00+00:00"}')
    build(tmp_path, Listening(quiet=False))
    assert any("taking over the lock of process 7 on gone" in line for line in lines)


def test_rows_that_raise_cost_themselves_until_they_are_too_many_t15(tmp_path, quiet) -> None:
    """T15: above 1% of the rows the stage ends and its last result stands; a few end no small one."""
    _, few = build(tmp_path / "small", quiet, source={"rows": 20, "errors": 4})
    assert few["source"].dropped == {"rule_error": 8}
    _, at_limit = build(tmp_path / "large", quiet, source={"rows": 1000, "errors": 10})
    assert at_limit["source"].dropped == {"rule_error": 20}
    with pytest.raises(StageError, match="too_many_errors: source: measuring raised on 22 of 2,000 things"):
        build(tmp_path / "large", quiet, source={"rows": 1000, "errors": 11})
    run, again = build(tmp_path / "large", quiet, source={"rows": 1000, "errors": 10})
    assert again["source"].dropped == {"rule_error": 20}
    assert len(ledger_files(run)) == len(again["source"].files["ledger"])


def ledger_files(run: Run) -> list[str]:
    return run.storage.names("source/ledger")
