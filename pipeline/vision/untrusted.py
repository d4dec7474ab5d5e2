"""What untrusted bytes claim to be, judged before any pixel is decoded (docs/faults.md, F24-F29).

The first bytes decide, not the header of the answer, not the extension. Only Pillow's JPEG, PNG, WebP and GIF readers
are ever called, on demand its AVIF reader, each by name: nothing is sniffed by a plugin, SVG is never rendered, no
outside program is started.
Width and height come from the file's header, so an image of 44 kB that would unpack to a gigabyte costs nothing.
"""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass, field

from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pipeline.vision.reasons import ImageReason, ImageRefused
from pipeline.vision.settings import Limits

__all__ = ["Header", "Limits", "inspect", "open_picture", "refusal"]

_READERS: dict[str, type[ImageFile]] = {
    "jpeg": JpegImageFile,  # named directly it reads the first image of an MPO and never its index
    "png": PngImageFile,
    "webp": WebPImageFile,
    "gif": GifImageFile,
    "avif": AvifImageFile,
}

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_MAGIC = (
    ("jpeg", re.compile(rb"\xff\xd8\xff")),
    ("png", re.compile(re.escape(_PNG_SIGNATURE))),
    ("webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("gif", re.compile(rb"GIF8[79]a")),
    ("avif", re.compile(rb"....ftypavi[fs]", re.DOTALL)),
    ("heic", re.compile(rb"....ftyp(?:hei|hev|mif|msf)", re.DOTALL)),
    ("tiff", re.compile(rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]")),
    ("bmp", re.compile(rb"BM.{8}....[\x0c-\x7c]\0\0\0", re.DOTALL)),
    ("ico", re.compile(rb"\0\0[\x01\x02]\0[^\0]\0")),
    ("psd", re.compile(rb"8BPS")),
    ("pdf", re.compile(rb"%PDF-")),
    ("eps", re.compile(rb"%!PS|\xc5\xd0\xd3\xc6")),
    ("wmf", re.compile(rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", re.DOTALL)),
    ("jpeg2000", re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51")),
    ("jpegxl", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL ")),
    ("svg", re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--[^>]*>\s*|<!DOCTYPE svg[^>]*>\s*)*<svg[\s>]")),
)


@dataclass(frozen=True)
class Header:
    """What the first bytes say; width and height in pixels, before any EXIF turn. ``picture``: the reader, not yet
    asked for pixels."""

    format: str
    width: int
    height: int
    animated: bool
    picture: ImageFile | None = field(default=None, compare=False, repr=False)


def inspect(data: bytes, limits: Limits) -> Header:
    """The header of an allowed image within ``limits``; ImageRefused for everything else."""
    format_ = _format_of(data)
    if format_ not in _READERS or (format_ == "avif" and not limits.avif):
        raise ImageRefused(ImageReason.FORMAT_NOT_ALLOWED, format_)
    picture = open_picture(data, format_)
    width, height = picture.size
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise ImageRefused(ImageReason.TOO_MANY_PIXELS, f"{width}x{height}")
    if min(width, height) < 1:
        raise ImageRefused(ImageReason.DECODE_FAILED, f"{format_}: {width}x{height} pixels")
    return Header(format_, width, height, _is_animated(picture), picture)


def open_picture(data: bytes, format_: str) -> ImageFile:
    """Pillow's image with its header read and nothing decoded; ImageRefused where even the header is broken."""
    if format_ == "png":
        data = _without_text(data)
    try:
        return _READERS[format_](io.BytesIO(data))
    except Exception as error:
        raise refusal(error, data, format_) from error


def refusal(error: Exception, data: bytes, format_: str) -> ImageRefused:
    """The verdict on what a decoder raised (F29: anything from ValueError to MemoryError, not only OSError).

    A file whose end is missing is cut off, and so is one whose reader ran out of data before the mark of its end;
    everything else is broken.
    """
    is_cut = _is_cut_off(data, format_) or "truncated" in str(error)
    reason = ImageReason.TRUNCATED_IMAGE if is_cut else ImageReason.DECODE_FAILED
    return ImageRefused(reason, f"{format_}: {type(error).__name__}: {error}"[:200])


def _format_of(data: bytes) -> str:
    if not data:
        raise ImageRefused(ImageReason.EMPTY_BODY, "0 bytes")
    head = data[:1024]
    format_ = next((name for name, magic in _MAGIC if magic.match(head)), None)
    if format_ is None:
        raise ImageRefused(ImageReason.NOT_AN_IMAGE, f"begins with {head[:16]!r}")
    return format_


def _is_animated(picture: ImageFile) -> bool:
    """Whether there is a second frame. Reads its header at most: counting frames would read the whole file."""
    try:
        return bool(getattr(picture, "is_animated", False))
    except Exception:  # the second frame is broken; the first one is what we take
        return True


def _is_cut_off(data: bytes, format_: str) -> bool:
    """Whether the mark that ends a file of this format is missing; AVIF has none."""
    if format_ == "avif":
        return False
    if format_ == "webp":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if format_ == "png":
        return b"IEND" not in data[-64:]
    if format_ == "jpeg":
        return not data.rstrip(b"\0").endswith(b"\xff\xd9")
    return not data.rstrip(b"\0").endswith(b";")


_TEXT_CHUNKS = {b"tEXt", b"zTXt", b"iTXt"}
LARGEST_PROFILE = 4 * 2**20  # bytes unpacked, in any format; the largest printers' profiles are about 2 MB


def _without_text(png: bytes) -> bytes:
    """``png`` without its text chunks and without a colour profile that is broken or unpacks to too much (F29).

    Pillow would unpack them all and refuse the image for the sum.
    """
    if not any(chunk in png for chunk in (*_TEXT_CHUNKS, b"iCCP")):
        return png
    kept = [_PNG_SIGNATURE]
    position = len(_PNG_SIGNATURE)
    while position < len(png):
        length = int.from_bytes(png[position : position + 4], "big")
        kind = png[position + 4 : position + 8]
        end = position + 12 + length
        if kind == b"IDAT":
            kept.append(png[position:])
            break
        if kind not in _TEXT_CHUNKS and (kind != b"iCCP" or _is_sound_profile(png[position + 8 : end - 4])):
            kept.append(png[position:end])
        position = end
    return b"".join(kept)


def _is_sound_profile(chunk: bytes) -> bool:
    """Whether an iCCP chunk (name, NUL, method, deflated profile) unpacks, and to a bearable size."""
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(chunk.partition(b"\0")[2][1:], LARGEST_PROFILE)
    except zlib.error:
        return False
    return unpacker.eof
