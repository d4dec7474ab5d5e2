"""The stored image: one decode, one resize, one JPEG.

Smaller by area, larger by Lanczos, as img2dataset does it; a JPEG that needs neither is stored untouched. Where the
image becomes at least HALVED_FROM times smaller, the JPEG is decoded at half size. Measured against full decode and
OpenCV's INTER_AREA on the photographs of photos.tar (benchmarks/phash.py): from there on 95 % of them have 35 dB or
more; at twice it would be 32 dB, so there it is not done.

The image is turned (EXIF) and converted to sRGB when it is small, for the price of few pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from pipeline.vision import jpeg
from pipeline.vision.blur import blur
from pipeline.vision.decode import decode, in_colours, is_sideways, orientation_of, to_srgb_transform, turned
from pipeline.vision.kernels import Pixels
from pipeline.vision.reasons import ImageReason, ImageRefused
from pipeline.vision.resample import area, lanczos, resized, resized_half
from pipeline.vision.settings import ImageSettings
from pipeline.vision.untrusted import Header, open_picture

HALVED_FROM = 2.75  # reduction
WHITE = 0xFFFFFFFF

Size = tuple[int, int]  # (width, height), pixels


class Stored(NamedTuple):
    """A JPEG, and the pixels [H, W] that it decodes to."""

    data: bytes
    pixels: Pixels


class Sizes(NamedTuple):
    """Size of the resized image, and of what it is cut or padded to: the same but for center_crop and border."""

    resized: Size
    framed: Size


def store(data: bytes, header: Header, settings: ImageSettings, boxes: Sequence[float] = ()) -> Stored:
    """``data`` itself where it is a plain JPEG of a fitting size (without what stops decoders, with the mark of its
    end), else a JPEG; ImageRefused where decoding fails.

    ``boxes`` are those of the upright image; what is in them is blurred (pipeline.vision.blur).
    """
    if header.format == "jpeg" and not boxes and (stored := _store_jpeg(data, header, settings)):
        return stored
    picture, plain = decode(data, header)
    blur(picture, boxes)
    sizes = sizes_of(picture.size, settings)
    if header.format == "jpeg" and plain and sizes.framed == picture.size and not boxes:
        return Stored(jpeg.whole(data), _pixels_of(picture))
    if settings.resizer == "img2dataset":
        from pipeline.vision.img2dataset import jpeg_of  # seconds and 250 MB, for those who ask for it

        return _stored(jpeg_of(picture, settings))
    small = _resized(_pixels_of(picture), sizes.resized)
    return _stored(jpeg.encoded(_framed(small, sizes.framed), settings.quality))


def sizes_of(size: Size, settings: ImageSettings) -> Sizes:
    """What becomes of an image of ``size``, as img2dataset has it: small ones stay as they are without ``enlarge``."""
    side = max(size) if settings.mode in ("keep_ratio_largest", "border") else min(size)
    if settings.mode == "no" or (side <= settings.size and not settings.enlarge):
        return Sizes(size, size)
    scale = settings.size / side
    new_size = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    squared = settings.mode in ("center_crop", "border")
    return Sizes(new_size, (settings.size, settings.size) if squared else new_size)


def _store_jpeg(data: bytes, header: Header, settings: ImageSettings) -> Stored | None:
    """The stored image of a JPEG without doubts; None where Pillow is to decide, or img2dataset to resize."""
    picture = header.picture or open_picture(data, header.format)
    orientation, profile = orientation_of(picture.info.get("exif")), picture.info.get("icc_profile")
    to_srgb = to_srgb_transform(profile, picture.mode) if profile else None
    if picture.mode not in ("RGB", "L") or (to_srgb and picture.mode == "L"):
        return None
    plain, sideways = orientation == 1 and not to_srgb, is_sideways(orientation)
    upright = picture.size[::-1] if sideways else picture.size
    sizes = sizes_of(upright, settings)
    if plain and sizes.framed == upright:
        whole = jpeg.read(data)
        return Stored(whole.data, whole.pixels) if whole else None
    halved = min(upright) >= HALVED_FROM * min(sizes.resized)
    pixels = jpeg.decoded(data, 2 if halved else 1) if settings.resizer == "native" else None
    if pixels is None:
        return None
    size = sizes.resized[::-1] if sideways else sizes.resized
    small = resized_half(pixels, picture.size, *size) if halved else _resized(pixels, size)
    if not plain:
        small = _pixels_of(turned(_converted(small, to_srgb), orientation))
    return _stored(jpeg.encoded(_framed(small, sizes.framed), settings.quality))


def _resized(pixels: Pixels, size: Size) -> Pixels:
    """``pixels`` [H, W] in another size: by area where it is smaller, by Lanczos where it is larger."""
    return resized(pixels, *size, area if size[0] * size[1] < pixels.size else lanczos)


def _framed(pixels: Pixels, frame: Size) -> Pixels:
    """The middle of ``pixels``, or ``pixels`` in the middle of white."""
    width, height = frame
    top, left = (len(pixels) - height) // 2, (pixels.shape[1] - width) // 2
    cut = pixels[max(top, 0) : max(top, 0) + height, max(left, 0) : max(left, 0) + width]
    if cut.shape == (height, width):
        return cut
    white = np.full((height, width), WHITE, np.uint32)
    top, left = (height - len(cut)) // 2, (width - cut.shape[1]) // 2
    white[top : top + len(cut), left : left + cut.shape[1]] = cut
    return white


def _stored(data: bytes) -> Stored:
    """A JPEG of ours, decoded again: what is measured is what others will see."""
    pixels = jpeg.decoded(data)
    if pixels is None:
        raise ImageRefused(ImageReason.DECODE_FAILED, "the stored picture does not decode")
    return Stored(data, pixels)


def _converted(pixels: Pixels, to_srgb: ImageCms.ImageCmsTransform | None) -> Image.Image:
    """``pixels`` [H, W] as an image in sRGB."""
    picture = Image.frombytes("RGB", pixels.shape[::-1], np.ascontiguousarray(pixels).tobytes(), "raw", "RGBX")
    return in_colours(picture, to_srgb) if to_srgb else picture


def _pixels_of(picture: Image.Image) -> Pixels:
    """An RGB image as [H, W]."""
    return np.frombuffer(bytearray(picture.tobytes("raw", "RGBX")), np.uint32).reshape(picture.height, picture.width)
