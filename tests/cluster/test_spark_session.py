"""What the session factory takes from spark-submit, what it insists on, and how it knows the workers' code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from pyspark.sql import SparkSession

from pipeline.core import spark as factory
from pipeline.core.errors import InputError
from pipeline.core.spark import OURS, SparkConfig, code_digest, is_submitted, require_same_code


@pytest.mark.parametrize("name", ["PYSPARK_GATEWAY_PORT", "SPARK_ENV_LOADED"])
def test_a_process_that_spark_submit_started_is_known_as_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PYSPARK_GATEWAY_PORT", "SPARK_ENV_LOADED", "_PYSPARK_DRIVER_CONN_INFO_PATH"):
        monkeypatch.delenv(variable, raising=False)
    assert not is_submitted()
    monkeypatch.setenv(name, "1")
    assert is_submitted()


def test_of_a_submitted_session_memory_name_and_master_are_left_alone() -> None:
    assert factory.settings_of(SparkConfig(driver_memory="9g"), submitted=True) == OURS
    ours = factory.settings_of(SparkConfig(driver_memory="9g", partitions=7), submitted=False)
    assert ours["spark.driver.memory"] == "9g"
    assert ours["spark.default.parallelism"] == ours["spark.sql.shuffle.partitions"] == "7"


def test_what_lanes_and_corpus_depend_on_holds_in_every_session(spark: SparkSession) -> None:
    assert {key: spark.sparkContext.getConf().get(key) for key in OURS} == OURS


def test_workers_get_the_environment_that_tasks_need(spark: SparkSession) -> None:
    wanted = ("NO_ALBUMENTATIONS_UPDATE", "OMP_NUM_THREADS")  # Spark itself sets the second: one thread a task

    def environment(_: object) -> list[str | None]:
        return [os.environ.get(name) for name in wanted]

    assert spark.sparkContext.parallelize([0], 1).map(environment).first() == ["1", "1"]


def test_workers_with_the_drivers_code_pass(spark: SparkSession) -> None:
    require_same_code(spark)


def test_workers_with_other_code_are_found_before_any_work(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factory, "code_digest", lambda: "0" * 64)  # of the driver: the workers compute their own
    with pytest.raises(
        InputError, match=r"environment_invalid: the code of the workers .* differs from the driver's .*make dist"
    ):
        require_same_code(spark)


def test_the_digest_of_code_is_that_of_a_wheel_and_moves_with_a_source(tmp_path: Path) -> None:
    """A wheel has conf/ inside the package; a checkout beside it."""

    def digest_in(folder: Path) -> str:
        command = [sys.executable, "-c", "from pipeline.core.spark import code_digest; print(code_digest())"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    for package in ("pipeline", "schemas"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", tmp_path / "pipeline" / "conf")
    assert digest_in(tmp_path) == digest_in(ROOT) == code_digest()
    (tmp_path / "pipeline" / "core" / "ids.py").open("a").write("# changed\n")
    assert digest_in(tmp_path) != code_digest()
