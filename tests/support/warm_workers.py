"""Spark's daemon of Python workers as the tests start it: with what the stages import loaded once, before workers fork.

After each task a worker collects garbage (pyspark.daemon), which walks all that is loaded: 0.3 s a task with torch. What
is loaded before the fork is left out of that. Builds that plan as a user's do have Spark's own daemon.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    import pipeline.funnel
    import pipeline.vision.clip_model  # noqa: F401  torch, for clip

    gc.collect()
    gc.freeze()
    from pyspark.daemon import manager

    manager()
