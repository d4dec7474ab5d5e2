"""Boxes that are blurred: what is in them is gone, what is not in them is untouched."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.vision.blur import blur
from pipeline.vision.child import ImageChild
from pipeline.vision.image import measure_image
from pipeline.vision.settings import ImageSettings

LEFT_HALF = (0.0, 0.0, 0.5, 1.0)


def noise(width: int = 200, height: int = 100) -> Image.Image:
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8))


def spread(pixels: np.ndarray) -> float:
    return float(pixels.astype(float).std(axis=(0, 1)).mean())


def blurred(picture: Image.Image, boxes: tuple[float, ...]) -> np.ndarray:
    copy = picture.copy()
    blur(copy, boxes)
    return np.asarray(copy)


def stored(
    picture: Image.Image, format_: str, boxes: tuple[float, ...], settings: ImageSettings, **save: object
) -> np.ndarray:
    stream = io.BytesIO()
    picture.save(stream, format_, **save)
    measured = measure_image(stream.getvalue(), settings, boxes)
    assert measured.columns["outcome"] == "ok"
    assert measured.columns["blurred_boxes"] == list(boxes)
    assert measured.data is not None
    return np.asarray(Image.open(io.BytesIO(measured.data)))


def test_a_picture_without_boxes_is_itself() -> None:
    picture = noise()
    assert (blurred(picture, ()) == np.asarray(picture)).all()


def test_what_is_in_a_box_is_gone_and_what_is_far_from_it_is_untouched() -> None:
    picture = noise()
    before, after = np.asarray(picture), blurred(picture, (0.1, 0.2, 0.3, 0.6))
    inside = np.s_[20:60, 20:60]
    assert spread(after[inside]) < spread(before[inside]) / 8
    assert abs(after[inside].mean() - before[inside].mean()) < 4
    far = np.s_[:, 90:]
    assert (after[far] == before[far]).all()


def test_every_box_counts_and_one_at_the_edge_is_cut_there() -> None:
    after = blurred(noise(), (0.0, 0.0, 0.2, 0.4, 0.8, 0.6, 1.0, 1.0))
    assert spread(after[:35, :35]) < 12
    assert spread(after[65:, 165:]) < 12
    assert spread(after[60:, :100]) > 60


@pytest.mark.parametrize("side", [30, 80, 200, 400])
def test_a_small_box_is_blurred_beside_a_large_one_as_if_it_were_alone(side) -> None:
    """A share of a picture is what is left of its own levels: with one blur for all boxes it was up to 0.8."""
    picture = noise(900, 600)
    large = (400 / 900, 100 / 600, (400 + side) / 900, (100 + side) / 600)
    small = (100 / 900, 100 / 600, 120 / 900, 120 / 600)
    before, inside = np.asarray(picture).astype(float), np.s_[100:120, 100:120]
    levels = before[inside] - before[inside].mean()
    for boxes in ((*small, *large), (*large, *small)):
        after = blurred(picture, boxes).astype(float)[inside]
        left = ((after - after.mean()) * levels).sum() / (levels**2).sum()
        assert left < 0.12


def test_a_box_without_extent_changes_nothing_and_fails_nothing() -> None:
    picture = noise()
    difference = blurred(picture, (0.5, 0.5, 0.5, 0.5)).astype(int) - np.asarray(picture)
    assert np.count_nonzero(difference) <= 3


@pytest.mark.parametrize("resizer", ["native", "img2dataset"])
@pytest.mark.parametrize("mode", ["keep_ratio_largest", "keep_ratio", "no"])
@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_the_stored_picture_is_blurred_whatever_its_format_and_its_size(resizer, mode, format_) -> None:
    settings = ImageSettings(size=80, mode=mode, resizer=resizer)
    pixels = stored(noise(400, 200), format_, LEFT_HALF, settings)
    width = pixels.shape[1]
    assert spread(pixels[:, : width * 4 // 10]) < spread(pixels[:, width * 7 // 10 :]) / 3


def test_a_jpeg_that_would_be_stored_untouched_is_blurred_too() -> None:
    pixels = stored(noise(), "JPEG", LEFT_HALF, ImageSettings())
    assert spread(pixels[:, :70]) < spread(pixels[:, 130:]) / 3


def test_a_box_over_fifty_megapixels_needs_no_more_memory_than_a_picture_may() -> None:
    with ImageChild(ImageSettings(mode="no")) as child:
        stream = io.BytesIO()
        Image.new("RGB", (8600, 5800), "teal").save(stream, "JPEG")
        assert child.measure(stream.getvalue(), (0.0, 0.0, 1.0, 1.0, 0.4, 0.4, 0.6, 0.6)).columns["outcome"] == "ok"


def test_boxes_are_those_of_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise: the bottom of the file is the left of the picture
    pixels = stored(noise(100, 200), "JPEG", LEFT_HALF, ImageSettings(), exif=exif)
    assert pixels.shape[:2] == (100, 200)
    assert spread(pixels[:, :70]) < spread(pixels[:, 130:]) / 3


def test_a_square_is_made_after_the_blur() -> None:
    pixels = stored(noise(200, 100), "PNG", LEFT_HALF, ImageSettings(size=90, mode="center_crop"))
    assert pixels.shape[:2] == (90, 90)
    assert spread(pixels[:, :30]) < spread(pixels[:, 60:]) / 3
