"""PDQ: the 256-bit perceptual hash in which lists of known illegal pictures are exchanged.

Source: Meta, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", 2019. Luma, two passes of a
box blur, one sample for each cell of a 64x64 grid, the 16x16 lowest frequencies but the constant ones, each against
their median. Sums are of doubles where the reference adds floats; a coefficient next to the median may fall on the
other side, so hashes agree to a bit or two.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

BITS = 256
LARGEST = 1024  # pixels of a side that are looked at; Meta's own tools make pictures smaller first, too
LEAST_QUALITY = 50  # below, a picture has so little to see that its hash matches others by chance

_GRID, _LOW = 64, 16
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FREQUENCIES = np.sqrt(2 / _GRID) * np.cos(
    np.pi / 2 / _GRID * np.outer(np.arange(1, _LOW + 1), 2 * np.arange(_GRID) + 1)
)


def pdq(picture: Image.Image) -> tuple[bytes, int]:
    """The hash of an RGB picture (32 bytes, highest frequencies first) and its quality, 0 to 100."""
    longest = max(picture.size)
    if longest > LARGEST:  # memory and time are those of pixels, and 64x64 samples are taken
        picture = picture.reduce(-(-longest // LARGEST))
    luma = (np.asarray(picture) @ _LUMA).astype(np.float64)
    if min(luma.shape) < 5:
        return bytes(BITS // 8), 0
    grid = _sampled(luma)
    low = _FREQUENCIES @ grid @ _FREQUENCIES.T
    median = np.partition(low, low.size // 2 - 1, axis=None)[low.size // 2 - 1]  # the lower one
    return np.packbits((low > median).ravel()[::-1]).tobytes(), _quality(grid)


def nearest(hash_: bytes, listed: np.ndarray) -> int:
    """Bits between ``hash_`` and the nearest row of ``listed``, uint64 of shape (n, 4)."""
    if not len(listed):
        return BITS
    return int(np.bitwise_count(listed ^ np.frombuffer(hash_, np.uint64)).sum(axis=1).min())


def _sampled(luma: np.ndarray) -> np.ndarray:
    """The 64x64 samples of a picture; one of just this size is taken as it is."""
    if luma.shape == (_GRID, _GRID):
        return luma
    for _ in range(2):
        for axis in (1, 0):
            luma = _blurred(luma, axis)
    rows, columns = ((np.arange(_GRID) + 0.5) * length / _GRID for length in luma.shape)
    return luma[rows.astype(int)[:, None], columns.astype(int)]


def _blurred(values: np.ndarray, axis: int) -> np.ndarray:
    """Means over a window of about a 128th of the axis; fewer values at its ends."""
    length = values.shape[axis]
    window = (length + 2 * _GRID - 1) // (2 * _GRID)
    half = (window + 2) // 2
    sums = np.insert(np.cumsum(values, axis), 0, 0, axis)
    place = np.arange(length)
    first, last = np.maximum(place + half - window, 0), np.minimum(place + half, length)
    shape = (-1, 1) if axis == 0 else (1, -1)
    return (sums.take(last, axis) - sums.take(first, axis)) / (last - first).reshape(shape)


def _quality(grid: np.ndarray) -> int:
    steps = [np.abs((np.diff(grid, axis=axis) * 100 / 255).astype(int)).sum() for axis in (0, 1)]
    return int(min(sum(steps) // 90, 100))
