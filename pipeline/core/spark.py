"""The Spark session: local in this process, or the one of `spark-submit`.

Only features of Spark 3.5 are used. An active session (a notebook, spark-submit) keeps its master, memory, name and
tuning; we set only what the corpus or the load on hosts depends on. On a cluster one task checks, before any work,
that the workers run the same code as the driver.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from pyspark import SparkContext
from pyspark.sql import SparkSession

from pipeline.core import open_files
from pipeline.core.config import Field as Setting
from pipeline.core.config import Operate, StageConfig
from pipeline.core.config_files import conf_folder
from pipeline.core.errors import ErrorCode, InputError

MINIMUM_JAVA = 17
MINIMUM_FILES = 400  # open at one time: Spark's own libraries are more than 300
TASK_TRIES = 4  # as on a cluster (spark.task.maxFailures)
OURS = {  # always set, before the context starts
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "false",  # as in Spark 3.5: an invalid cast in a rule gives null
    "spark.speculation": "false",  # lanes request from hosts: a second copy would double the load
    "spark.executorEnv.NO_ALBUMENTATIONS_UPDATE": "1",  # see pipeline.vision.img2dataset
}
TUNING = {  # unless the submitter set them
    "spark.sql.adaptive.coalescePartitions.enabled": "false",  # a small table can take hours in Python
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
}
FEW_ROWS = 10_000
"""Tables of so few rows are read, joined and grouped in one task: planning, shuffles and generated code would cost far
more than they save (ours; benchmarks/small_run.py)."""
PARTITIONS = "spark.sql.shuffle.partitions"
FOR_FEW_ROWS = {  # unless the submitter set them
    PARTITIONS: "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
WORKERS = "pipeline.workers"  # the daemon that forks Spark's Python workers
STARTUP_NOTES = (b"WARNING: Using incubator modules", b"Setting default log level", b"To adjust logging level")


class SparkConfig(StageConfig):
    """How Spark runs. No setting here is part of a key: the corpus does not depend on them."""

    master: Operate[str] = Setting("", description="Spark master; if empty, that of spark-submit, else local[*]")
    partitions: Operate[int] = Setting(
        0,
        ge=0,
        description=f"default and shuffle partitions; 0: one for up to {FEW_ROWS:,} rows, else twice the cores",
    )
    driver_memory: Operate[str] = Setting("2g", pattern=r"^\d+[mg]$", description="memory of the JVM (local runs)")


def spark_session(config: SparkConfig) -> SparkSession:
    """Start or take over the session. InputError `environment_invalid` if there is no usable Java, or if the workers of
    a cluster do not run the code of this driver."""
    submitted = is_submitted()
    if not submitted and SparkSession.getActiveSession() is None:
        require_java()
        require_files()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers use the interpreter of this environment
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    builder = SparkSession.builder
    if not submitted:
        builder = builder.appName("pairmill")
    if config.master or not submitted:
        builder = builder.master(_with_retries(config.master or "local[*]"))
    for key, value in settings_of(config, submitted).items():
        builder = builder.config(key, value)
    with _without_startup_notes(), _signals_wait():
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
    given = session.sparkContext.getConf()
    for key, value in TUNING.items():
        if not given.contains(key):
            session.conf.set(key, value)
    logging.getLogger("DataFrameQueryContextLogger").setLevel(logging.CRITICAL)  # it also logs what it raises
    plan_for(session, None)
    if not is_local(session):
        require_same_code(session)
    return session


def plan_for(session: SparkSession, rows: int | None) -> None:
    """From now on the session plans for tables of at most so many rows (None: not known, so many): the one place that
    decides how many tasks work on a table.

    Whoever sets the number of partitions (`spark.partitions`, spark-submit) decides that, and nothing is changed here.
    """
    given = _given(session.sparkContext.applicationId or "")
    if PARTITIONS in given:
        return
    many = {PARTITIONS: str(2 * (os.cpu_count() or 1))} if is_local(session) else {}
    wanted = FOR_FEW_ROWS if rows is not None and rows <= FEW_ROWS else many
    for key in FOR_FEW_ROWS.keys() - given:
        if key in wanted:
            session.conf.set(key, wanted[key])
        else:
            session.conf.unset(key)


@cache
def _given(_application: str) -> frozenset[str]:
    """Settings of the running application: those of the submitter, and ours. Reading them takes 0.1 s."""
    return frozenset(key for key, _ in SparkContext.getOrCreate().getConf().getAll())


def tasks_of_shuffle(session: SparkSession) -> int:
    """Number of tasks after a shuffle. One: tables are read in one task too, and nothing needs a shuffle."""
    return int(session.conf.get(PARTITIONS) or 1)


def tasks_at_once(session: SparkSession) -> int:
    """Number of tasks for rows that each take long (images to read, embeddings), however few there are."""
    return max(tasks_of_shuffle(session), session.sparkContext.defaultParallelism)


def is_local(session: SparkSession) -> bool:
    """Whether everything runs on this machine, started by this process."""
    return (session.sparkContext.master or "").startswith("local")


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Delay signals that the program handles until Spark has started; a second one ends the process at once.

    A start that is interrupted by an exception leaves its JVM running. Spark also installs its own SIGINT handler,
    which cancels its jobs over a blocked connection and fails slowly. It may replace Python's default handler, as in a
    notebook, but not one of the program's own.
    """
    came: list[int] = []

    def note(number: int, _: object) -> None:
        if came:
            os._exit(128 + number)
        came.append(number)

    none = (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler, None)
    answers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():
        answers = {}
    answers = {number: answer for number, answer in answers.items() if answer not in none}
    for number in answers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, answer in answers.items():
            signal.signal(number, answer)
    if came:
        signal.raise_signal(came[0])


def is_submitted() -> bool:
    """Whether spark-submit or a Spark shell started this process and decides where it runs."""
    return any(
        name in os.environ for name in ("SPARK_ENV_LOADED", "_PYSPARK_DRIVER_CONN_INFO_PATH", "PYSPARK_GATEWAY_PORT")
    )


def _with_retries(master: str) -> str:
    """local[N] tries every task once; local[N,F] tries it up to F times, as a cluster does."""
    return re.sub(r"^local\[(\*|\d+)\]$", rf"local[\1,{TASK_TRIES}]", master)


@contextlib.contextmanager
def _without_startup_notes() -> Iterator[None]:
    """Start the JVM with its stderr piped through us, to drop its startup notes."""
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


def settings_of(config: SparkConfig, submitted: bool) -> dict[str, str]:
    """Settings for the builder; fewer if spark-submit started the session."""
    settings = dict(OURS)
    if config.partitions:
        settings |= {
            PARTITIONS: str(config.partitions),
            "spark.default.parallelism": str(config.partitions),
        }
    if not submitted:
        settings |= {
            "spark.ui.enabled": "false",
            "spark.driver.memory": config.driver_memory,
            "spark.driver.extraJavaOptions": log_option(conf_folder()),
        }
        if not config.master or config.master.startswith("local"):
            if sys.platform == "linux":  # elsewhere the libraries are not safe to fork once they are loaded
                settings["spark.python.daemon.module"] = WORKERS
            # Else tasks of DataFrames and of RDDs have a daemon each, and each loads the stages.
            settings["spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled"] = "false"
            settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return settings


def log_option(folder: Path) -> str:
    """The option of the JVM that names its log settings: as a URL, because Spark splits options at spaces."""
    return f"-Dlog4j2.configurationFile={(folder / 'log4j2.properties').absolute().as_uri()}"


def require_same_code(session: SparkSession) -> None:
    """InputError `environment_invalid` unless the workers have this package with the driver's sources.

    Functions are sent to the workers by name. If the workers have other sources (an archive packed before a change),
    the functions would do something else, or fail in the middle of a stage.
    """
    ours = code_digest()
    remedy = "pack the environment again (make dist) and pass it: --archives env.tar.gz#env, PYSPARK_PYTHON"

    def digest_there(_: Iterable[object]) -> Iterator[str]:
        from pipeline.core.spark import code_digest  # the worker's, if it has the package

        yield code_digest()

    try:
        theirs = session.sparkContext.parallelize([0], 1).mapPartitions(digest_there).first()
    except Exception as error:
        reason = _cause(str(error))
        python = os.environ["PYSPARK_PYTHON"]
        raise InputError(
            ErrorCode.ENVIRONMENT_INVALID, f"the workers cannot run {python}: {reason}; {remedy}"
        ) from error
    if theirs != ours:
        raise InputError(
            ErrorCode.ENVIRONMENT_INVALID,
            f"the code of the workers ({theirs[:8]}) differs from the driver's ({ours[:8]}); {remedy}",
        )


def code_digest() -> str:
    """sha256 of the sources of `pipeline` and `schemas` that this process imports."""
    digest = hashlib.sha256()
    for package in ("pipeline", "schemas"):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        folder = Path((spec.submodule_search_locations or [""])[0])
        for file in sorted(folder.rglob("*.py")):
            name = file.relative_to(folder)
            if name.parts[0] != "conf":  # a wheel has it inside the package
                digest.update(f"{package}/{name.as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _cause(text: str) -> str:
    """The line of a failed job's message that says what happened on the worker."""
    causes = re.findall(r"(?:Error|Exception): (.+)", text)
    return next((cause for cause in causes if "Error" not in cause and "Exception" not in cause), text[:200]).strip()


def require_files() -> None:
    """Raise the limit of open files for the JVM and its workers. InputError if Spark cannot start within it."""
    open_files.raise_limit()
    allowed = open_files.limit()
    if allowed < MINIMUM_FILES:
        raise InputError(
            ErrorCode.ENVIRONMENT_INVALID,
            f"at most {allowed} files may be open at one time; Spark needs {MINIMUM_FILES}: ulimit -n {MINIMUM_FILES}",
        )


def require_java() -> None:
    """InputError unless a Java that Spark can use is installed."""
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else shutil.which("java")
    if not java or not os.path.exists(java):
        raise InputError(
            ErrorCode.ENVIRONMENT_INVALID,
            f"no Java found; install Java {MINIMUM_JAVA} or set JAVA_HOME (make setup does)",
        )
    text = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=False).stderr
    major = next((word.strip('"').split(".")[0] for word in text.split() if word.startswith('"')), "0")
    if not major.isdigit() or int(major) < MINIMUM_JAVA:
        raise InputError(
            ErrorCode.ENVIRONMENT_INVALID, f"{java} is Java {major}; Spark needs {MINIMUM_JAVA} or newer; set JAVA_HOME"
        )
