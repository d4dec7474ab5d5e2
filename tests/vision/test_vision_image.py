"""Decode, store and measure: pictures as a browser would show them."""

import gc
import hashlib
import io
import os
import tarfile
import time
import tracemalloc
from pathlib import Path

import imagehash
import numpy as np
import pytest
from checkout import SHARED
from PIL import Image, ImageCms, ImageDraw, ImageOps, ImageStat

from pipeline.vision import decode as decoding
from pipeline.vision.decode import decode
from pipeline.vision.image import ImageSettings, measure_image
from pipeline.vision.phash import from_hex, phash_of, to_hex
from pipeline.vision.reasons import ImageReason
from pipeline.vision.untrusted import Limits, inspect
from schemas.fetch import ADDS

DATA = SHARED / "data"
SETTINGS = ImageSettings()


def scene(width=90, height=70, mode="RGB"):
    """A picture with edges, colours and no symmetry."""
    picture = Image.radial_gradient("L").resize((width, height)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, width // 3, height // 2), fill="red")
    draw.ellipse((width // 2, height // 2, width - 5, height - 5), fill="teal")
    return picture.convert(mode)


def encoded(format_, picture, **options):
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()


def picture_of(data):
    return decode(data, inspect(data, Limits())).picture


def stored(data, **settings):
    measured = measure_image(data, ImageSettings(**settings))
    assert measured.columns["outcome"] == "ok", measured.columns["detail"]
    return Image.open(io.BytesIO(measured.data))


def distance(one, other):
    return np.abs(np.asarray(one.convert("RGB"), np.int16) - np.asarray(other.convert("RGB"), np.int16)).max()


def test_all_columns_of_the_fetch_table_are_measured():
    data = encoded("jpeg", scene())
    columns, kept = measure_image(data, SETTINGS)
    names = ADDS.names
    wanted = names[names.index("sha256") : names.index("image_sha256") + 1]
    assert sorted(columns) == sorted(["outcome", "detail", *wanted])
    of_the_picture = dict.fromkeys(("spread", "mean", "entropy", "phash", "phash_margin", "phash256", "chroma4"))
    assert columns | of_the_picture == of_the_picture | {
        "outcome": "ok",
        "detail": None,
        "sha256": hashlib.sha256(data).hexdigest(),
        "served_bytes": len(data),
        "original_format": "jpeg",
        "original_width": 90,
        "original_height": 70,
        "blurred_boxes": None,
        "width": 90,
        "height": 70,
        "short_side": 70,
        "aspect": 90 / 70,
        "image_sha256": hashlib.sha256(kept).hexdigest(),
    }


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_that_is_small_enough_is_stored_untouched(mode):
    data = encoded("jpeg", scene(mode=mode), progressive=True)
    assert measure_image(data, SETTINGS).data == data


@pytest.mark.parametrize(
    ("mode", "size"),
    [
        ("keep_ratio_largest", (60, 30)),
        ("keep_ratio", (120, 60)),
        ("center_crop", (60, 60)),
        ("border", (60, 60)),
        ("no", (160, 80)),
    ],
)
@pytest.mark.parametrize("format_", ["jpeg", "png"])
def test_a_larger_picture_is_stored_in_the_wanted_size(mode, size, format_):
    data = encoded(format_, scene(160, 80))
    columns, kept = measure_image(data, ImageSettings(size=60, mode=mode))
    assert (columns["width"], columns["height"]) == size == Image.open(io.BytesIO(kept)).size
    assert kept[:2] == b"\xff\xd8"


@pytest.mark.parametrize("mode", ["keep_ratio_largest", "keep_ratio", "center_crop", "border"])
def test_nothing_is_enlarged(mode):
    assert stored(encoded("png", scene()), mode=mode).size == (90, 70)


def test_hashes_and_levels_are_those_of_the_stored_picture():
    for data in (encoded("jpeg", scene()), encoded("png", scene(900, 700)), encoded("jpeg", scene(mode="L"))):
        columns, kept = measure_image(data, SETTINGS)
        again = Image.open(io.BytesIO(kept))
        grey = again.convert("L")
        assert to_hex(columns["phash"]) == str(imagehash.phash(again))
        assert columns["phash256"] == np.packbits(imagehash.phash(again, hash_size=16).hash).tobytes()
        assert columns["spread"] == pytest.approx(max(ImageStat.Stat(again).stddev))
        assert columns["mean"] == pytest.approx(ImageStat.Stat(grey).mean[0])
        assert columns["entropy"] == pytest.approx(grey.entropy())
        _, cb, cr = again.convert("RGB").resize((4, 4), Image.Resampling.BOX).convert("YCbCr").split()
        chroma = np.frombuffer(cb.tobytes() + cr.tobytes(), np.uint8)
        assert np.abs(np.frombuffer(columns["chroma4"], np.uint8).astype(int) - chroma).max() <= 1


def test_the_hash_is_imagehash_as_a_signed_integer_and_hex():
    values = [phash_of(Image.effect_noise((64, 64), 80)) for _ in range(40)]
    assert all(-(2**63) <= value < 2**63 for value in values)
    assert (to_hex(-(2**63)), to_hex(2**63 - 1)) == ("8000000000000000", "7fffffffffffffff")
    assert [from_hex(to_hex(value)) for value in values] == values
    with pytest.raises(ValueError, match="16 hex digits"):
        from_hex("ff")


@pytest.mark.parametrize("format_", ["jpeg", "png", "gif", "webp"])
def test_a_file_that_was_cut_off_is_refused_at_every_length(format_):
    """F30"""
    data = encoded(format_, scene())
    for length in range(12, len(data) - 12, max(1, len(data) // 60)):
        columns, kept = measure_image(data[:length], SETTINGS)
        assert (columns["outcome"], kept) == ("truncated_image", None), length
        assert columns["sha256"] == hashlib.sha256(data[:length]).hexdigest()


def test_a_progressive_jpeg_that_was_cut_off_is_refused():
    """F30"""
    data = encoded("jpeg", scene(300, 200), progressive=True)
    assert {measure_image(data[: len(data) * part // 10], SETTINGS).columns["outcome"] for part in range(2, 10)} == {
        "truncated_image"
    }


def test_broken_pixels_are_decode_failed_and_bytes_after_the_end_are_none_of_it():
    """F29, F42"""
    data = encoded("png", scene())
    broken = data[:200] + bytes(50) + data[250:]
    assert measure_image(broken, SETTINGS).columns["outcome"] == "decode_failed"
    columns, _ = measure_image(data + b"trailing", SETTINGS)
    assert (columns["outcome"], columns["sha256"]) == ("ok", hashlib.sha256(data + b"trailing").hexdigest())


@pytest.mark.parametrize("error", [ValueError, SyntaxError, MemoryError, OverflowError, ZeroDivisionError])
def test_whatever_a_decoder_raises_is_a_verdict_on_its_row(monkeypatch, error):
    """F29"""
    from PIL.PngImagePlugin import PngImageFile

    def load(self):
        raise error("made to fail")

    monkeypatch.setattr(PngImageFile, "load", load)
    columns, kept = measure_image(encoded("png", scene()), SETTINGS)
    assert (columns["outcome"], kept) == ("decode_failed", None)
    assert error.__name__ in columns["detail"]
    assert columns["original_width"] == 90


def test_sixteen_bits_are_scaled_and_not_clipped():
    """F33"""
    ramp = Image.fromarray(np.tile(np.arange(0, 65536, 256, dtype=np.uint16), (70, 1)))
    assert np.asarray(picture_of(encoded("png", ramp)))[0, :, 0].tolist() == list(range(256))


@pytest.mark.parametrize("mode", ["1", "P", "L", "LA"])
def test_fewer_bits_keep_their_levels(mode):
    """F33"""
    picture = Image.linear_gradient("L").convert(mode)
    assert distance(picture_of(encoded("png", picture)), picture.convert("RGBA").convert("RGB")) == 0


def adobe_marker(data, transform):
    """``data`` with another transform in its Adobe marker, or without the marker."""
    at = data.index(b"\xff\xee\x00\x0eAdobe")
    return data[:at] + (b"" if transform is None else data[at : at + 15] + bytes([transform])) + data[at + 16 :]


PATCHES = [(255, 0, 0), (0, 128, 0), (20, 40, 200), (255, 255, 255), (0, 0, 0), (128, 128, 128), (250, 220, 30)]


@pytest.mark.parametrize("transform", [0, 2, None])
@pytest.mark.parametrize("patch", PATCHES)
def test_cmyk_and_ycck_have_the_colours_that_browsers_show(patch, transform):
    """F34"""
    inks = [255 - channel for channel in patch]
    if transform == 2:  # YCCK holds YCbCr of the inks; Pillow inverts whatever it is given
        inks = [255 - channel for channel in Image.new("RGB", (1, 1), tuple(inks)).convert("YCbCr").getpixel((0, 0))]
    data = encoded("jpeg", Image.new("CMYK", (64, 64), (*inks, 0)), quality=95, subsampling=0)
    data = adobe_marker(data, transform)
    assert distance(picture_of(data), Image.new("RGB", (64, 64), tuple(patch))) <= 12
    assert stored(data).mode == "RGB"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["jpeg", "png", "webp"])
def test_an_exif_turn_is_applied_once_and_then_gone(orientation, format_):
    """F35"""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(format_, scene(), exif=exif)
    columns, kept = measure_image(data, ImageSettings(quality=100))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert distance(picture_of(data), expected) == 0
    assert Image.open(io.BytesIO(kept)).size == expected.size == (columns["width"], columns["height"])
    assert (columns["original_width"], columns["original_height"]) == (90, 70)
    assert Image.open(io.BytesIO(kept)).getexif().get(0x0112, 1) == 1


def test_broken_exif_is_ignored_and_the_picture_kept():
    """F35"""
    values = []
    for orientation in (0, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        values.append(exif.tobytes())
    values.append(values[0].replace(b"\x01\x12\0\x03\0\0\0\x01", b"\x01\x12\0\x02\0\0\0\x01"))  # a text
    values.append(values[0].replace(b"\x01\x12\0\x03\0\0\0\x01", b"\x01\x12\0\x0c\0\0\0\x09"))  # nine floats
    for exif in [
        *values,
        b"Exif\0\0not a TIFF file",
        b"Exif\0\0Exif\0\0MM\0*\0\0\0\x08",
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
    ]:
        assert stored(encoded("jpeg", scene(), exif=exif)).size == (90, 70)


@pytest.mark.parametrize(("format_", "options"), [("gif", {}), ("png", {}), ("webp", {"lossless": True})])
def test_an_animation_is_its_first_frame(format_, options):
    """F36"""
    frames = [Image.new("RGB", (80, 64), (n % 256, n // 256 * 40, 99)) for n in range(300)]
    data = encoded(format_, scene(80, 64), save_all=True, append_images=frames, **options)
    columns, kept = measure_image(data, SETTINGS)
    assert columns["detail"] == "animated: first frame"
    assert np.abs(np.asarray(Image.open(io.BytesIO(kept)), int) - np.asarray(scene(80, 64), int)).mean() < 8


def test_ten_thousand_frames_cost_no_more_than_one():
    """F36"""
    frame = encoded("gif", Image.new("P", (80, 64), 1))
    at = frame.index(b",")
    data = frame[:at] + frame[at:-1] * 10_000 + b";"
    tracemalloc.start()
    start = time.process_time()
    assert measure_image(data, SETTINGS).columns["detail"] == "animated: first frame"
    assert time.process_time() - start < 1
    assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    tracemalloc.stop()


def test_transparency_is_blended_with_white():
    """F37"""
    red = Image.new("RGBA", (64, 64), (255, 0, 0, 128))
    assert np.abs(np.asarray(picture_of(encoded("png", red)))[0, 0].astype(int) - [255, 127, 127]).max() <= 1
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    palette = Image.new("P", (64, 64), 0)
    for data in (
        encoded("png", clear),
        encoded("webp", clear, lossless=True),
        encoded("png", palette, transparency=0),
        encoded("gif", palette, transparency=0),
        encoded("png", Image.new("LA", (64, 64), (0, 0))),
    ):
        assert picture_of(data).getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize("colour", [(0, 0, 0, 0), (255, 255, 255, 255), (200, 30, 90, 255)])
def test_a_blank_image_has_no_spread(colour):
    """F38"""
    columns, _ = measure_image(encoded("png", Image.new("RGBA", (90, 90), colour)), SETTINGS)
    assert columns["spread"] < 2
    assert measure_image(encoded("png", scene()), SETTINGS).columns["spread"] > 20


@pytest.mark.parametrize(("width", "height"), [(1, 1), (10, 400), (4000, 100), (16_000, 1), (1, 16_000)])
@pytest.mark.parametrize("mode", ["keep_ratio_largest", "keep_ratio", "center_crop", "border"])
def test_the_smallest_and_the_longest_pictures_are_measured_for_the_rules(width, height, mode):
    """F39"""
    columns, _ = measure_image(encoded("png", Image.new("RGB", (width, height), "red")), ImageSettings(mode=mode))
    assert columns["outcome"] == "ok"
    assert (columns["short_side"], columns["aspect"]) == (min(width, height), max(width, height) / min(width, height))


SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile():
    """A sound profile in which what is stored as red is blue."""
    swapped = SRGB_PROFILE.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    return swapped.replace("sRGB".encode("utf-16-be"), "xRGB".encode("utf-16-be"))


@pytest.mark.parametrize("format_", ["jpeg", "png"])
def test_a_valid_profile_is_applied(format_):
    """F40"""
    red = Image.new("RGB", (64, 64), "red")
    data = encoded(format_, red, icc_profile=swapped_profile())
    assert distance(picture_of(data), Image.new("RGB", (64, 64), "blue")) <= 2
    assert distance(stored(data), Image.new("RGB", (64, 64), "blue")) <= 6
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    assert picture_of(encoded("png", clear, icc_profile=swapped_profile())).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("format_", ["jpeg", "webp"])
def test_a_profile_that_is_larger_than_any_printers_is_not_applied(format_):
    """F29: with zeros behind it, it is as sound as before."""
    red = Image.new("RGB", (70, 90), (250, 10, 10))
    for size, applied in ((3 << 20, True), (5 << 20, False)):
        profile = swapped_profile().ljust(size, b"\0")
        red_seen, _, blue_seen = picture_of(encoded(format_, red, icc_profile=profile)).getpixel((9, 9))
        assert (blue_seen > 200 > red_seen) == applied


def test_profiles_of_images_before_hold_no_memory_of_those_after():
    """F29: 60 profiles of 3 MiB in a row."""
    decoding._transforms.clear()
    last = None
    for number in range(60):
        last = decoding.to_srgb_transform(swapped_profile().ljust((3 << 20) + number, b"\0"), "RGB")
    assert last is not None
    assert decoding.to_srgb_transform(swapped_profile().ljust((3 << 20) + 59, b"\0"), "RGB") is last
    assert 0 < sum(size for size, _ in decoding._transforms.values()) <= 16 << 20
    for number in range(200):
        decoding.to_srgb_transform(b"no profile %d" % number, "RGB")
    assert len(decoding._transforms) <= 64


def test_srgb_and_broken_profiles_change_nothing():
    """F40"""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = encoded("jpeg", scene(), icc_profile=SRGB_PROFILE)
    assert measure_image(data, SETTINGS).data == data
    plain = picture_of(encoded("png", scene()))
    for profile in (SRGB_PROFILE, lab, b"no profile", SRGB_PROFILE[:200]):
        assert distance(picture_of(encoded("png", scene(), icc_profile=profile)), plain) == 0
        assert stored(encoded("jpeg", scene(mode="L"), icc_profile=profile)).size == (90, 70)


def test_measuring_leaves_the_streams_of_the_process_alone():
    measure_image(encoded("png", scene(900, 700)), SETTINGS)
    before = [os.fstat(1), os.fstat(2)]
    descriptors = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(20):
        measure_image(encoded("png", scene(900, 700)), SETTINGS)
    gc.collect()
    assert [os.fstat(1), os.fstat(2)] == before
    assert not descriptors or len(os.listdir("/proc/self/fd")) <= descriptors


def test_the_same_bytes_are_stored_for_the_same_bytes_served():
    data = encoded("png", scene(900, 700))
    assert measure_image(data, SETTINGS) == measure_image(data, SETTINGS)


@pytest.mark.skipif(not (DATA / "photos.tar").exists(), reason="shared/data is not there")
def test_real_photographs_are_stored_as_they_look():
    with tarfile.open(DATA / "photos.tar") as photos:
        files = [member for member in photos if member.name.lower().endswith((".jpg", ".jpeg", ".png", ".webp"))][::6]
        served = [photos.extractfile(member).read() for member in files]
    for data in served:
        original = picture_of(data)
        kept = stored(data)
        assert max(kept.size) <= 512
        small = original.resize(kept.size, Image.Resampling.BOX)
        assert np.abs(np.asarray(kept.convert("RGB"), int) - np.asarray(small, int)).mean() < 6


def test_every_reason_of_a_refusal_is_in_the_closed_set():
    for data in (b"", b"<html>", encoded("bmp", scene()), encoded("jpeg", scene())[:300]):
        assert ImageReason(measure_image(data, SETTINGS).columns["outcome"])
