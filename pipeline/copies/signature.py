"""The signature of an image, 72 bytes, and the limits for the distance of two copies.

phash (64 bits of a grey 32x32 image) is small enough to search a billion images, but too coarse to decide: it joins a
red and a blue mug, and two quotes on one card. phash256 distinguishes the cards, chroma4 the mugs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

PHASH_BITS = 64
DEGENERATE_BITS = 4  # set or not set: a hash with at most so many does not distinguish images
DEGENERATE_MARGIN = 1e-6  # of phash_margin: below it, rounding decides bits
"""Both: JohannesBuchner/imagehash#134, qarmin/czkawka#2059."""
OCTETS = 32  # of phash256, and of chroma4
SIGNATURE_COLUMNS = ("phash", "phash256", "chroma4")


class CopyLimits(NamedTuple):
    """Two images are copies if all three limits are met."""

    phash: int  # bits of 64 in which they differ, at most
    phash256: int  # bits of 256
    chroma: int  # levels of 255, at the worst of 16 means of Cb and 16 of Cr


class Signatures(NamedTuple):
    """The signatures of N images."""

    phash: npt.NDArray[np.uint64]  # [N]
    phash256: npt.NDArray[np.uint64]  # [N, 4]
    chroma4: npt.NDArray[np.uint8]  # [N, 32]: 4x4 means of Cb, then of Cr, row by row

    def each(self, change: Callable[[Any], Any]) -> Signatures:
        """``change`` applied to each array."""
        return Signatures(change(self.phash), change(self.phash256), change(self.chroma4))


def room_for(count: int) -> Signatures:
    """``count`` signatures of zeros."""
    return Signatures(np.zeros(count, np.uint64), np.zeros((count, 4), np.uint64), np.zeros((count, OCTETS), np.uint8))


def signatures_of(rows: pa.RecordBatch | pa.Table) -> Signatures:
    """From the columns SIGNATURE_COLUMNS; a null becomes zeros. Arrays are copied: kernels need one memory layout."""
    phash = _whole(rows, "phash").fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64).copy()
    phash256, chroma4 = (_octets(_whole(rows, name)).copy() for name in SIGNATURE_COLUMNS[1:])
    return Signatures(phash, phash256.view(np.uint64), chroma4)


def _octets(column: pa.Array) -> npt.NDArray[np.uint8]:
    """[N, 32] of binary values of 32 bytes; ArrowInvalid for others."""
    fixed = column.fill_null(bytes(OCTETS)).cast(pa.binary(OCTETS))
    return np.frombuffer(fixed.buffers()[1], np.uint8).reshape(-1, OCTETS)[fixed.offset :][: len(fixed)]


def _whole(rows: pa.RecordBatch | pa.Table, name: str) -> pa.Array:
    column = rows.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def telling(phash: pa.Array | pa.ChunkedArray, phash_margin: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Which hashes distinguish their images, [N] bool: those that are neither null nor degenerate."""
    bits: npt.NDArray[np.uint8] = np.bitwise_count(phash.fill_null(0).to_numpy().view(np.uint64))
    margin: npt.NDArray[np.float64] = phash_margin.fill_null(0).to_numpy()
    return (bits > DEGENERATE_BITS) & (bits < PHASH_BITS - DEGENERATE_BITS) & (margin >= DEGENERATE_MARGIN)
