"""PNG, WebP and GIF that were cut and closed again, or filled up: kept only if every row came."""

import io
import random
import struct
import zlib

import pytest
from PIL import Image

from pipeline.vision.image import ImageSettings, measure_image

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def encoded(format_, mode="RGB", **options):
    file = io.BytesIO()
    Image.effect_noise((90, 70), 60).convert("RGB").convert(mode).save(file, format_, **options)
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows, *, bits=8, colour=2, interlaced=False, size=(90, 70), pieces=1, share=1):
    """A PNG whose image data unpack to ``rows``: ``share`` of a sound stream in sound chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, interlaced))
    packed = zlib.compress(rows)
    packed = packed[: int(len(packed) * share)]
    step = -(-len(packed) // pieces)
    data = b"".join(chunk(b"IDAT", packed[i : i + step]) for i in range(0, len(packed), step))
    palette = chunk(b"PLTE", bytes(range(48))) if colour == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + header + palette + data + chunk(b"IEND", b"")


def outcome(data):
    return measure_image(data, ImageSettings()).columns["outcome"]


@pytest.mark.parametrize("tenth", [3, 6, 9])
def test_an_image_that_is_cut_and_closed_again_is_refused_f51(tenth):
    """F51: of other formats than JPEG."""
    gif, noise = encoded("GIF"), random.Random(7).randbytes(271 * 70)
    rows = b"".join(b"\0" + noise[start + 1 : start + 271] for start in range(0, len(noise), 271))
    assert outcome(png(rows)) == "ok"
    assert outcome(png(rows, share=tenth / 10)) == "truncated_image"
    assert outcome(gif[: len(gif) * tenth // 10] + b"\0;") == "truncated_image"
    for options in ({"lossless": True}, {}):
        webp = encoded("WEBP", **options)
        body = webp[20 : len(webp) * tenth // 20 * 2]
        lengths = struct.pack("<I", len(body) + 12), struct.pack("<I", len(body))
        closed = b"RIFF" + lengths[0] + webp[8:16] + lengths[1] + body
        assert outcome(closed) in ("truncated_image", "decode_failed")


@pytest.mark.parametrize("format_", ["PNG", "GIF"])
def test_a_missing_end_mark_alone_costs_nothing_f52(format_):
    """F52: of other formats than JPEG."""
    data = encoded(format_)
    assert outcome(data[: -12 if format_ == "PNG" else -1]) == "ok"
    assert outcome(data[: -12 if format_ == "PNG" else -1] + bytes(200)) == "ok"


@pytest.mark.parametrize("format_", ["PNG", "GIF", "WEBP"])
@pytest.mark.parametrize("tenth", [2, 5, 8])
def test_zeros_that_fill_up_a_file_are_not_pixels_f54(format_, tenth):
    """F54"""
    data = encoded(format_)
    n = len(data) * tenth // 10
    assert outcome(data[:n] + bytes(len(data) - n)) == "truncated_image"


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("bits", "colour", "bits_a_pixel"), [(8, 2, 24), (8, 6, 32), (16, 0, 16), (4, 3, 4), (1, 0, 1)]
)
def test_a_png_whose_stream_ends_before_its_rows_is_refused_f51(bits, colour, bits_a_pixel, interlaced):
    """F51: Pillow leaves these rows black."""
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    sizes = [(-(-(90 - x) // right), -(-(70 - y) // down)) for x, y, right, down in passes]
    n_bytes = sum(height * (1 + -(-width * bits_a_pixel // 8)) for width, height in sizes)
    for pieces in (1, 3):
        arguments = {"bits": bits, "colour": colour, "interlaced": interlaced, "pieces": pieces}
        assert outcome(png(bytes(n_bytes), **arguments)) == "ok"
        assert outcome(png(bytes(n_bytes + 99), **arguments)) == "ok"
        for missing in (1, n_bytes // 2):
            assert outcome(png(bytes(n_bytes - missing), **arguments)) == "truncated_image"
