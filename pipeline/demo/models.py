"""How good a model is: both tasks on held-out scenes, which are in no training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.evaluation.result import evaluate_retrieval, evaluate_zero_shot
from pipeline.evaluation.retrieval import Retrieval
from pipeline.evaluation.zero_shot import ZeroShot
from pipeline.smallweb.held_out import PAIRS, SINGLES, TEMPLATES
from pipeline.vision.clip_model import ClipModel


@dataclass(frozen=True)
class Measured:
    """A model on scenes it has never seen. ``overlap``: number of these images that its training data has too."""

    retrieval: Retrieval
    zero_shot: ZeroShot
    overlap: int


def measure(folder: Path, model: ClipModel, training_data: Sequence[str]) -> Measured:
    """Both tasks of a folder that `write_held_out` has made."""
    pairs = evaluate_retrieval(model, [str(folder / PAIRS)], training_data=training_data)
    templates = (folder / TEMPLATES).read_text(encoding="utf-8").splitlines()
    singles = evaluate_zero_shot(model, folder / SINGLES, templates=templates)
    assert pairs.overlap is not None  # there is training data
    return Measured(pairs.figures, singles.figures, pairs.overlap)
