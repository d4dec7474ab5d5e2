"""img2dataset's own resizer, for people who want its exact pixels (`fetch.engine: img2dataset`).

Left alone with bytes (img2dataset 1.47) it ignores EXIF turns while it drops the tag, ignores colour profiles while it
drops them, clips 16-bit grey to two levels, and points stdout and stderr of the whole process at /dev/null while it
works. So it gets upright 8-bit sRGB from us, uncompressed (PPM), and its hands off the streams.
"""

from __future__ import annotations

import contextlib
import io
import os
from functools import cache
from typing import Any

from PIL import Image

from pipeline.vision.reasons import ImageReason, ImageRefused
from pipeline.vision.settings import ImageSettings


def jpeg_of(picture: Image.Image, settings: ImageSettings) -> bytes:
    """A JPEG of ``picture`` (RGB) as img2dataset stores it; ImageRefused where it fails."""
    ppm = b"P6 %d %d 255\n" % picture.size + picture.tobytes()  # OpenCV reads it without decompressing anything
    data: bytes
    data, _, _, _, _, error = _resizer(settings)(io.BytesIO(ppm))
    if error is not None:
        raise ImageRefused(ImageReason.DECODE_FAILED, f"resize: {error}"[:200])
    return data


@cache
def _resizer(settings: ImageSettings) -> Any:
    """One per process. Imported here alone, where albumentations may not ask a registry for its newest version."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    from img2dataset import resizer

    resizer.SuppressStdoutStderr = contextlib.nullcontext  # never swap the process's own streams
    return resizer.Resizer(
        image_size=settings.size,
        resize_mode=settings.mode,
        resize_only_if_bigger=not settings.enlarge,
        encode_quality=settings.quality,
        encode_format="jpg",
        skip_reencode=True,
    )
