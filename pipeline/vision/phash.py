"""The perceptual hash: imagehash.phash, bit for bit, of many images at a time.

32x32 grey, cosine transform, the 8x8 lowest frequencies against their median (Krawetz, "Looks like it", 2011; with
hash_size 16: 64x64 and 16x16). What must be equal for equal bits even of blank images, where rounding errors decide:
Pillow's grey and its Lanczos (pipeline.vision.resample), and the transform of scipy.fftpack along one axis after the
other. A matrix product in its place gives other bits. The time is in grey and Lanczos, and there it is saved.

In tables the 64 bits are a signed integer (Spark reads Parquet's uint64 as a decimal), in JSON and reports 16 hex
digits.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.fftpack
from PIL import Image

from pipeline.vision import jpeg
from pipeline.vision.kernels import Bytes
from pipeline.vision.levels import grey_of
from pipeline.vision.reasons import ImageRefused
from pipeline.vision.resample import lanczos, resized

_MASK = 2**64 - 1
_OVERSAMPLING = 4  # imagehash's highfreq_factor: side of the grey image over side of the hash
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
_BATCH = 1024


class Hashes(NamedTuple):
    """``phash``: 64 bits as a signed integer. ``phash_margin``: least distance of one of its coefficients from their
    median; of an image that says nothing (one colour, equal halves) it is 0, and rounding errors make the hash.
    ``phash256``: the same with hash_size 16, 32 bytes."""

    phash: int
    phash_margin: float
    phash256: bytes


def phash(images: Iterable[Image.Image | bytes]) -> npt.NDArray[np.uint64]:
    """imagehash.phash of each image [N]. Bytes are read as Pillow reads them; OSError, also for a cut-off JPEG."""
    small, found = (resized(_grey(image), 32, 32, lanczos) for image in images), [np.empty(0, np.uint64)]
    while batch := list(islice(small, _BATCH)):
        above, _ = _against_median(np.stack(batch))
        found.append(np.packbits(above, axis=1).view(">u8").astype(np.uint64)[:, 0])
    return np.concatenate(found)


def phash_of(image: Image.Image | bytes) -> int:
    """The phash of one image as tables have it: signed, the first bit is the sign."""
    return int(phash([image]).view(np.int64)[0])


def hashes_of(grey: Bytes) -> Hashes:
    """Both hashes of a grey image [H, W]."""
    grey = np.asfortranarray(grey)  # turned once for both: most pictures are resized columns first
    above, distance = _against_median(resized(grey, 32, 32, lanczos)[None])
    above256, _ = _against_median(resized(grey, 64, 64, lanczos)[None])
    bits = np.packbits(above).tobytes()
    return Hashes(int.from_bytes(bits, "big", signed=True), float(distance.min()), np.packbits(above256).tobytes())


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


def _against_median(grey: Bytes) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Of each small image [N, side, side]: which low frequencies lie above their median, and how far from it."""
    side = grey.shape[1] // _OVERSAMPLING
    columns = scipy.fftpack.dct(grey, axis=1)[:, :side]
    low = scipy.fftpack.dct(columns, axis=2)[:, :, :side].reshape(len(grey), -1)
    middle = low.shape[1] // 2
    two = np.partition(low, (middle - 1, middle), axis=1)[:, middle - 1 : middle + 1]
    median = (two[:, :1] + two[:, 1:]) / 2  # numpy.median, without what it does around it
    return low > median, np.abs(low - median)


def _grey(image: Image.Image | bytes) -> Bytes:
    """Pillow's convert("L") [H, W]."""
    if isinstance(image, bytes):
        try:
            pixels = jpeg.decoded(image)
        except ImageRefused as refused:
            raise OSError(f"{refused.reason}: {refused.detail}") from refused
        if pixels is not None:
            return grey_of(pixels)
        image = Image.open(io.BytesIO(image), formats=_FORMATS)
    return np.asarray(image.convert("L"))
