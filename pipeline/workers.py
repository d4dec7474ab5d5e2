"""Spark's daemon of Python workers for local runs: the stages are loaded once, before the workers fork.

After each task a worker collects garbage over all that it has loaded (pyspark.daemon): 0.1 s a task, nearly all of the
time that the workers of a small run need. What is loaded before the fork is left out of that, and shared.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    import pipeline.funnel  # noqa: F401

    gc.collect()
    gc.freeze()
    from pyspark.daemon import manager

    manager()
