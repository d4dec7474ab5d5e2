"""JPEG by libjpeg-turbo with no round trips: the pixels that Pillow gives, in less time.

simplejpeg (MIT) is a thin layer on the library that Pillow and OpenCV are built with too; all three give equal pixels.
Pillow takes a fifth longer for a 500-pixel photograph and a third longer for a stored image, all of it copying.
Whatever the library has any doubt about is left to Pillow, whose word counts: `decoded` says None.
"""

from __future__ import annotations

import numpy as np
import simplejpeg

from pipeline.vision.kernels import Bytes, Pixels

_COLOUR_SPACES = ("YCbCr", "RGB", "Gray")  # CMYK and YCCK are Pillow's


def decoded(data: bytes, reduction: int = 1) -> Pixels | None:
    """The pixels of a sound JPEG [H, W] (pipeline.vision.kernels); None for any other bytes.

    ``reduction``: 1, 2, 4 or 8; each side comes out ceil(side / reduction) long, scaled while the cosine transform is
    undone.
    """
    try:
        height, width, colour_space, _ = simplejpeg.decode_jpeg_header(data)
        if colour_space not in _COLOUR_SPACES:
            return None
        wanted = {"min_height": -(-height // reduction), "min_width": -(-width // reduction)} if reduction > 1 else {}
        rgbx: Bytes = simplejpeg.decode_jpeg(data, "RGBX", min_factor=reduction, **wanted)
    except ValueError:  # no JPEG, or one with something wrong in it
        return None
    return rgbx.view(np.uint32)[:, :, 0]


def encoded(pixels: Pixels, quality: int) -> bytes:
    """A baseline JPEG of ``pixels`` [H, W] with half the chroma, as OpenCV and Pillow write them."""
    pixels = np.ascontiguousarray(pixels)
    data: bytes = simplejpeg.encode_jpeg(pixels.view(np.uint8).reshape(*pixels.shape, 4), quality, "RGBX", "420")
    return data
