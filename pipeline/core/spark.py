"""The Spark session: local inside this process, or whatever `spark-submit` gives.

Only what Spark 3.5 has is used. A session that is already active (a notebook, spark-submit) is taken as it is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator

from pyspark.sql import SparkSession

from pipeline.core.config import Field as Setting
from pipeline.core.config import Operate, StageConfig
from pipeline.core.errors import InputError
from pipeline.core.settings import conf_folder

MINIMUM_JAVA = 17
TASK_TRIES = 4  # as on a cluster (spark.task.maxFailures)
STARTUP_NOTES = (b"WARNING: Using incubator modules", b"Setting default log level", b"To adjust logging level")


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
    if config.master or not submitted:
        builder = builder.master(_with_retries(config.master or "local[*]"))
    for key, value in _settings(config, local=not submitted).items():
        builder = builder.config(key, value)
    with _without_startup_notes():
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
    logging.getLogger("DataFrameQueryContextLogger").setLevel(logging.CRITICAL)  # it logs what it raises as well
    return session


def _with_retries(master: str) -> str:
    """local[N] gives every task one try; local[N,F] gives it F, as a cluster does."""
    return re.sub(r"^local\[(\*|\d+)\]$", rf"local[\1,{TASK_TRIES}]", master)


@contextlib.contextmanager
def _without_startup_notes() -> Iterator[None]:
    """Start the JVM with a stderr of ours: all it ever says there is passed on, but for its notes on starting."""
    sys.stderr.flush()
    ours = os.dup(2)
    heard, said = os.pipe()
    os.dup2(said, 2)
    os.close(said)
    threading.Thread(target=_pass_on, args=(heard, ours), daemon=True).start()
    try:
        yield
    finally:
        os.dup2(ours, 2)


def _pass_on(heard: int, to: int) -> None:
    with os.fdopen(heard, "rb") as lines:
        for line in lines:
            if not line.startswith(STARTUP_NOTES):
                os.write(to, line)


def _settings(config: SparkConfig, local: bool) -> dict[str, str]:
    settings = {
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "false",  # as Spark 3.5: an impossible cast in a user's rule is null, no failed job
        "spark.sql.parquet.enableVectorizedReader": "true",
        "spark.sql.adaptive.coalescePartitions.enabled": "false",  # a small table can be hours of Python
        "spark.speculation": "false",  # lanes talk to hosts: a second copy would double a host's load
        "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
    }
    if config.partitions:
        settings |= {
            "spark.sql.shuffle.partitions": str(config.partitions),
            "spark.default.parallelism": str(config.partitions),
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
