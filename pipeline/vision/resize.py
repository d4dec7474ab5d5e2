"""The stored picture: img2dataset's Resizer on a picture that Pillow has decoded.

The Resizer is what LAION's pictures went through. Left alone with bytes (img2dataset 1.47) it ignores EXIF turns
while it drops the tag, ignores colour profiles while it drops them, clips 16-bit grey to two levels, and points stdout
and stderr of the whole process at /dev/null while it works, so that two threads can leave them there for good. So it
gets upright 8-bit sRGB from us, uncompressed (PPM), and its hands off the streams; a JPEG that is already small enough
never reaches it: its bytes are stored untouched.
"""

from __future__ import annotations

import contextlib
import io
import os
from functools import cache
from typing import Any, Literal, NamedTuple

from PIL import Image

from pipeline.vision.decode import Decoded
from pipeline.vision.guard import Header
from pipeline.vision.reasons import ImageReason, ImageRefused

ResizeMode = Literal["keep_ratio_largest", "keep_ratio", "center_crop", "border", "no"]
"""img2dataset's modes. The longest (keep_ratio_largest, border) or shortest side (keep_ratio, center_crop) becomes
``size``; border pads to a square with white, center_crop cuts one out. Nothing is ever enlarged."""


class Stored(NamedTuple):
    """A JPEG, its size in pixels, and the picture that its bytes decode to where that is known already."""

    data: bytes
    width: int
    height: int
    picture: Image.Image | None


def store(data: bytes, header: Header, decoded: Decoded, size: int, mode: ResizeMode, quality: int) -> Stored:
    """``data`` itself where it is a plain JPEG that needs no resizing, else a JPEG of ``quality`` (0-100)."""
    picture = decoded.picture
    if header.format == "jpeg" and decoded.plain and _fits(picture, size, mode):
        return Stored(data, *picture.size, picture)
    jpeg, width, height, _, _, error = _resizer(size, mode, quality)(io.BytesIO(_ppm(picture)))
    if error is not None:
        raise ImageRefused(ImageReason.DECODE_FAILED, f"resize: {error}"[:200])
    return Stored(jpeg, width, height, None)


def _fits(picture: Image.Image, size: int, mode: ResizeMode) -> bool:
    if mode == "no":
        return True
    return (max(picture.size) if mode in ("keep_ratio_largest", "border") else min(picture.size)) <= size


def _ppm(picture: Image.Image) -> bytes:
    """RGB as a netpbm file, which OpenCV reads without decompressing anything."""
    return b"P6 %d %d 255\n" % picture.size + picture.tobytes()


@cache
def _resizer(size: int, mode: ResizeMode, quality: int) -> Any:
    """One a process. The import takes 5 s and 250 MB, and is done here alone, where albumentations may not ask a
    registry for its newest version.
    """
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    from img2dataset import resizer

    resizer.SuppressStdoutStderr = contextlib.nullcontext  # never swap the process's own streams under other threads
    return resizer.Resizer(
        image_size=size,
        resize_mode=mode,
        resize_only_if_bigger=True,
        encode_quality=quality,
        encode_format="jpg",
        skip_reencode=True,
    )
