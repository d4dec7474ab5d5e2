"""JPEGs that are cut, padded or re-closed: kept only if every row was decoded from data, whichever decoder is asked."""

import io
import re
import tarfile
import timeit

import cv2
import numpy as np
import pytest
from checkout import SHARED
from PIL import Image, ImageDraw

from pipeline.vision import jpeg
from pipeline.vision.decode import decode
from pipeline.vision.image import ImageSettings, measure_image
from pipeline.vision.jpeg_parts import closed, is_complete
from pipeline.vision.reasons import ImageReason, ImageRefused
from pipeline.vision.untrusted import Limits, inspect

EOI = b"\xff\xd9"
KINDS = {
    "baseline": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restart rows": {"restart_marker_rows": 1},
    "restart blocks": {"restart_marker_blocks": 3},
    "full chroma": {"subsampling": 0},
}
MODES = ("RGB", "L", "CMYK")


def photo(seed=0):
    """Edges and noise down to the last row, so that grey in their place is seen."""
    noise = np.random.default_rng(seed).normal(128, 60, (144, 176)).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(noise).convert("RGB")
    ImageDraw.Draw(picture).ellipse((20, 30, 150, 140), fill="teal", outline="red")
    return picture


def encoded(picture, **options):
    file = io.BytesIO()
    picture.save(file, "JPEG", **options)
    return file.getvalue()


def verdicts(data):
    """The outcome of each way to the pixels: stored as it is, made smaller, blurred, for a model."""
    found = {measure_image(data, ImageSettings(size=size)).columns["outcome"] for size in (1000, 160, 40)}
    found.add(measure_image(data, ImageSettings(), (0.1, 0.1, 0.2, 0.2)).columns["outcome"])
    try:
        decode(data, inspect(data, Limits()))
        found.add("ok")
    except ImageRefused as refused:
        found.add(refused.reason.value)
    return found


def by_opencv(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def endings(data, n):
    """A file cut after ``n`` bytes, as programs leave it: as it is, closed, filled up to its length, or both."""
    fill = len(data) - n - len(EOI)
    return [data[:n], data[:n] + EOI, data[:n] + bytes(fill), data[:n] + bytes(fill) + EOI, data[:n] + b"\xff" * fill]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_data_that_end_too_early_are_refused_with_an_end_mark_and_without_f51(kind, mode):
    """F30, F51, F54"""
    data = encoded(photo().convert(mode), **KINDS[kind])
    for tenth in range(4, 10):
        for cut in endings(data, len(data) * tenth // 10):
            assert verdicts(cut) == {"truncated_image"}, tenth


def test_zeros_that_decode_to_just_the_missing_blocks_are_no_image_f54():
    """F54"""
    for seed in range(6):
        data = encoded(photo(seed).convert("L"))
        for n in range(len(data) * 76 // 100, len(data) * 84 // 100, 40):
            assert all(verdicts(cut) == {"truncated_image"} for cut in endings(data, n)), (seed, n)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_hole_of_zeros_in_the_middle_is_no_image_f54(kind, mode):
    """F54: a piece of a download that never came."""
    data = encoded(photo().convert(mode), **KINDS[kind])
    for n in (100, 500, 2000):
        for start in range(len(data) // 3, len(data) - n - 1000, 2500):
            assert verdicts(data[:start] + bytes(n) + data[start + n :]) <= {"truncated_image", "decode_failed"}


def test_zeros_that_are_a_flat_end_of_an_image_are_kept_f54():
    """F54"""
    flat = Image.new("RGB", (4000, 4000), (40, 90, 200))
    data = encoded(flat, optimize=True)
    assert bytes(64) in data
    assert verdicts(data) == {"ok"}
    assert verdicts(data + bytes(512)) == {"ok"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_end_mark_alone_costs_nothing_f52(kind, mode):
    """F52"""
    data = encoded(photo().convert(mode), **KINDS[kind])
    whole = by_opencv(data)
    for cut in (data[:-2], data[:-1], data[:-2] + bytes(500), data[:-2] + b"\xff\xe5\x40\0cut off"):
        assert verdicts(cut) == {"ok"}
        if mode != "CMYK":
            assert np.array_equal(by_opencv(closed(cut)), whole)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_behind_a_jpeg_without_an_end_mark_is_none_of_it_f52(kind, mode):
    """F52: two files in one, as a broken upload leaves them."""
    data = encoded(photo().convert(mode), **KINDS[kind])
    second = encoded(photo(1))
    assert verdicts(data[:-2] + second) == verdicts(data + second) == {"ok"}
    assert verdicts(data[: len(data) // 2] + second) == {"truncated_image"}


def test_what_is_stored_of_a_jpeg_without_an_end_mark_has_one_f52():
    """F52: so that Pillow, which wants it, reads the corpus."""
    for mode in ("RGB", "L"):
        data = encoded(photo().convert(mode))
        columns, stored = measure_image(data[:-2], ImageSettings())
        assert columns["outcome"] == "ok"
        assert stored == data
        Image.open(io.BytesIO(stored)).load()


@pytest.mark.parametrize("mode", MODES)
def test_a_progressive_jpeg_without_its_last_scans_is_refused_f53(mode):
    """F53: libjpeg says nothing of it, and a browser shows it blurred."""
    data = encoded(photo().convert(mode), progressive=True)
    scans = [match.start() for match in re.finditer(rb"\xff\xda", data)]
    assert len(scans) > 4
    for start in scans[1:]:
        tables = data.rfind(b"\xff\xc4", 0, start)
        for cut in (data[:start] + EOI, data[:start], data[:tables] + EOI):
            assert verdicts(cut) == {"truncated_image"}


def test_a_sequential_jpeg_without_the_scans_of_its_colours_is_refused_f53():
    """F53: the same with one scan a component, which no encoder here writes: the scans are those of grey images."""
    grey = encoded(photo().convert("L"))
    frame, scan = grey.index(b"\xff\xc0"), grey.index(b"\xff\xda")
    three = grey[frame + 4 : frame + 9] + b"\x03" + b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    head = grey[:frame] + b"\xff\xc0\0\x11" + three + grey[frame + 13 : scan]
    scans = [b"\xff\xda\0\x08\x01" + bytes((number, 0, 0, 63, 0)) + grey[scan + 10 : -2] for number in (1, 2, 3)]
    assert verdicts(head + b"".join(scans) + EOI) == {"ok"}
    for n in (1, 2):
        assert verdicts(head + b"".join(scans[:n]) + EOI) == {"truncated_image"}


def damaged():
    """Bytes, and what they are: harmless oddities, and lost data."""
    plain, restarts = encoded(photo()), encoded(photo(), restart_marker_rows=1)
    scan, third, fourth = plain.index(b"\xff\xda"), restarts.index(b"\xff\xd2"), restarts.index(b"\xff\xd3")
    frame = plain.index(b"\xff\xc0")
    odd_scan = plain[: scan + 11] + b"\0\0\0" + plain[scan + 14 :]
    yield "ok", plain + b"trailing" * 100
    yield "ok", plain[:20] + b"extraneous" + plain[20:]
    yield "ok", plain[:11] + b"\x07" + plain[12:]  # JFIF 7.01
    yield "ok", odd_scan
    yield "ok", plain[:-2] + b"\x05" * 9 + EOI
    yield "ok", restarts[:-2] + bytes(40) + EOI
    for height in (24, 100, 136, 143):  # the header says less than the data hold
        yield "ok", plain[: frame + 5] + height.to_bytes(2, "big") + plain[frame + 7 :]
    yield "truncated_image", plain[: frame + 5] + b"\x01\0" + plain[frame + 7 :]  # and more
    yield "truncated_image", odd_scan[: len(plain) // 2] + EOI
    yield "truncated_image", (plain[:20] + b"extraneous" + plain[20:])[: len(plain) // 2] + EOI
    yield "truncated_image", restarts[:third] + EOI
    yield "truncated_image", re.sub(rb"\xff[\xd0-\xd7]", b"", restarts)  # what is between them is no longer found
    yield "decode_failed", restarts[:third] + restarts[third + 2 :]
    yield "decode_failed", restarts[:third] + restarts[fourth:]


@pytest.mark.parametrize(("outcome", "data"), damaged())
def test_a_warning_counts_if_it_means_lost_pixels_f55(outcome, data):
    """F55"""
    assert verdicts(data) == {outcome}
    if outcome == "ok":
        stored = measure_image(data, ImageSettings()).data
        assert jpeg.whole(stored) == stored
        Image.open(io.BytesIO(stored)).load()


def test_a_file_with_another_image_behind_it_is_the_first_one_f42():
    """F42: as an MPO, or a picture with a film after it."""
    first, second = encoded(photo()), encoded(photo().rotate(180))
    assert verdicts(first + second) == {"ok"}
    assert measure_image(first + second[:-999], ImageSettings()).data.startswith(first)
    assert closed(first + second[:-999]) == first + second[:-999]


def photographs(n):
    with tarfile.open(SHARED / "data" / "photos.tar") as tar:
        members = [member for member in tar if member.name.endswith(".jpg")]
        return [tar.extractfile(member).read() for member in members[:: len(members) // n][:n]]


def matrix(n_photographs):
    for data in photographs(n_photographs):
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        for kind in ("baseline", "progressive", "restart rows"):
            again = encoded(picture, quality=80, **KINDS[kind])
            whole = by_opencv(again)
            assert jpeg.decoded(again[:-2]) is not None
            for tenth in range(1, 11):
                n = len(again) * tenth // 11 + 300
                yield from ((cut, whole) for cut in endings(again, n)[:2])


def refused_or_equal(cut, whole):
    """Whether ``cut`` is refused, or OpenCV decodes of it what it decodes of the whole file."""
    try:
        pixels = jpeg.decoded(cut)
    except ImageRefused as refused:
        return refused.reason is ImageReason.TRUNCATED_IMAGE
    return pixels is None or np.array_equal(by_opencv(closed(cut)), whole)


@pytest.mark.parametrize("n", [2, pytest.param(40, marks=pytest.mark.long)])
def test_no_cut_photograph_is_kept_that_opencv_sees_differently(shared_data, n):
    """F51, F53"""
    assert all(refused_or_equal(cut, whole) for cut, whole in matrix(n))


def test_every_whole_photograph_is_kept_at_the_price_of_its_decoding(shared_data):
    """F30: the check of a whole baseline file reads its header only."""
    data = max(photographs(5), key=len)
    check = min(timeit.repeat(lambda: is_complete(data), number=50, repeat=5))
    assert check < 0.05 * min(timeit.repeat(lambda: jpeg.decoded(data), number=50, repeat=5))
    assert all(jpeg.decoded(photograph) is not None for photograph in photographs(100))
