"""For spark-submit: two tasks at once attempt one part.

Prints, as JSON, what each wrote and whether it counts, and the tuning that the session has.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

import pyarrow as pa
from pyspark import BarrierTaskContext

from pipeline.core.parts import Part, commit
from pipeline.core.spark import SparkConfig, spark_session
from pipeline.core.storage import Storage, open_storage
from pipeline.core.tables import write_file

ROWS = pa.table({"key": ["a", "b", "c"]})


def attempt(_: Iterator[int], storage: Storage) -> Iterator[dict[str, object]]:
    """Write the part's file, wait until the other has too, then commit."""
    record = write_file(storage, "trial/rows", ROWS.schema, [ROWS])
    BarrierTaskContext.get().barrier()
    counts = commit(storage, "trial", Part("one", "settings", "input", {"rows": record}))
    yield {"counts": counts, "file": record.path, "work_folder": os.getcwd()}


if __name__ == "__main__":
    session = spark_session(SparkConfig())
    at = open_storage(sys.argv[1])
    twins = session.sparkContext.parallelize(range(2), 2).barrier().mapPartitions(lambda rows: attempt(rows, at))
    batch_rows = session.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    print(json.dumps({"attempts": twins.collect(), "batch_rows": batch_rows}))
