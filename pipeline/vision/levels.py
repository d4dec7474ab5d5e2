"""What one look at the pixels of an image gives: its grey twin, and how much there is to see in it.

Colours are measured where perceptual hashes, which are grey, cannot see them: means over a 4x4 grid.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipeline.core.compiled import compiled
from pipeline.vision.kernels import CELLS, Bytes, Int64s, P, Pixels, read_grey, read_levels


class Levels(NamedTuple):
    """``mean`` and ``entropy`` (bits, 0 to 8) are those of the grey histogram; ``spread`` is the largest standard
    deviation of a channel, in levels of 255: 0 for one colour (docs/faults.md, F38). ``chroma4`` are the means of Cb,
    then of Cr, over a 4x4 grid, row by row: 32 bytes."""

    mean: float
    entropy: float
    spread: float
    chroma4: bytes


def grey_of(pixels: Pixels) -> Bytes:
    """Pillow's convert("L") [H, W] of ``pixels`` [H, W]."""
    grey = np.empty(pixels.shape, np.uint8)
    _grey_kernel()(pixels, grey)
    return grey


def levels_of(pixels: Pixels, grey: Bytes) -> Levels:
    """The levels of ``pixels`` [H, W] and of their grey."""
    height, width = pixels.shape
    if min(height, width) < CELLS:  # a cell needs a pixel; repeated ones change nothing that is counted here
        return levels_of(_repeated(pixels), _repeated(grey))
    grid, squares = np.zeros((CELLS, CELLS, 3), np.int64), np.zeros(3, np.int64)
    histogram = np.zeros((4, 256), np.int64)
    _levels_kernel()(pixels, grey, grid, squares, histogram)
    counts = histogram.sum(axis=0)
    shares = counts[counts > 0] / pixels.size
    sums = grid.sum(axis=(0, 1))
    variance = (squares - sums.astype(np.float64) ** 2 / pixels.size) / pixels.size  # as PIL.ImageStat has it
    return Levels(
        mean=float(counts @ np.arange(256)) / pixels.size,
        entropy=abs(float((shares * np.log2(shares)).sum())),
        spread=float(np.sqrt(max(variance.max(), 0.0))),
        chroma4=_chroma4(grid, height, width),
    )


def _repeated(values: P) -> P:
    return values.repeat(CELLS, axis=0).repeat(CELLS, axis=1)


def _chroma4(grid: Int64s, height: int, width: int) -> bytes:
    """Cb, then Cr, of the mean colour of each cell: Pillow's resize((4, 4), BOX).convert("YCbCr") but for rounding."""
    rows, columns = (np.diff((np.arange(CELLS + 1) * size + 2) // CELLS) for size in (height, width))
    pixels = rows[:, None, None] * columns[:, None]
    means = ((2 * grid + pixels) // (2 * pixels)).astype(np.uint8)
    ycbcr = Image.frombytes("RGB", (CELLS, CELLS), means.tobytes()).convert("YCbCr").tobytes()
    return ycbcr[1::3] + ycbcr[2::3]


@cache
def _grey_kernel() -> Callable[..., None]:
    return compiled(read_grey, np.empty((1, 1), np.uint32), np.empty((1, 1), np.uint8))


@cache
def _levels_kernel() -> Callable[..., None]:
    pixels, grey, grid = np.empty((1, 1), np.uint32), np.empty((1, 1), np.uint8), np.empty((1, 1, 3), np.int64)
    return compiled(read_levels, pixels, grey, grid, np.empty(3, np.int64), np.empty((4, 256), np.int64))
