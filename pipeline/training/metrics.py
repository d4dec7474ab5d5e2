"""What a training says while it runs: metrics.jsonl, a line per step, and some lines of progress."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pipeline.core.progress import Reporter

LINES = 10  # of progress, over the whole training


class Metrics:
    """metrics.jsonl of the steps that count: lines after ``step``, where the training resumes, are removed."""

    def __init__(self, path: Path, step: int, steps: int, reporter: Reporter) -> None:
        lines = path.read_text("utf-8").splitlines(keepends=True)[:step] if path.exists() else []
        path.write_text("".join(lines), "utf-8")
        self._path, self._steps, self._reporter = path, steps, reporter
        self._began = time.monotonic()

    def add(self, measured: dict[str, Any]) -> None:
        """Write what a step measured; at each tenth of the way say it too."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(measured) + "\n")
        step = measured["step"]
        if step % max(1, self._steps // LINES) == 0 or step == self._steps:
            self._report(measured)

    def _report(self, measured: dict[str, Any]) -> None:
        self._reporter.line(
            f"   train: step {measured['step']:>6,} of {self._steps:,}  loss {measured['loss']:.4f}  "
            f"rate {measured['learning_rate']:.1e}  scale {measured['logit_scale']:6.2f}  "
            f"{time.monotonic() - self._began:7.1f} s",
            event="step",
            **measured,
        )
