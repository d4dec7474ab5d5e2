"""From bytes to an upright image in sRGB on white, as a browser would show it (docs/faults.md, F29 to F40).

Only the first frame is decoded. A cut-off file is refused, never grey-filled: Pillow's tolerant loading stays off, it
is process-wide. The readers are libjpeg-turbo, libpng, libwebp and Pillow's own GIF reader, under the limits of
guard.py. They run in the calling process: stage fetch calls them in a child that may die (child.py).
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms
from PIL.Image import Transpose

from pipeline.vision import jpeg
from pipeline.vision.png import require_all_rows
from pipeline.vision.reasons import ImageRefused
from pipeline.vision.untrusted import LARGEST_PROFILE, Header, open_picture, refusal
from pipeline.vision.webp import require_no_padding

_ORIENTATION = 0x0112
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation (CIPA DC-008, 4.6.4 A); 1 is upright, any other value is ignored."""

_SRGB = ImageCms.createProfile("sRGB")
_SRGB_NAMES = ("sRGB", "c2")  # c2: Facebook's tiny sRGB profile

MAX_TRANSFORMS = 64
MAX_TRANSFORM_BYTES = 16 << 20  # of their profiles: what is held for images before must not cost those after
_transforms: OrderedDict[tuple[bytes, str], tuple[int, ImageCms.ImageCmsTransform | None]] = OrderedDict()
"""The last ones used, with the sizes of their profiles: most photographs have one of a few."""


class Decoded(NamedTuple):
    """``picture`` is RGB. ``plain``: any reader of the bytes sees it just so (no turn, no profile, no alpha)."""

    picture: Image.Image
    plain: bool


def decode(data: bytes, header: Header) -> Decoded:
    """The whole image, decoded to its last row; ImageRefused where that fails."""
    try:
        picture = _loaded(data, header)
        coloured = _in_srgb(picture)
        upright = turned(coloured, orientation_of(picture.info.get("exif")))
        plain = upright is picture and picture.mode in ("RGB", "L")
        return Decoded(_on_white(upright), plain)
    except ImageRefused:
        raise
    except Exception as error:  # F29: one bad image never costs another, whatever its decoder raises
        raise refusal(error, data, header.format) from error


def _loaded(data: bytes, header: Header) -> Image.Image:
    """The pixels as they are in the file, with ``info`` of its header. Pillow decodes what libjpeg warns of, so a JPEG
    is decoded, or at least judged, by pipeline.vision.jpeg."""
    picture = header.picture or open_picture(data, header.format)
    if header.format == "jpeg":
        pixels = jpeg.decoded(data) if picture.mode == "RGB" else None
        if pixels is not None:
            loaded = Image.frombuffer("RGB", picture.size, pixels, "raw", "RGBX", 0, 1)
            loaded.info = picture.info
            return loaded
        if (closed := jpeg.whole(data)) is not data:
            picture = open_picture(closed, header.format)
    picture.load()
    if header.format == "png":
        require_all_rows(data, picture)
    elif header.format == "webp":
        require_no_padding(data)
    return picture


def orientation_of(exif: bytes | None) -> int:
    """The EXIF orientation; 1 where it is missing or not readable."""
    if not exif:
        return 1
    tags = Image.Exif()
    try:
        tags.load(exif)
        value = tags.get(_ORIENTATION)
    except Exception:  # broken EXIF is ignored, the image kept (F35)
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """Upright; itself where it is so already."""
    turn = _TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def is_sideways(orientation: int) -> bool:
    """Whether width and height change places when the image is turned."""
    return orientation >= 5


def _in_srgb(picture: Image.Image) -> Image.Image:
    """The same image with 8 bits per channel and its colour profile applied; itself where there is nothing to do."""
    if picture.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion has clipped instead of scaled
        picture = Image.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8))
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    to_srgb = to_srgb_transform(profile, picture.mode)
    return picture if to_srgb is None else in_colours(picture, to_srgb)


def to_srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from ``profile`` to sRGB; None for sRGB itself and for a profile that is broken, of other channels or
    larger than any printer's (F29)."""
    if len(profile) > LARGEST_PROFILE:
        return None
    key = hashlib.sha256(profile).digest(), mode
    if key in _transforms:
        _transforms.move_to_end(key)
        return _transforms[key][1]
    transform = _transform(profile, mode)
    _transforms[key] = len(profile), transform
    while len(_transforms) > MAX_TRANSFORMS or sum(size for size, _ in _transforms.values()) > MAX_TRANSFORM_BYTES:
        _transforms.popitem(last=False)
    return transform


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode != "CMYK" and ImageCms.getProfileDescription(source).startswith(_SRGB_NAMES):
            return None
        return ImageCms.buildTransform(source, _SRGB, mode, "RGBA" if mode == "RGBA" else "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def in_colours(picture: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """A new picture with ``transform`` applied."""
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None  # it is None only for pictures changed in place
    return converted


def _on_white(picture: Image.Image) -> Image.Image:
    """RGB; what is transparent is blended with white (F37). CMYK: Pillow reads the inks as inverted, as browsers do."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
