"""The loops over pixels, for numba (pipeline.core.compiled). Arrays are C-contiguous. A pixel is a uint32: red in its
lowest byte, green, blue, and a byte of no meaning: one register's lane, where three bytes would be shuffled.

Numbers are integers as far as Pillow's are, so the results are Pillow's own bits on any processor.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.uint32]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
P = TypeVar("P", Bytes, Pixels)

PRECISION_BITS = 22  # of a weight; Pillow, src/libImaging/Resample.c: 32 - 8 bits of the result - 2 of headroom
CELLS = 4  # a side of the grid of colours
BYTE, GREEN, BLUE = np.uint32(255), np.uint32(8), np.uint32(16)
L_RED, L_GREEN, L_BLUE, L_HALF, L_BITS = (np.uint32(n) for n in (19595, 38470, 7471, 0x8000, 16))  # Pillow, Convert.c


def weighted_rows(source: Bytes, starts: Int64s, weights: Int32s, sums: Int32s, out: Bytes) -> None:
    """Row y of ``out`` [h, n] uint8 is the weighted sum of rows starts[y]... of ``source`` [H, n] uint8.

    ``weights`` [h, taps] int32 with PRECISION_BITS; ``sums`` [n] int32 is room to work in.
    """
    taps, n = weights.shape[1], source.shape[1]
    by_four = taps // 4 * 4
    for y in range(len(starts)):
        for x in range(n):
            sums[x] = 1 << (PRECISION_BITS - 1)
        for tap in range(0, by_four, 4):
            at = starts[y] + tap
            row_a, row_b, row_c, row_d = source[at], source[at + 1], source[at + 2], source[at + 3]
            a, b, c, d = weights[y, tap], weights[y, tap + 1], weights[y, tap + 2], weights[y, tap + 3]
            for x in range(n):
                sums[x] += a * row_a[x] + b * row_b[x] + c * row_c[x] + d * row_d[x]
        for tap in range(by_four, taps):
            row_a, a = source[starts[y] + tap], weights[y, tap]
            for x in range(n):
                sums[x] += a * row_a[x]
        for x in range(n):
            out[y, x] = min(max(sums[x] >> PRECISION_BITS, 0), 255)


def read_grey(pixels: Pixels, grey: Bytes) -> None:
    """``grey`` [H, W] uint8 as Pillow's convert("L") of ``pixels`` [H, W] uint32."""
    for y in range(len(grey)):
        row, line = pixels[y], grey[y]
        for x in range(len(line)):
            red, green, blue = row[x] & BYTE, (row[x] >> GREEN) & BYTE, (row[x] >> BLUE) & BYTE
            line[x] = (red * L_RED + green * L_GREEN + blue * L_BLUE + L_HALF) >> L_BITS


def read_levels(pixels: Pixels, grey: Bytes, grid: Int64s, squares: Int64s, histogram: Int64s) -> None:
    """Adds to ``grid`` [CELLS, CELLS, 3] int64 the sums of each channel of ``pixels`` [H, W] uint32 in each cell, to
    ``squares`` [3] int64 those of their squares, to ``histogram`` [4, 256] int64 the levels of ``grey`` [H, W] uint8
    (four, so that equal neighbours do not wait for one another)."""
    height, width = grey.shape
    for y in range(height):
        row, line = pixels[y], grey[y]
        band = (y * CELLS + 1) // height  # cell i begins at i * height / CELLS, rounded, as in Pillow's BOX
        for cell in range(CELLS):
            r = g = b = rr = gg = bb = np.uint32(0)
            for x in range((width * cell + 2) // CELLS, (width * (cell + 1) + 2) // CELLS):
                red, green, blue = row[x] & BYTE, (row[x] >> GREEN) & BYTE, (row[x] >> BLUE) & BYTE
                r, g, b = r + red, g + green, b + blue
                rr, gg, bb = rr + red * red, gg + green * green, bb + blue * blue
            grid[band, cell, 0] += r
            grid[band, cell, 1] += g
            grid[band, cell, 2] += b
            squares[0] += rr
            squares[1] += gg
            squares[2] += bb
        for x in range(width):
            histogram[x & 3, line[x]] += 1
