"""How far Spark is, for the bar of a stage that is DataFrames: what it knows is tasks, not rows."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import SparkSession

from pipeline.core.progress import Done


def spark_probe(spark: SparkSession) -> Callable[[], Done]:
    """What a progress bar asks: tasks done of those of the Spark stages that run now.

    A stage of ours is several of Spark's, and how many Spark itself learns on the way: so the count is of the present
    step, and starts again with the next.
    """
    tracker = spark.sparkContext.statusTracker()

    def probe() -> Done:
        known = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        running = [stage for stage in known if stage is not None and stage.numCompletedTasks < stage.numTasks]
        done = sum(stage.numCompletedTasks for stage in running)
        total = sum(stage.numTasks for stage in running)
        return Done(done, good=None, total=total or None, unit="tasks of this step")

    return probe
