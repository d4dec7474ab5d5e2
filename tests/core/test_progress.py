"""Bars are for people at a terminal, one at a time, and leave nothing behind."""

from __future__ import annotations

import io
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from rich.console import Console

from pipeline.core.progress import POLL_S, Done, Reporter
from pipeline.core.spark_progress import spark_probe


def at_a(terminal: bool) -> Reporter:
    reporter = Reporter()
    reporter.console = Console(file=io.StringIO(), force_terminal=terminal, color_system=None, width=160)
    return reporter


def shown(reporter: Reporter) -> str:
    return reporter.console.file.getvalue()  # type: ignore[attr-defined]


def test_a_bar_is_shown_on_a_terminal_only() -> None:
    for terminal in (True, False):
        reporter = at_a(terminal)
        with reporter.bar("fetch", lambda: Done(3, 2, 12)):
            time.sleep(3 * POLL_S)
        assert ("3/12" in shown(reporter), "67% ok" in shown(reporter)) == (terminal, terminal)
        assert bool(shown(reporter)) == terminal


def test_an_inner_bar_stands_in_place_of_the_outer_one_while_it_lasts() -> None:
    reporter = at_a(True)
    with reporter.bar("outer", lambda: Done(1, None, 2, "tasks")):
        time.sleep(2 * POLL_S)
        before = len(shown(reporter))
        with reporter.bar("inner", lambda: Done(5, 5, 9)):
            time.sleep(2 * POLL_S)
            within = shown(reporter)[before:]
        time.sleep(2 * POLL_S)
        after = shown(reporter)[before + len(within) :].partition("outer")[2]
    assert "1/2 tasks" in shown(reporter)[:before]
    assert "5/9" in within
    assert "1/2" not in within.partition("inner")[2]
    assert "1/2" in after
    assert "5/9" not in after


def test_a_probe_that_fails_does_not_stop_the_work() -> None:
    asked: list[float] = []
    with at_a(True).bar("text", lambda: asked.append(1) or 1 / 0):  # type: ignore[arg-type,func-returns-value,return-value]
        time.sleep(3 * POLL_S)
    assert len(asked) > 1  # it failed, and was asked again


def test_spark_says_how_many_tasks_of_the_present_step_are_done(spark: SparkSession) -> None:
    probe = spark_probe(spark)
    assert (probe().rows, probe().total) == (0, None)
    seen: list[Done] = []

    def look(row):
        time.sleep(0.15)
        return row

    work = spark.range(12, numPartitions=12).select(F.udf(look, "long")("id"))
    reporter = at_a(True)
    with reporter.bar("text", lambda: seen.append(probe()) or seen[-1]):  # type: ignore[func-returns-value]
        work.collect()
    assert max(done.rows for done in seen) > 0
    assert {done.total for done in seen} - {None} == {12}
    assert "tasks of this step" in shown(reporter)
