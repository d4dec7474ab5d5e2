"""Means of a picture of which only half the size was decoded. (Lanczos: test_vision_phash.py.)"""

from __future__ import annotations

import numpy as np

from pipeline.vision.resample import PRECISION_BITS, area, area_of_half


def test_weights_of_a_halved_picture_stay_inside_it_and_keep_a_colour():
    for size in [*range(3, 60), 999, 1000]:
        for new_size in {1, 2, size * 4 // 11} & set(range(1, size // 2)):
            starts, weights = area_of_half(size, new_size)
            assert starts.min() >= 0
            assert (starts + weights.shape[1]).max() <= -(-size // 2)
            assert np.abs(weights.sum(axis=1) / (1 << PRECISION_BITS) - 1).max() < 1e-4


def test_means_of_a_halved_slope_are_those_of_the_whole_one():
    whole = np.linspace(20, 230, 600)
    halved = whole.reshape(-1, 2).mean(axis=1)
    found, wanted = (
        (values[starts[:, None] + np.arange(weights.shape[1])] * weights).sum(axis=1) / (1 << PRECISION_BITS)
        for values, (starts, weights) in ((halved, area_of_half(600, 205)), (whole, area(600, 205)))
    )
    assert np.abs(found - wanted).max() < 0.5
