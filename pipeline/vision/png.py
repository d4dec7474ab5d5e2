"""Whether a PNG (ISO 15948) holds all its rows. Pillow does not say: rows that never came stay zero."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from PIL import Image

from pipeline.vision.reasons import ImageReason, ImageRefused

_SIGNATURE_BYTES = 8
_PIECE_BYTES = 2**16
_PADDING = bytes(16)
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by colour type
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def require_all_rows(data: bytes, picture: Image.Image) -> None:
    """ImageRefused for a PNG whose image data end before its last row; ``picture`` is what Pillow made of it.

    Image data are unpacked a second time only if what comes last is zero, as it is where nothing came.
    """
    if data.endswith(_PADDING) and _ends_in_broken_chunk(data):
        raise ImageRefused(ImageReason.TRUNCATED_IMAGE, "png: its last chunk is filled up with zeros")
    is_interlaced = data[28] == 1
    last_row = picture.crop((0, picture.height - 1, *picture.size))
    if not is_interlaced and any(last_row.tobytes()):
        return
    wanted = _bytes_of_rows(data, is_interlaced)
    missing = wanted - _unpacked_bytes(data, wanted)
    if missing > 0:
        raise ImageRefused(ImageReason.TRUNCATED_IMAGE, f"png: its pixels end {missing} of {wanted} bytes too early")


def _ends_in_broken_chunk(data: bytes) -> bool:
    """Whether the chunk that reaches into the file's last bytes is not what its CRC says: zeros are valid pixels."""
    position = _SIGNATURE_BYTES
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] in (b"IEND", bytes(4)):
            return False
        end = position + 8 + length
        if end + 4 >= len(data) or not any(data[end : end + 4]):
            return zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big")
        position = end + 4
    return False


def _bytes_of_rows(data: bytes, is_interlaced: bool) -> int:
    """Length of the image data unpacked: each row with the byte that names its filter."""
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    bits = data[24] * _SAMPLES.get(data[25], 1)
    total = 0
    for left, top, right, down in _ADAM7 if is_interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        total += rows * (1 + (columns * bits + 7) // 8) if columns > 0 else 0
    return total


def _unpacked_bytes(data: bytes, wanted: int) -> int:
    """How many bytes the image data unpack to, counted up to ``wanted`` and without holding them."""
    stream, total = zlib.decompressobj(), 0
    try:
        for chunk in _image_data(data):
            rest = chunk
            while rest and total < wanted:
                total += len(stream.decompress(rest, _PIECE_BYTES))
                rest = stream.unconsumed_tail
    except zlib.error:
        pass  # what came before counts
    return total


def _image_data(data: bytes) -> Iterator[bytes]:
    position = _SIGNATURE_BYTES
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"IDAT":
            yield data[position + 8 : position + 8 + length]
        position += 12 + length
