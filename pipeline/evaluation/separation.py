"""How well scores tell right pairs from wrong ones, and the threshold that follows.

The area under the ROC curve is the probability that a right pair scores above a wrong one, ties counting half: the
Mann-Whitney statistic. A threshold keeps what scores at or above it, as ``clip.min_score`` does; choose it on pairs
that nothing else is measured on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from pipeline.core.errors import ErrorCode, InputError, StageError
from pipeline.evaluation.intervals import Estimate, newcombe


@dataclass(frozen=True)
class Separation:
    """``threshold`` keeps ``recall`` of the right pairs and ``wrong_kept`` of the wrong ones (shares)."""

    auc: Estimate
    threshold: float
    recall: float
    wrong_kept: float

    @property
    def balanced_accuracy(self) -> float:
        return (self.recall + 1 - self.wrong_kept) / 2


def separation(right: Sequence[float], wrong: Sequence[float], recall: float | None = None) -> Separation:
    """Area and threshold of the scores of right and of wrong pairs.

    The threshold is the one of best balanced accuracy, in the middle of the gap it stands in; with ``recall`` the
    highest that keeps at least this share of the right pairs. InputError ``dataset_too_small`` where either is empty;
    StageError ``embedding_nonfinite``.
    """
    right_N, wrong_M = np.asarray(right, np.float64), np.asarray(wrong, np.float64)
    if not len(right_N) or not len(wrong_M):
        raise InputError(
            ErrorCode.DATASET_TOO_SMALL,
            f"{len(right_N)} right and {len(wrong_M)} wrong pairs: both are needed to compare",
        )
    if not (np.isfinite(right_N).all() and np.isfinite(wrong_M).all()):
        raise StageError(
            ErrorCode.EMBEDDING_NONFINITE, "scores that are not finite cannot be compared; leave those pairs out"
        )
    area = newcombe(_area(right_N, wrong_M), len(right_N), len(wrong_M))
    threshold = _balanced(right_N, wrong_M) if recall is None else _keeping(right_N, recall)
    return Separation(area, threshold, float((right_N >= threshold).mean()), float((wrong_M >= threshold).mean()))


def _area(right_N: npt.NDArray[np.float64], wrong_M: npt.NDArray[np.float64]) -> float:
    ranks = rankdata(np.concatenate([right_N, wrong_M]))[: len(right_N)]
    return float((ranks.sum() - len(right_N) * (len(right_N) + 1) / 2) / (len(right_N) * len(wrong_M)))


def _balanced(right_N: npt.NDArray[np.float64], wrong_M: npt.NDArray[np.float64]) -> float:
    scores = np.unique(np.concatenate([right_N, wrong_M]))
    middles = np.concatenate([scores[:1], (scores[:-1] + scores[1:]) / 2])
    recall = 1 - np.searchsorted(np.sort(right_N), middles) / len(right_N)
    wrong_kept = 1 - np.searchsorted(np.sort(wrong_M), middles) / len(wrong_M)
    return float(middles[np.argmax(recall - wrong_kept)])


def _keeping(right_N: npt.NDArray[np.float64], recall: float) -> float:
    kept = int(np.ceil(recall * len(right_N)))
    return float(np.sort(right_N)[::-1][max(kept, 1) - 1])
