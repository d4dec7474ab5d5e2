"""Whether the image data of a lossy WebP (RFC 9649) arrived. libwebp takes zeros that fill up a cut file for pixels.

In a lossless one, zeros may be pixels: a white lower half has made 4,800 of them.
"""

from __future__ import annotations

from pipeline.vision.reasons import ImageReason, ImageRefused

_FIRST_CHUNK = 12
_LOSSY = b"VP8 "
_PADDING = bytes(
    64
)  # arithmetic codes look like noise: of 800 files made of photos.tar none ended in more than 6 zeros


def require_no_padding(data: bytes) -> None:
    """ImageRefused where the image data of a still image end in zeros."""
    position = _FIRST_CHUNK
    while position + 8 <= len(data):
        end = position + 8 + int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == _LOSSY:
            if data[position + 8 : end].endswith(_PADDING):
                raise ImageRefused(ImageReason.TRUNCATED_IMAGE, "webp: its pixels are filled up with zeros")
            return
        position = end + end % 2
