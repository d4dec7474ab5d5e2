"""Perceptual hashes from JPEG bytes against imagehash, and the kernels of the stored image against their peers.

One core, CPU time, rounds interleaved; fastest round of each. Photographs of photos.tar (JPEG up to 500 pixels, those
of imagenet-sample-images) and thumbnails of flickr8k-images.tar (144 pixels). All hashes must be equal, or it exits
with 1. Also printed: how many bits the hash of the stored picture lies from that of the original; CPU of everything
fetch measures of an image (keep_ratio 256, enlarged where it is smaller), in this process and with the child that
guards decoding, beside img2dataset's resizer, which measures nothing; and the 5th percentile of the PSNR of our
resizing against full decode and OpenCV (INTER_AREA down, INTER_LANCZOS4 up), before the encoder.

    python benchmarks/phash.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import sys
import tarfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
from PIL import Image

from pipeline.vision import jpeg
from pipeline.vision.child import ImageChild
from pipeline.vision.image import ImageSettings, measure_image
from pipeline.vision.phash import phash, phash_of
from pipeline.vision.resample import area, lanczos, resized, resized_half
from pipeline.vision.resize import HALVED_FROM, sizes_of

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETTINGS = ImageSettings(size=256, mode="keep_ratio", enlarge=True)
THUMBNAILS = 300
LARGEST_PHOTO = 500
GOAL = 1.6  # times as fast as imagehash, from JPEG bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if not DATA.is_dir():
        print(json.dumps({"benchmark": "phash", "skipped": "no shared data"}))
        return 0
    cv2.setNumThreads(1)
    photos = [data for data in jpegs("photos.tar") if max(Image.open(io.BytesIO(data)).size) <= LARGEST_PHOTO]
    sets = {"photos": photos, "thumbnails": jpegs("flickr8k-images.tar")[:THUMBNAILS]}
    wrong = sum(
        int(ours) != theirs
        for images in sets.values()
        for ours, theirs in zip(phash(images).tolist(), map(reference, images), strict=True)
    )
    found = {name: measured(images, rounds) for name, images in sets.items()}
    print(
        json.dumps(
            {
                "benchmark": "phash",
                "rounds": rounds,
                "wrong": wrong,
                **found,
                "psnr_p5_db": quality(photos, sets["thumbnails"]),
                "peer": f"imagehash {imagehash.__version__}",
                "ratio": found["photos"]["ratio"],
                "goal": GOAL,
                "goal_met": all(one["ratio"] >= GOAL for one in found.values()),
                "cores": os.cpu_count(),
                "python": platform.python_version(),
            }
        )
    )
    return 1 if wrong else 0


def measured(images: list[bytes], rounds: int) -> dict[str, Any]:
    """Milliseconds of CPU an image of each way, and the distance of stored hashes."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    from img2dataset.resizer import Resizer

    peer = Resizer(SETTINGS.size, SETTINGS.mode, False, encode_quality=SETTINGS.quality, encode_format="jpg")
    kept = [measure_image(data, SETTINGS).data or b"" for data in images]
    small = [jpeg.decoded(data) for data in kept]
    with ImageChild(SETTINGS) as child:
        ways: dict[str, Callable[[], Any]] = {
            "phash_ms": partial(phash, images),
            "phash_single_ms": lambda: [phash_of(data) for data in images],
            "imagehash_ms": lambda: [reference(data) for data in images],
            "measure_ms": lambda: [measure_image(data, SETTINGS) for data in images],
            "libjpeg_ms": lambda: [
                (jpeg.decoded(data), jpeg.encoded(pixels, SETTINGS.quality), jpeg.decoded(again))
                for data, pixels, again in zip(images, small, kept, strict=True)
            ],  # what no code of ours makes faster: to pixels, to the stored bytes, to their pixels
            "img2dataset_resizer_ms": lambda: [peer(io.BytesIO(data)) for data in images],
        }
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(rounds):
            for name, way in ways.items():
                begun = time.process_time()
                way()
                best[name] = min(best[name], time.process_time() - begun)
        guarded_s = [_with_child(child, images) for _ in range(rounds)]
    stored = [measure_image(data, SETTINGS).columns["phash"] for data in images]
    bits = np.bitwise_count(np.array(stored, np.int64).view(np.uint64) ^ phash(images))
    found = {name: round(seconds / len(images) * 1e3, 3) for name, seconds in best.items()}
    off = {"mean": round(float(bits.mean()), 2), "p95": int(np.percentile(bits, 95)), "max": int(bits.max())}
    return {
        "images": len(images),
        **found,
        "guarded_measure_ms": round(min(guarded_s) / len(images) * 1e3, 3),
        "ratio": round(best["imagehash_ms"] / best["phash_ms"], 2),
        "stored_bits_off": off,
    }


def _with_child(child: ImageChild, images: list[bytes]) -> float:
    """CPU of this process and of its child. The child's is known when it ends, so its start is taken off again."""
    child.stop()
    child.measure(images[0])
    child.stop()
    start = _children_s()
    child.measure(images[0])
    child.stop()
    start = _children_s() - start
    before, begun = _children_s(), time.process_time()
    for data in images:
        child.measure(data)
    own = time.process_time() - begun
    child.stop()
    return own + _children_s() - before - start


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def quality(photos: list[bytes], thumbnails: list[bytes]) -> dict[str, float]:
    """5th percentiles of PSNR, dB: of the kernels alone, and of decoding at half size at some reductions."""
    found: dict[str, list[float]] = {}
    for data in photos:
        full = jpeg.decoded(data)
        if full is None:
            continue
        height, width = full.shape
        _add(found, "area", resized(full, *sizes_of((width, height), SETTINGS).resized, area), full)
        half = jpeg.decoded(data, 2)
        for times in (2, 2.5, HALVED_FROM, 3, 4, 8):
            size = max(1, round(width / times)), max(1, round(height / times))
            _add(found, f"half_decode_{times}x", resized_half(half, (width, height), *size), full)
    for data in thumbnails:
        full = jpeg.decoded(data)
        _add(found, "lanczos_up", resized(full, *sizes_of(full.shape[::-1], SETTINGS).resized, lanczos), full)
    return {name: round(float(np.percentile(ratios, 5)), 1) for name, ratios in found.items()}


def _add(found: dict[str, list[float]], name: str, small: np.ndarray, full: np.ndarray) -> None:
    interpolation = cv2.INTER_AREA if small.size < full.size else cv2.INTER_LANCZOS4
    ours, theirs = _channels(small), cv2.resize(_channels(full), small.shape[::-1], interpolation=interpolation)
    error = float(np.mean((ours.astype(float) - theirs) ** 2))
    found.setdefault(name, []).append(99.0 if error == 0 else 10 * np.log10(255**2 / error))


def _channels(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape, 4)[:, :, :3])


def reference(data: bytes) -> int:
    return int(str(imagehash.phash(Image.open(io.BytesIO(data)))), 16)


def jpegs(name: str) -> list[bytes]:
    """Files of a tar, in order."""
    with tarfile.open(DATA / name) as tar:
        members = [member for member in tar if member.name.lower().endswith((".jpg", ".jpeg"))]
        return [tar.extractfile(member).read() for member in members]  # type: ignore[union-attr]


if __name__ == "__main__":
    sys.exit(main())
