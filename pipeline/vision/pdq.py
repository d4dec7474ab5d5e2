"""PDQ: the 256-bit perceptual hash in which lists of known illegal images are exchanged.

Source: Meta, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", 2019. Luma, two passes of a
box blur, one sample for each cell of a 64x64 grid, the 16x16 lowest frequencies but the constant ones, each against
their median. Sums are of doubles where the reference adds floats; a coefficient next to the median may fall on the
other side, so hashes agree to a bit or two.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

BITS = 256
LARGEST = 1024  # pixels of a side that are looked at; Meta's own tools make images smaller first, too
LEAST_QUALITY = 50  # below, an image has so little to see that its hash matches others by chance

_BLOCKS, _KEYS = 16, 1 << 16
_GRID, _LOW = 64, 16
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FREQUENCIES = np.sqrt(2 / _GRID) * np.cos(
    np.pi / 2 / _GRID * np.outer(np.arange(1, _LOW + 1), 2 * np.arange(_GRID) + 1)
)


def pdq(picture: Image.Image) -> tuple[bytes, int]:
    """The hash of an RGB image (32 bytes, highest frequencies first) and its quality, 0 to 100."""
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


class Index:
    """Hashes, to be asked whether one of them is near. Exact (multi-index hashing; Norouzi et al., 2012).

    Of the 16 blocks of 16 bits of two hashes that differ in at most ``bits`` one differs in at most ``bits`` // 16.
    So only hashes that share such a block are compared: with 10^6 of them and 31 bits 4,000, in 0.5 ms, where all
    take 27 ms. It holds 64 bytes a hash beside the hash itself.
    """

    def __init__(self, listed: npt.NDArray[np.uint64], bits: int) -> None:
        """``listed``: uint64 of shape (n, 4)."""
        self._listed, self._bits = listed, bits
        blocks = np.ascontiguousarray(listed).view(np.uint16).reshape(len(listed), _BLOCKS).T
        self._order = np.argsort(blocks, axis=1, kind="stable").astype(np.int32).ravel()
        keys = np.arange(_KEYS + 1)
        lengths = (np.searchsorted(np.sort(block), keys) for block in blocks)
        self._starts = np.stack(list(lengths)) + len(listed) * np.arange(_BLOCKS)[:, None]
        words = np.arange(_KEYS, dtype=np.uint16)
        self._changes = words[np.bitwise_count(words) <= bits // _BLOCKS]

    def has_near(self, hash_: bytes) -> bool:
        """Whether one of the hashes lies within the bits of ``hash_``."""
        keys = np.frombuffer(hash_, np.uint16)[:, None] ^ self._changes
        rows = np.arange(_BLOCKS)[:, None]
        starts, ends = self._starts[rows, keys].ravel(), self._starts[rows, keys.astype(np.intp) + 1].ravel()
        counts = ends - starts
        shared = counts.sum()
        if shared < len(self._listed):
            places = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(shared)
            listed = self._listed[self._order[places]]
        else:
            listed = self._listed
        bits = np.bitwise_count(listed ^ np.frombuffer(hash_, np.uint64)).sum(axis=1)
        return bool((bits <= self._bits).any())


def _sampled(luma: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The 64x64 samples of an image; one of just this size is taken as it is."""
    if luma.shape == (_GRID, _GRID):
        return luma
    for _ in range(2):
        for axis in (1, 0):
            luma = _blurred(luma, axis)
    rows, columns = (_middles(length) for length in luma.shape)
    return luma[rows[:, None], columns]


def _middles(length: int) -> npt.NDArray[np.int64]:
    """Where the middles of the cells lie along an axis."""
    return ((np.arange(_GRID) + 0.5) * length / _GRID).astype(np.int64)


def _blurred(values: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    """Means over a window of about a 128th of the axis; fewer values at its ends."""
    length: int = values.shape[axis]
    window = (length + 2 * _GRID - 1) // (2 * _GRID)
    half = (window + 2) // 2
    sums = np.insert(np.cumsum(values, axis), 0, 0, axis)
    place = np.arange(length)
    first, last = np.maximum(place + half - window, 0), np.minimum(place + half, length)
    shape = (-1, 1) if axis == 0 else (1, -1)
    counts: npt.NDArray[np.int64] = (last - first).reshape(shape)
    return (sums.take(last, axis) - sums.take(first, axis)) / counts


def _quality(grid: npt.NDArray[np.float64]) -> int:
    steps = [np.abs((np.diff(grid, axis=axis) * 100 / 255).astype(int)).sum() for axis in (0, 1)]
    return int(min(sum(steps) // 90, 100))
