"""The perceptual hash of a picture, and how much there is to see in it.

imagehash.phash is the reference: 32x32 grey, cosine transform, the 8x8 lowest frequencies against their median. In
tables the 64 bits are a signed integer (Spark reads Parquet's uint64 as a decimal), in JSON and reports 16 hex digits.
"""

from __future__ import annotations

import imagehash
import numpy as np
import scipy.fftpack
from PIL import Image, ImageStat

_MASK = 2**64 - 1


def phash(picture: Image.Image) -> int:
    """imagehash.phash of ``picture`` as a signed 64-bit integer; its first bit is the sign."""
    return int.from_bytes(np.packbits(imagehash.phash(picture).hash).tobytes(), "big", signed=True)


def phash_margin(picture: Image.Image) -> float:
    """Least distance of a coefficient behind phash from their median.

    Of a picture that says nothing (one colour, equal halves) rounding errors decide, and the hash with them.
    """
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS))
    low = scipy.fftpack.dct(scipy.fftpack.dct(grey, axis=0), axis=1)[:8, :8]
    return float(np.abs(low - np.median(low)).min())


def phash256(picture: Image.Image) -> bytes:
    """imagehash.phash of ``picture`` with 256 bits (64x64 grey, 16x16 frequencies), as 32 bytes."""
    return np.packbits(imagehash.phash(picture, hash_size=16).hash).tobytes()


def chroma4(picture: Image.Image) -> bytes:
    """Means of Cb, then of Cr, over a 4x4 grid, row by row: 32 bytes. What grey hashes cannot see: the colours."""
    _, cb, cr = picture.convert("YCbCr").resize((4, 4), Image.Resampling.BOX).split()
    return cb.tobytes() + cr.tobytes()


def to_hex(value: int) -> str:
    """16 hex digits, as str(imagehash.phash(...)) writes them.

    >>> to_hex(-1), to_hex(1)
    ('ffffffffffffffff', '0000000000000001')
    """
    return f"{value & _MASK:016x}"


def from_hex(digits: str) -> int:
    """The inverse of to_hex; ValueError for anything but 16 hex digits."""
    if len(digits) != 16:
        raise ValueError(f"a phash has 16 hex digits, not {len(digits)}: {digits!r}")
    return int.from_bytes(bytes.fromhex(digits), "big", signed=True)


def spread(picture: Image.Image) -> float:
    """Largest standard deviation of a channel, in levels of 255; 0 for one colour (docs/faults.md, F38)."""
    return max(ImageStat.Stat(picture).stddev)
