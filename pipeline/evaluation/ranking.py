"""Is a right answer among the first k? Counted so that ties help nobody.

Answers of equal score stand in any order with equal probability, and a query counts as the probability that a right one
is among its first k. Constant scores thus come out at exactly chance, not at 100% (V7), and `chance` is just that.

Shapes: Q queries, C candidates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from pipeline.core.errors import ErrorCode, StageError

DECIMALS = 9  # of a cosine; float32 embeddings have seven


def hits(scores_QC: npt.NDArray[np.float64], right_QC: npt.NDArray[np.bool_], k: int) -> npt.NDArray[np.float64]:
    """Per query the probability, 0..1, that one of its right candidates is among the k of highest score."""
    best_right = np.where(right_QC, scores_QC, -np.inf).max(axis=1, keepdims=True)
    above = (scores_QC > best_right).sum(axis=1)  # all of them wrong
    tied = scores_QC == best_right
    tied_right = (tied & right_QC).sum(axis=1)
    return _one_of(tied_right, tied.sum(axis=1), k - above)


def chance(right: npt.NDArray[np.int64], candidates: int, k: int) -> float:
    """What constant scores would get; ``right`` holds how many candidates are right, for each query."""
    return float(_one_of(right, np.full(right.shape, candidates), np.full(right.shape, k)).mean())


def cosines(query_QD: npt.NDArray[np.float32], candidate_CD: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """[Q, C], summed in float64 and rounded far below the precision of embeddings: equal ones tie, wherever they stand.

    StageError ``embedding_nonfinite``.
    """
    scores_QC = (query_QD.astype(np.float64) @ candidate_CD.astype(np.float64).T).round(DECIMALS)
    if not np.isfinite(scores_QC).all():
        raise StageError(
            ErrorCode.EMBEDDING_NONFINITE, "the model gives embeddings that are not finite; train it again"
        )
    return scores_QC


def _one_of(
    right: npt.NDArray[np.int64], tied: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Probability that ``places`` draws out of ``tied`` meet one of ``right``: 1 - C(tied-right, n) / C(tied, n)."""
    places = np.clip(places, 0, tied)
    wrong = tied - right
    with np.errstate(invalid="ignore"):
        log_none = _log_binomial(wrong, places) - _log_binomial(tied, places)
    return np.where(right == 0, 0.0, np.where(places > wrong, 1.0, -np.expm1(log_none)))


def _log_binomial(n: npt.NDArray[np.int64], k: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    logarithms: npt.NDArray[np.float64] = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(np.maximum(n - k, 0) + 1.0)
    return logarithms
