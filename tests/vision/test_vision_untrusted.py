"""What bytes claim to be, before any pixel is decoded."""

import io
import struct
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.vision.reasons import ImageReason, ImageRefused
from pipeline.vision.untrusted import Header, Limits, inspect

PICTURE = Image.effect_noise((90, 70), 40).convert("RGB")


def encoded(format_, picture=PICTURE, **options):
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height, before_pixels=b"", pixels=b"\0"):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = (
        png_chunk(b"IHDR", header) + before_pixels + png_chunk(b"IDAT", zlib.compress(pixels)) + png_chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def reason_of(data, limits=None):
    with pytest.raises(ImageRefused) as refused:
        inspect(data, limits or Limits())
    return refused.value.reason


@pytest.mark.parametrize("format_", ["jpeg", "png", "webp", "gif"])
def test_an_allowed_format_is_known_by_its_first_bytes(format_):
    """F26"""
    assert inspect(encoded(format_), Limits()) == Header(format_, 90, 70, False)


def test_no_bytes_are_an_empty_body():
    """F24"""
    assert reason_of(b"") is ImageReason.EMPTY_BODY


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html><html><svg></svg>",
        b'{"error": 404}',
        b"not found",
        b"\0" * 100,
        b"\xff\xd8",
        b"GIF",
        b"BMW and other cars",
    ],
)
def test_text_served_as_an_image_is_no_image(data):
    """F25"""
    assert reason_of(data) is ImageReason.NOT_AN_IMAGE


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- made by hand -->\n<svg width='9'>",
        encoded("tiff"),
        encoded("bmp"),
        encoded("ico"),
        encoded("pdf"),
        encoded("eps"),
        encoded("avif"),
        encoded("jpeg2000"),
        b"8BPS\0\1" + b"\0" * 20,
        b"\0\0\0\x18ftypheic\0\0\0\0",
        b"\xd7\xcd\xc6\x9a" + b"\0" * 40,
    ],
)
def test_formats_outside_the_list_are_never_opened(data):
    """F27"""
    assert reason_of(data) is ImageReason.FORMAT_NOT_ALLOWED


@pytest.mark.parametrize(
    ("width", "height"), [(19_000, 19_000), (1, 200_000), (2**31 - 1, 1), (16_385, 1), (7_100, 7_100)]
)
def test_too_many_pixels_are_refused_by_the_header_alone(width, height):
    """F28"""
    start = time.process_time()
    assert reason_of(png_of(width, height)) is ImageReason.TOO_MANY_PIXELS
    assert time.process_time() - start < 0.1


def test_the_limits_are_settings():
    """F28"""
    assert inspect(encoded("png"), Limits(max_pixels=6300, max_side=90)).width == 90
    assert reason_of(encoded("png"), Limits(max_pixels=6299)) is ImageReason.TOO_MANY_PIXELS
    assert reason_of(encoded("png"), Limits(max_side=89)) is ImageReason.TOO_MANY_PIXELS


def test_text_chunks_that_unpack_to_much_are_skipped():
    """F29"""
    bomb = png_chunk(b"zTXt", b"comment\0\0" + zlib.compress(b"x" * 2**26))
    many = b"".join(png_chunk(b"zTXt", b"comment\0\0" + zlib.compress(b"x" * 1_000_000)) for _ in range(100))
    text = png_chunk(b"iTXt", b"comment\0\1\0\0\0" + zlib.compress(b"x" * 2**26))
    for chunks in (bomb, many, text, b"".join([many, bomb, text])):
        assert inspect(png_of(4, 1, chunks, b"\0abcd"), Limits()) == Header("png", 4, 1, False)


@pytest.mark.parametrize("profile", [zlib.compress(b"x" * 2**26), b"no deflate", b""])
def test_a_colour_profile_that_is_broken_or_too_large_is_skipped(profile):
    """F29, F40"""
    chunk = png_chunk(b"iCCP", b"icc\0\0" + profile)
    assert inspect(png_of(4, 1, chunk, b"\0abcd"), Limits()) == Header("png", 4, 1, False)


@pytest.mark.parametrize(("format_", "options"), [("gif", {}), ("png", {}), ("webp", {"lossless": True})])
def test_an_animation_is_seen_as_one(format_, options):
    """F36"""
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "lime")]
    assert inspect(encoded(format_, frames[0], save_all=True, append_images=frames[1:], **options), Limits()).animated


@given(st.binary(max_size=300), st.sampled_from(["jpeg", "png", "webp", "gif"]), st.integers(0, 400))
@settings(max_examples=300, deadline=None)
def test_whatever_the_bytes_the_answer_is_a_header_or_a_reason(noise, format_, cut):
    """F29"""
    data = encoded(format_)[:cut] + noise
    try:
        answer = inspect(data, Limits())
    except ImageRefused as refused:
        answer = refused
    assert isinstance(answer, Header) or (answer.reason in set(ImageReason) and len(answer.detail) <= 200)
