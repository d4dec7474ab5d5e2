"""JPEG by libjpeg-turbo with no round trips: the pixels that Pillow gives, in less time.

simplejpeg (MIT) is a thin layer on the library that Pillow and OpenCV are built with too; all three give equal pixels.
Pillow takes a fifth longer for a 500-pixel photograph and a third longer for a stored image, all of it copying.

The library never fails for want of data: it fills the rest with grey, or leaves an image of several scans blurred,
and warns at best. Here an image counts only if every row was decoded from data (docs/faults.md, F30, F51 to F53).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import simplejpeg

from pipeline.vision.jpeg_parts import closed, is_complete, parts_of, without_filling
from pipeline.vision.kernels import Bytes, Pixels
from pipeline.vision.reasons import ImageReason, ImageRefused

__all__ = ["decoded", "encoded", "read", "whole"]

_COLOUR_SPACES = ("YCbCr", "RGB", "Gray")  # CMYK and YCCK are Pillow's

# Texts of libjpeg (jerror.h), whose numbers no binding passes on.
_SURPLUS_AT_END = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_READ_AHEAD_BYTES = 8  # of libjpeg-turbo's Huffman decoder
_LOST = re.compile("Corrupt JPEG data|Inconsistent progression|Premature end")
_CUT_AT_RESTART = "found marker 0xd9 instead of RST"


class Read(NamedTuple):
    """A whole JPEG: its pixels [H, W], and bytes that any decoder reads without a doubt: as given if there is none."""

    pixels: Pixels
    data: bytes


def decoded(data: bytes, reduction: int = 1) -> Pixels | None:
    """The pixels of a whole JPEG [H, W] (pipeline.vision.kernels); None for any other bytes, which Pillow may judge.

    ``reduction``: 1, 2, 4 or 8; each side comes out ceil(side / reduction) long, scaled while the cosine transform is
    undone. Raises ImageRefused for a JPEG whose data do not reach its last row.
    """
    found = read(data, reduction)
    return found.pixels if found else None


def read(data: bytes, reduction: int = 1) -> Read | None:
    """`decoded`, with bytes to keep."""
    _refuse_filled(data)
    try:
        pixels = _pixels(data, reduction, strict=True)
    except ValueError:  # no JPEG, or one with something wrong in it
        sound = _sound(data)
        pixels = None if sound is None else _pixels(sound, reduction, strict=True)
        return None if sound is None or pixels is None else Read(pixels, _least_changed(data, sound))
    if pixels is None:
        return None
    if not is_complete(data):
        raise _refused_blurred()
    return Read(pixels, closed(data))


def whole(data: bytes) -> bytes:
    """A JPEG for Pillow, which does not hear warnings, and stops at some. Raises ImageRefused."""
    _refuse_filled(data)
    if _warning(data):
        sound = _sound(data)
        return data if sound is None else _least_changed(data, sound)
    if not is_complete(data):
        raise _refused_blurred()
    return closed(data)


def _least_changed(data: bytes, sound: bytes) -> bytes:
    """``data`` with the mark of its end if nothing else was wrong, else ``sound``."""
    ended = closed(data)
    return sound if _warning(ended) else ended


def encoded(pixels: Pixels, quality: int) -> bytes:
    """A baseline JPEG of ``pixels`` [H, W] with half the chroma, as OpenCV and Pillow write them."""
    pixels = np.ascontiguousarray(pixels)
    data: bytes = simplejpeg.encode_jpeg(pixels.view(np.uint8).reshape(*pixels.shape, 4), quality, "RGBX", "420")
    return data


def _pixels(data: bytes, reduction: int, strict: bool) -> Pixels | None:
    """None for the colour spaces that are Pillow's; ValueError where libjpeg fails or, if ``strict``, warns."""
    height, width, colour_space, _ = simplejpeg.decode_jpeg_header(data, strict=strict)
    if colour_space not in _COLOUR_SPACES:
        return None
    wanted = {"min_height": -(-height // reduction), "min_width": -(-width // reduction)} if reduction > 1 else {}
    rgbx: Bytes = simplejpeg.decode_jpeg(data, "RGBX", min_factor=reduction, strict=strict, **wanted)
    return rgbx.view(np.uint32)[:, :, 0]


def _sound(data: bytes) -> bytes | None:
    """What decodes to the image that ``data`` holds, without loss; None where libjpeg fails for another cause.

    Raises ImageRefused where it warns that data are missing or do not decode.
    """
    parts = parts_of(data)
    warning = _warning(parts.joined())
    if _SURPLUS_AT_END.search(warning):  # are zeros that fill up a cut file taken for pixels?
        parts.cut_last_scan(parts.zeros_at_end())
        warning = _warning(parts.joined())
    for _ in range(_READ_AHEAD_BYTES):  # without the surplus, is all there? What was read ahead shows only then
        if not (surplus := _SURPLUS_AT_END.search(warning)):
            break
        parts.cut_last_scan(int(surplus[1]))
        warning = _warning(parts.joined())
    if _LOST.search(warning):
        reason = ImageReason.TRUNCATED_IMAGE if _is_cut(warning) else ImageReason.DECODE_FAILED
        raise ImageRefused(reason, f"jpeg: {warning}")
    if warning:
        return None
    if not parts.is_complete:
        raise _refused_blurred()
    return parts.joined()


def _warning(data: bytes) -> str:
    """What libjpeg says first when it decodes ``data``, an error or a warning; empty if it says nothing."""
    try:
        colour_space = simplejpeg.decode_jpeg_header(data)[2]
        simplejpeg.decode_jpeg(data, "GRAY" if colour_space in _COLOUR_SPACES else "CMYK")
    except ValueError as error:
        return str(error)[:150] or "not decoded"
    return ""


def _is_cut(warning: str) -> bool:
    return "remature end" in warning or _CUT_AT_RESTART in warning


def _refuse_filled(data: bytes) -> None:
    without = without_filling(data)
    if without is not None and _is_cut(_warning(without)):
        raise ImageRefused(ImageReason.TRUNCATED_IMAGE, "jpeg: zeros stand in place of its data")


def _refused_blurred() -> ImageRefused:
    return ImageRefused(ImageReason.TRUNCATED_IMAGE, "jpeg: ends before its last scan")
