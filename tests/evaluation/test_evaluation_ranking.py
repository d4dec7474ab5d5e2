"""Ties help nobody, intervals hold near their ends, and every figure agrees with a slower way to find it."""

from __future__ import annotations

import itertools
import math
from random import Random

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.core.errors import InputError, StageError
from pipeline.evaluation.intervals import newcombe, wilson
from pipeline.evaluation.ranking import chance, cosines, hits
from pipeline.evaluation.separation import separation

RNG = np.random.default_rng(0)


def test_wilson_is_the_interval_of_scipy() -> None:
    for hits_, trials in ((0, 5), (5, 5), (3, 40), (999, 1000)):
        reference = binomtest(hits_, trials).proportion_ci(method="wilson")
        found = wilson(hits_, trials)
        assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1e-9)


@pytest.mark.parametrize("truth", [0.6, 0.9, 0.98])
def test_the_interval_of_an_area_holds_the_truth_about_as_often_as_it_says(truth: float) -> None:
    shift = {0.6: 0.3583, 0.9: 1.8124, 0.98: 2.9044}[truth]  # of two normal distributions: sqrt(2) * its quantile
    held = 0
    for _ in range(400):
        found = separation(RNG.normal(shift, 1, 40), RNG.normal(0, 1, 30)).auc
        held += found.low <= truth <= found.high
    assert 0.91 <= held / 400 <= 0.99


def test_a_perfect_separation_is_not_certain() -> None:
    assert 0.8 < newcombe(1.0, 20, 20).low < 0.95
    assert newcombe(1.0, 20, 20).high == 1.0
    assert newcombe(0.0, 20, 20).low == 0.0
    assert newcombe(1.0, 2000, 2000).low > 0.998


def brute_force(scores: np.ndarray, right: np.ndarray, k: int) -> float:
    """The share of all orders of the candidates that keep higher scores first in which a right one is among k."""
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    return sum(any(right[place] for place in order[:k]) for order in orders) / len(orders)


def test_hits_are_the_share_of_all_orders_that_ties_allow() -> None:
    """V7"""
    rng = Random(0)
    for _ in range(60):
        scores = np.array([[rng.choice((0.1, 0.2, 0.3)) for _ in range(6)]])
        right = np.array([[rng.random() < 0.4 for _ in range(6)]])
        for k in (1, 2, 5, 6):
            assert hits(scores, right, k)[0] == pytest.approx(brute_force(scores[0], right[0], k))


@pytest.mark.parametrize("k", [1, 5, 10])
def test_constant_scores_are_at_chance(k: int) -> None:
    """V7"""
    right = RNG.random((50, 40)) < 0.05
    right[:, 0] = True
    assert hits(np.full((50, 40), 0.7), right, k).mean() == pytest.approx(chance(right.sum(axis=1), 40, k))
    assert chance(np.array([1]), 40, k) == pytest.approx(k / 40)
    assert chance(np.array([3]), 5, k) == pytest.approx(1 - math.comb(2, k) / math.comb(5, k) if k < 5 else 1)


def test_embeddings_that_are_no_numbers_stop() -> None:
    """V7"""
    rows = RNG.normal(size=(3, 4))
    rows[1, 2] = np.nan
    with pytest.raises(StageError, match="embedding_nonfinite"):
        cosines(rows, rows)
    with pytest.raises(StageError, match="embedding_nonfinite"):
        separation([0.1, math.nan], [0.2])


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    right, wrong = RNG.normal(1, 1, 60).round(1), RNG.normal(0, 1, 50).round(1)
    expected = np.mean([(a > b) + (a == b) / 2 for a in right for b in wrong])
    assert separation(right, wrong).auc.value == pytest.approx(expected)
    assert separation([0.5] * 9, [0.5] * 4).auc.value == 0.5


def test_the_threshold_is_the_best_there_is() -> None:
    right, wrong = RNG.normal(1, 1, 60).round(1), RNG.normal(0, 1, 50).round(1)
    found = separation(right, wrong)
    best = max(((right >= t).mean() + (wrong < t).mean()) / 2 for t in np.arange(-4, 5, 0.01))
    assert found.balanced_accuracy == pytest.approx(best)
    assert found.recall == pytest.approx((right >= found.threshold).mean())
    assert found.wrong_kept == pytest.approx((wrong >= found.threshold).mean())


def test_a_threshold_between_two_heaps_stands_in_the_middle() -> None:
    assert separation([0.5, 0.6], [0.1, 0.3]).threshold == pytest.approx(0.4)


@pytest.mark.parametrize("recall", [0.01, 0.5, 0.95, 1.0])
def test_a_threshold_by_recall_keeps_that_much_and_no_higher_one_does(recall: float) -> None:
    right, wrong = RNG.normal(1, 1, 61).round(1), RNG.normal(0, 1, 50)
    found = separation(right, wrong, recall=recall)
    assert found.recall >= recall
    higher = right[right > found.threshold]
    assert len(higher) < recall * len(right)


@pytest.mark.parametrize(("right", "wrong"), [([], [0.1]), ([0.1], []), ([], [])])
def test_one_side_alone_separates_nothing(right: list[float], wrong: list[float]) -> None:
    """V6"""
    with pytest.raises(InputError, match="dataset_too_small"):
        separation(right, wrong)
