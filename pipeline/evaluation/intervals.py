"""95% intervals of shares and of areas under the curve, by formulas that hold near 0 and 1 too.

Source: Wilson, 1927 (shares); Newcombe, Confidence intervals for an effect size measure based on the Mann-Whitney
statistic, Part 2, 2006, method 5 (areas).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.optimize import brentq

Z95 = 1.959963984540054  # of the standard normal distribution
TINY = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float


def wilson(hits: float, trials: int) -> Estimate:
    """The share of ``hits`` in ``trials`` > 0; hits may be fractional (ties count by their expectation)."""
    share, z2 = hits / trials, Z95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))


def newcombe(area: float, positives: int, negatives: int) -> Estimate:
    """The area under a curve of so many right and wrong scores: the areas it does not differ from, by a score test."""
    effective = (positives + negatives) / 2 - 1

    def surplus(theta: float) -> float:
        """Squared distance of ``theta`` from ``area``, minus what chance explains were ``theta`` the truth."""
        spread = 1 + effective * (1 - theta) / (2 - theta) + effective * theta / (1 + theta)
        return (theta - area) ** 2 - Z95**2 * theta * (1 - theta) * spread / (positives * negatives)

    # At the very ends nothing is a surplus; the interval begins where it leaves them.
    low = brentq(surplus, 0, min(area, 1 - TINY)) if area > 0 else 0.0
    high = brentq(surplus, max(area, TINY), 1) if area < 1 else 1.0
    return Estimate(area, float(low), float(high))
