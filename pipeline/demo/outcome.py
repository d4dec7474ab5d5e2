"""The figures of the demo: every filter, the CLIP filter on images its model has never seen, the models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.core.manifest import Manifest
from pipeline.demo.judge import Judged
from pipeline.demo.models import Measured
from pipeline.demo.score import FilterScore
from pipeline.evaluation.separation import separation


@dataclass(frozen=True)
class Model:
    """A model, what it was trained on, and how it does on held-out scenes."""

    pairs: int
    steps: int
    measured: Measured


@dataclass(frozen=True)
class Cut:
    """A threshold on pairs whose truth is known."""

    threshold: float
    right_kept: float  # share of the right captions
    wrong_dropped: float  # share of the wrong ones
    precision: float | None  # of what it drops, the share that is wrong; None if it drops nothing


@dataclass(frozen=True)
class Step:
    """A stage before and after the threshold was moved, from its manifests."""

    stage: str
    same_measure_key: bool
    ran: bool  # whether it has a new result
    measured: int  # rows measured for the first time under this key


@dataclass(frozen=True)
class Filter:
    """The CLIP filter: its thresholds were chosen on ``known`` and are judged on ``unseen``."""

    known: Judged
    unseen: Judged
    chosen: float  # of best balanced accuracy
    moved: float  # keeps a given share of the right captions
    steps: Sequence[Step]  # of the build with the moved threshold
    seconds: float  # that it took

    def sets(self) -> dict[str, Judged]:
        """Both sets of pairs by name."""
        return {"judge's host": self.known, "new hosts": self.unseen}


def steps_between(before: Mapping[str, Manifest | None], after: Mapping[str, Manifest]) -> list[Step]:
    """Each stage, in funnel order."""
    return [Step(stage, *_moved(before[stage], manifest), manifest.measured) for stage, manifest in after.items()]


def _moved(old: Manifest | None, new: Manifest) -> tuple[bool, bool]:
    if old is None:
        return False, True
    unchanged = (old.decide_key, old.input_fingerprint) == (new.decide_key, new.input_fingerprint)
    return old.measure_key == new.measure_key, not unchanged


def cut(judged: Judged, threshold: float) -> Cut:
    """What ``score >= threshold`` keeps and drops."""
    right = sum(score >= threshold for score in judged.right)
    wrong = sum(score < threshold for score in judged.wrong)
    dropped = len(judged.right) - right + wrong
    return Cut(threshold, right / len(judged.right), wrong / len(judged.wrong), wrong / dropped if dropped else None)


@dataclass(frozen=True)
class Outcome:
    """All figures of one demo. ``runs``: a digest of each run's result."""

    runs: Mapping[str, str]
    filters: Mapping[str, Sequence[FilterScore]]
    clip_filter: Filter
    models: Mapping[str, Model]

    def as_json(self) -> bytes:
        """For machines: no path, clock or duration."""
        judged = self.clip_filter
        figures: dict[str, Any] = {
            "runs": self.runs,
            "filters": {run: [asdict(found) for found in scores] for run, scores in self.filters.items()},
            "clip_filter": {
                "auc": asdict(separation(judged.unseen.right, judged.unseen.wrong).auc),
                "pairs": {"right": len(judged.unseen.right), "wrong": len(judged.unseen.wrong)},
                "cuts": [
                    {name: asdict(cut(pairs, threshold)) for name, pairs in judged.sets().items()}
                    for threshold in (judged.chosen, judged.moved)
                ],
            },
            "models": {name: asdict(model) for name, model in self.models.items()},
        }
        return json.dumps(figures, indent=1, sort_keys=True).encode()
