"""The random numbers of langdetect: with one seed, the same for every text.

langdetect seeds Python's Mersenne Twister again for each text. Seven times it draws a Gaussian number and then up to
1,001 n-grams of the text. The text decides how many outputs of the generator are used, but not their order.
"""

from __future__ import annotations

import math
from random import Random
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from langdetect.detector import Detector

TRIALS = 7
MOST_DRAWS = Detector.ITERATION_LIMIT + 1
"""N-grams drawn in a trial that does not converge."""

OUTPUTS_OF_GAUSS = 4
"""``Random.gauss`` makes two numbers from four outputs and keeps the second for the next call."""


class Stream(NamedTuple):
    """S outputs of the generator, as many as any text can need."""

    outputs: npt.NDArray[np.uint32]
    """uint32, S."""
    weights: npt.NDArray[np.float64]
    """float64, S × 2: what is added to each frequency in the trial whose Gaussian number is drawn here, and in the
    next trial."""

    @classmethod
    def of_seed(cls, seed: int) -> Self:
        """The stream of a seed.

        Its end is never reached. A draw from n reads as many top bits of an output as n has, and takes the next output
        if they are n or more. An output whose top bit is 0 is always less than n. So a text is done once TRIALS ×
        MOST_DRAWS such outputs have passed, besides those used for Gaussian numbers.
        """
        needed = TRIALS * MOST_DRAWS + (TRIALS + 1) // 2 * OUTPUTS_OF_GAUSS
        random, outputs = Random(seed), []
        while needed:
            outputs.append(random.getrandbits(32))
            needed -= outputs[-1] >> 31 == 0
        return cls(np.array(outputs, np.uint32), _weights(np.array(outputs, np.uint64)))


def _weights(outputs: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Random.gauss at every place in the stream, by Python's own functions: numpy's differ in the last bit."""
    uniform = ((outputs[:-1] >> 5) * 2.0**26 + (outputs[1:] >> 6)) / 2.0**53  # Random.random of two outputs
    weights = np.zeros((len(outputs), 2))
    for place, (angle, size) in enumerate(zip(uniform[:-2].tolist(), uniform[2:].tolist(), strict=True)):
        radius = math.sqrt(-2.0 * math.log(1.0 - size))
        weights[place] = math.cos(2.0 * math.pi * angle) * radius, math.sin(2.0 * math.pi * angle) * radius
    added: npt.NDArray[np.float64] = (Detector.ALPHA_DEFAULT + weights * Detector.ALPHA_WIDTH) / Detector.BASE_FREQ
    return added
