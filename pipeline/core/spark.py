"""The Spark session: local inside this process, or whatever `spark-submit` gives.

Only what Spark 3.5 has is used. A session that is already active (a notebook, spark-submit) is taken as it is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from pyspark.sql import SparkSession

from pipeline.core.config import Field as Setting
from pipeline.core.config import Operate, StageConfig
from pipeline.core.errors import InputError
from pipeline.core.settings import conf_folder

MINIMUM_JAVA = 17


class SparkConfig(StageConfig):
    """How Spark runs. Nothing here enters a key: the corpus is the same for any of it."""

    master: Operate[str] = Setting("", description="Spark master; empty: what spark-submit gave, else local[*]")
    partitions: Operate[int] = Setting(0, ge=0, description="default and shuffle partitions; 0: twice the cores")
    driver_memory: Operate[str] = Setting("2g", pattern=r"^\d+[mg]$", description="memory of the JVM (local runs)")


def spark_session(config: SparkConfig) -> SparkSession:
    """Start or take over the session. InputError `environment_invalid` where there is no usable Java."""
    submitted = (
        "SPARK_ENV_LOADED" in os.environ
        or "_PYSPARK_DRIVER_CONN_INFO_PATH" in os.environ
        or "PYSPARK_GATEWAY_PORT" in os.environ
    )
    if not submitted and SparkSession.getActiveSession() is None:
        require_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers run the interpreter of this environment
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # inherited by the workers; see pipeline.vision.resize
    builder = SparkSession.builder.appName("pairmill")
    if config.master:
        builder = builder.master(config.master)
    elif not submitted:
        builder = builder.master("local[*]")
    for key, value in _settings(config, local=not submitted).items():
        builder = builder.config(key, value)
    with _quiet_start():
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
    logging.getLogger("DataFrameQueryContextLogger").setLevel(logging.CRITICAL)  # it logs what it raises as well
    return session


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Keep back what the JVM prints while it starts (notes on modules and log levels); show it if it does not start."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _settings(config: SparkConfig, local: bool) -> dict[str, str]:
    settings = {
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "false",  # as Spark 3.5: an impossible cast in a user's rule is null, no failed job
        "spark.sql.parquet.enableVectorizedReader": "true",
        "spark.speculation": "false",  # lanes talk to hosts: a second copy would double a host's load
        "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
    }
    if config.partitions:
        settings |= {
            "spark.sql.shuffle.partitions": str(config.partitions),
            "spark.default.parallelism": str(config.partitions),
            "spark.sql.adaptive.coalescePartitions.enabled": "false",
        }
    if local:
        settings |= {
            "spark.ui.enabled": "false",
            "spark.driver.memory": config.driver_memory,
            "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{conf_folder() / 'log4j2.properties'}",
        }
        if config.master in ("",) or config.master.startswith("local"):
            settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
            settings.setdefault("spark.sql.shuffle.partitions", str(2 * (os.cpu_count() or 1)))
    return settings


def require_java() -> None:
    """InputError unless a Java that Spark starts on is at hand."""
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else shutil.which("java")
    if not java or not os.path.exists(java):
        raise InputError(
            "environment_invalid", f"no Java found; install Java {MINIMUM_JAVA} or set JAVA_HOME (make setup does)"
        )
    text = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=False).stderr
    major = next((word.strip('"').split(".")[0] for word in text.split() if word.startswith('"')), "0")
    if not major.isdigit() or int(major) < MINIMUM_JAVA:
        raise InputError(
            "environment_invalid", f"{java} is Java {major}; Spark needs {MINIMUM_JAVA} or newer: set JAVA_HOME"
        )
