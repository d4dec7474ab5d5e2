"""Shared by all tests: one local Spark session, the way to the real data, and a reporter that says nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pipeline.core.progress import Reporter
from pipeline.core.spark import SparkConfig, spark_session

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = spark_session(SparkConfig(master="local[2]", driver_memory="2g"))
    session.conf.set("spark.sql.shuffle.partitions", "2")  # small tables need few tasks
    yield session
    session.stop()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs, pages and archives; tests that need them skip where they are not."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return folder


@pytest.fixture
def quiet() -> Reporter:
    return Reporter(quiet=True)
