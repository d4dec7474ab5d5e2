"""The perceptual hash of a picture, and how much there is to see in it.

imagehash.phash is the reference: 32x32 grey, cosine transform, the 8x8 lowest frequencies against their median. In
tables the 64 bits are a signed integer (Spark reads Parquet's uint64 as a decimal), in JSON and reports 16 hex digits.
"""

from __future__ import annotations

import imagehash
import numpy as np
from PIL import Image, ImageStat

_MASK = 2**64 - 1


def phash(picture: Image.Image) -> int:
    """imagehash.phash of ``picture`` as a signed 64-bit integer; its first bit is the sign."""
    return int.from_bytes(np.packbits(imagehash.phash(picture).hash).tobytes(), "big", signed=True)


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
