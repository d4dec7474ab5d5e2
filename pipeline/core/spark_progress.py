"""Progress of a stage that runs as DataFrames: Spark counts tasks, not rows."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import SparkSession

from pipeline.core.progress import Done


def spark_probe(spark: SparkSession) -> Callable[[], Done]:
    """A probe for a progress bar: tasks done of all tasks of the running Spark stages.

    A stage of the funnel is several Spark stages, and Spark does not know in advance how many. So the count is for the
    current step and starts again with the next one.
    """
    tracker = spark.sparkContext.statusTracker()

    def probe() -> Done:
        known = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        running = [stage for stage in known if stage is not None and stage.numCompletedTasks < stage.numTasks]
        done = sum(stage.numCompletedTasks for stage in running)
        total = sum(stage.numTasks for stage in running)
        return Done(done, good=None, total=total or None, unit="tasks of this step")

    return probe
