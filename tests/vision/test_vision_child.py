"""The child that decodes may die of a picture; nothing else does."""

from __future__ import annotations

import io
import os
import signal
import time

import numpy as np
import pytest
from PIL import Image

from pipeline.vision.child import ImageChild
from pipeline.vision.image import measure_image
from pipeline.vision.settings import ImageSettings

SETTINGS = ImageSettings()

NASTY = """
import ctypes, os, sys
import numpy as np
from pipeline.vision import child, untrusted

def load(self):
    held = []
    while self.size == (64, 101):     # never ends
        pass
    while self.size == (64, 102):     # eats memory
        held.append(np.empty(1 << 24, np.uint8))
    if self.size == (64, 103):        # SIGSEGV
        ctypes.string_at(0)
    if self.size == (64, 104):        # speaks where the answers are written
        os.write(1, b"a warning of a library" * 10)
        print("another", flush=True)
    if self.size == (64, 105):
        os._exit(7)
    return decoded(self)

decoded, untrusted.GifImageFile.load = untrusted.GifImageFile.load, load
child.CPU_S = 1.0
if len(sys.argv) > 1:
    child.main()
"""
"""A program like the real one, but that some sizes of GIF are fatal to its decoder."""


def gif(width: int = 64, height: int = 64) -> bytes:
    levels = np.random.default_rng(height).integers(0, 256, (height, width), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "GIF")
    return stream.getvalue()


@pytest.fixture(scope="module")
def child():
    with ImageChild(SETTINGS) as found:
        yield found


@pytest.fixture
def nasty(tmp_path, monkeypatch):
    (tmp_path / "nasty_decoder.py").write_text(NASTY)
    monkeypatch.syspath_prepend(tmp_path)
    with ImageChild(SETTINGS, module="nasty_decoder") as found:
        yield found


def outcomes(child: ImageChild, *heights: int) -> list[str]:
    return [child.measure(gif(height=height)).columns["outcome"] for height in heights]


def test_the_child_measures_what_this_process_would(child):
    for data in (gif(), gif(900, 700), b"", b"<html>", gif()[:100]):
        assert child.measure(data) == measure_image(data, SETTINGS)


def test_a_decoder_that_never_ends_costs_its_picture_alone(nasty):
    """F31"""
    start = time.process_time()
    assert outcomes(nasty, 64, 101, 65, 101, 66) == ["ok", "decode_timeout", "ok", "decode_timeout", "ok"]
    assert time.process_time() - start < 1  # it was the child's time, and that is bounded


def test_a_decoder_that_eats_memory_costs_its_picture_alone(nasty):
    """F31: what the decoder itself reports is a failure to decode."""
    assert outcomes(nasty, 64, 102, 65) == ["ok", "decode_failed", "ok"]


def test_memory_that_ends_outside_the_decoder_ends_the_child(tmp_path, monkeypatch):
    """F31"""
    (tmp_path / "hungry.py").write_text(
        "from pipeline.vision import child, image\n"
        "def store(data, *_): return [bytearray(1 << 24) for _ in range(1 << 20)]\n"
        "real, image.store = image.store, lambda data, header, settings, boxes: "
        "store(data) if header.height == 101 else real(data, header, settings)\n"
        "child.main()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with ImageChild(SETTINGS, module="hungry") as hungry:
        assert outcomes(hungry, 64, 101, 65) == ["ok", "decode_timeout", "ok"]


def test_a_decoder_that_crashes_costs_its_picture_alone(nasty):
    """F32"""
    first, crashed, last = (nasty.measure(gif(height=height)) for height in (64, 103, 65))
    assert (crashed.columns["outcome"], crashed.columns["detail"], crashed.data) == ("decode_crash", "SIGSEGV", None)
    assert len(crashed.columns["sha256"]) == 64
    assert [first, last] == [measure_image(gif(height=height), SETTINGS) for height in (64, 65)]
    assert nasty.measure(gif(height=105)).columns["detail"] == "exit code 7"


def test_a_library_that_prints_does_not_speak_in_between(nasty):
    assert nasty.measure(gif(height=104)) == measure_image(gif(height=104), SETTINGS)


def test_a_child_that_was_killed_between_two_pictures_costs_one_of_them(child):
    """F32"""
    child.measure(gif())
    os.kill(child._child.pid, signal.SIGKILL)
    killed = child.measure(gif())
    assert (killed.columns["outcome"], killed.columns["detail"]) == ("decode_crash", "SIGKILL")
    assert child.measure(gif()).columns["outcome"] == "ok"


def test_no_child_and_no_descriptor_outlives_its_owner():
    before = len(os.listdir("/proc/self/fd"))
    with ImageChild(SETTINGS) as child:
        child.measure(gif())
        pid = child._child.pid
    assert not os.path.exists(f"/proc/{pid}")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.long
def test_the_largest_picture_that_is_decoded_fits_into_the_child(child):
    """F28, F31: transparent, so that it is blended with white at full size."""
    stream = io.BytesIO()
    Image.new("RGBA", (7_071, 7_071), (200, 30, 90, 128)).save(stream, "PNG", compress_level=1)
    columns, _ = child.measure(stream.getvalue())
    assert (columns["outcome"], columns["width"]) == ("ok", 512)
