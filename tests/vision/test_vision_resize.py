"""The stored picture: sizes as img2dataset has them, pixels as a full decode and a good filter would give them."""

from __future__ import annotations

import io
import math
import tarfile

import cv2
import numpy as np
import pytest
from PIL import Image, features

from pipeline.vision import jpeg
from pipeline.vision.decode import decode
from pipeline.vision.image import measure_image
from pipeline.vision.resize import sizes_of, store
from pipeline.vision.settings import ImageSettings
from pipeline.vision.untrusted import Limits, inspect

MODES = ["keep_ratio_largest", "keep_ratio", "center_crop", "border", "no"]
SIZES = [(160, 80), (80, 160), (161, 97), (97, 161), (60, 60), (59, 31), (60, 90), (301, 61), (1000, 3)]


def scene(width, height):
    """A picture with edges, colours and no symmetry."""
    rows, columns = np.indices((height, width))
    inside = (rows > height // 3) & (columns > width // 2)
    levels = np.stack([rows * 255 // height, columns * 255 // width, inside * 120 + 60], axis=2)
    return Image.fromarray(levels.astype(np.uint8))


def encoded(format_, picture, **options):
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()


def stored(data, settings):
    return store(data, inspect(data, settings.limits), settings)


def psnr(one, other):
    """Peak signal-to-noise ratio, dB."""
    error = np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("enlarge", [False, True])
def test_sizes_and_pixels_are_those_of_img2dataset_in_every_mode(mode, enlarge):
    """The one compatibility test: our picture beside that of img2dataset's own resizer."""
    for size in SIZES:
        data = encoded("png", scene(*size))
        ours, theirs = (
            stored(data, ImageSettings(60, mode, enlarge=enlarge, resizer=resizer))
            for resizer in ("native", "img2dataset")
        )
        pictures = [Image.open(io.BytesIO(each.data)) for each in (ours, theirs)]
        assert pictures[0].size == pictures[1].size, size
        assert sizes_of(size, ImageSettings(60, mode, enlarge=enlarge)).framed == pictures[0].size
        assert psnr(*pictures) > 30, size


def test_the_engine_img2dataset_stores_the_bytes_of_its_resizer():
    from img2dataset.resizer import Resizer

    data = encoded("png", scene(900, 700))
    theirs = Resizer(512, "keep_ratio_largest", True, encode_quality=95, encode_format="jpg")(io.BytesIO(data))[0]
    assert measure_image(data, ImageSettings(resizer="img2dataset")).data == theirs


@pytest.mark.parametrize("enlarge", [False, True])
def test_a_jpeg_of_the_wanted_size_is_stored_untouched(enlarge):
    data = encoded("jpeg", scene(512, 300))
    assert stored(data, ImageSettings(enlarge=enlarge)).data == data


def test_small_pictures_are_enlarged_on_demand_only():
    data = encoded("jpeg", scene(144, 192))
    assert stored(data, ImageSettings(256, "keep_ratio")).data == data
    assert Image.open(io.BytesIO(stored(data, ImageSettings(256, "keep_ratio", enlarge=True)).data)).size == (256, 341)


def test_photographs_are_resized_as_by_a_full_decode_and_opencv(shared_data):
    """Smaller by area, also where the decoder halves; larger by Lanczos. 35 dB on 95 %, before the encoder."""
    with tarfile.open(shared_data / "photos.tar") as photos:
        members = [member for member in photos if member.name.endswith(".JPEG") or member.name.endswith(".jpg")]
        served = [photos.extractfile(member).read() for member in members[::3]]
    for size, filter_ in [
        (256, cv2.INTER_AREA),
        (120, cv2.INTER_AREA),
        (50, cv2.INTER_AREA),
        (700, cv2.INTER_LANCZOS4),
    ]:
        settings = ImageSettings(size, "keep_ratio", quality=100, enlarge=True)
        ratios = []
        for data in served:
            full = np.asarray(decode(data, inspect(data, Limits())).picture)
            new_size = sizes_of(full.shape[1::-1], settings).resized
            wanted = Image.fromarray(cv2.resize(full, new_size, interpolation=filter_))
            expected = jpeg.decoded(encoded("jpeg", wanted, quality=100, subsampling="4:2:0"))
            found = stored(data, settings).pixels
            ratios.append(
                psnr(*(np.ascontiguousarray(each).view(np.uint8).reshape(-1, 4)[:, :3] for each in (found, expected)))
            )
        assert np.percentile(ratios, 5) >= 35, size


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [20, 60, 200])
def test_a_turned_jpeg_is_resized_first_and_turned_then(orientation, size):
    """F35: with the frame of its upright size, halved by the decoder or not."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = scene(180, 130)
    data = encoded("jpeg", picture, exif=exif, quality=100, subsampling=0)
    upright = decode(data, inspect(data, Limits())).picture
    found = Image.open(io.BytesIO(stored(data, ImageSettings(size, "keep_ratio", quality=100)).data))
    assert found.size == sizes_of(upright.size, ImageSettings(size, "keep_ratio")).framed
    assert psnr(found, upright.resize(found.size, Image.Resampling.HAMMING)) > 20
    assert found.getexif().get(0x0112, 1) == 1


def test_avif_is_read_on_demand_only():
    assert features.check("avif"), "this Pillow has no AVIF; the setting fetch.avif cannot be tested"
    data = encoded("avif", scene(160, 80), quality=95)
    assert measure_image(data, ImageSettings()).columns["outcome"] == "format_not_allowed"
    columns, kept = measure_image(data, ImageSettings(limits=Limits(avif=True)))
    assert (columns["outcome"], columns["original_format"], columns["width"]) == ("ok", "avif", 160)
    assert psnr(Image.open(io.BytesIO(kept)), scene(160, 80)) > 25
    cut = measure_image(data[: len(data) // 2], ImageSettings(limits=Limits(avif=True))).columns
    assert cut["outcome"] in ("decode_failed", "truncated_image")


def test_a_jpeg_with_a_doubt_in_it_is_stored_without():
    """Bytes before the second marker: libjpeg warns, browsers show the image, some decoders stop."""
    data = encoded("jpeg", scene(90, 70))
    at = data.index(b"\xff\xdb")
    odd = data[:at] + bytes(3) + data[at:]
    assert np.array_equal(jpeg.decoded(odd), jpeg.decoded(data))
    kept = stored(odd, ImageSettings())
    assert kept.data == data
    assert np.array_equal(kept.pixels & 0xFFFFFF, jpeg.decoded(data) & 0xFFFFFF)
