"""What is found to be a copy: attacks and look-alikes against limits, for the grey hash alone and with the second look.

    python benchmarks/copies.py            one JSON line
    python benchmarks/copies.py table      the tables of docs/duplicates.md

Copies are made of the 119 photographs of photos.tar, and each is compared with what it was made of: re-encoded (JPEG
quality 30 to 95), resized (half, twice), brightened, cropped at all sides, watermarked. Look-alikes that are other
pictures: photographs with their hue turned, products drawn in six colours, quotations on one layout, frames of one
shot (a window of 80% of a photograph that moves by 6% of its width, or that is zoomed by 8%; half a second of a slow
pan, which count as different images here), and all pairs of different photographs, also those of flickr8k-images.tar.

All is served as a file, and measured as fetch measures it. The share of pairs taken for copies is the recall of the
first kind, and a fault in the second.
"""

from __future__ import annotations

import colorsys
import io
import json
import os
import platform
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from pipeline.copies.signature import SIGNATURE_COLUMNS, CopyLimits, Signatures, signatures_of, telling
from pipeline.stages.dedup.stage import Config
from pipeline.vision.image import measure_image
from pipeline.vision.settings import ImageSettings
from schemas.fetch import ADDS

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETTINGS = ImageSettings()
UNLIMITED = {"phash256": 256, "chroma": 255}
GREY = [CopyLimits(bits, **UNLIMITED) for bits in (0, 2, 4, 6, 8, 10)]
SECOND = [
    CopyLimits(*limits)
    for limits in (
        (4, 16, 16),
        (4, 24, 12),
        (4, 24, 16),
        (4, 24, 24),
        (4, 28, 16),
        (4, 32, 16),
        (6, 24, 16),
        (6, 32, 16),
        (8, 32, 16),
    )
]
COLOURS = {"red": 0.0, "orange": 0.08, "green": 0.33, "cyan": 0.5, "blue": 0.64, "purple": 0.8}
QUOTES = [
    "Be yourself; everyone else\nis already taken.",
    "The best way out\nis always through.",
    "Whatever you are,\nbe a good one.",
    "Nothing will work\nunless you do.",
    "Simplicity is the ultimate\nsophistication.",
    "Turn your wounds\ninto wisdom.",
    "Well begun\nis half done.",
    "No great mind has existed\nwithout madness.",
]


# Copies


def reencoded(quality: int) -> Callable[[Image.Image], bytes]:
    return lambda picture: encoded(picture, quality)


def resized(factor: float) -> Callable[[Image.Image], bytes]:
    def attack(picture: Image.Image) -> bytes:
        size = (round(picture.width * factor), round(picture.height * factor))
        return encoded(picture.resize(size, Image.Resampling.LANCZOS))

    return attack


def brightened(factor: float) -> Callable[[Image.Image], bytes]:
    return lambda picture: encoded(ImageEnhance.Brightness(picture).enhance(factor))


def cropped(share: float) -> Callable[[Image.Image], bytes]:
    """So much off at each of the four sides together: a share of width and of height."""

    def attack(picture: Image.Image) -> bytes:
        dx, dy = picture.width * share / 2, picture.height * share / 2
        return encoded(picture.crop((round(dx), round(dy), round(picture.width - dx), round(picture.height - dy))))

    return attack


def watermarked(picture: Image.Image) -> bytes:
    """A line of half-transparent text, a twelfth of the height, in a corner."""
    layer = Image.new("RGBA", picture.size)
    font = ImageFont.load_default(max(10, picture.height // 12))
    draw = ImageDraw.Draw(layer)
    draw.text((picture.width * 0.96, picture.height * 0.96), "© example.org", (255, 255, 255, 140), font, anchor="rs")
    return encoded(Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB"))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG q30": reencoded(30),
    "JPEG q50": reencoded(50),
    "JPEG q70": reencoded(70),
    "JPEG q95": reencoded(95),
    "half size": resized(0.5),
    "twice the size": resized(2),
    "brighter by 8%": brightened(1.08),
    "brighter by 20%": brightened(1.2),
    "2% cropped off": cropped(0.02),
    "5% cropped off": cropped(0.05),
    "watermark": watermarked,
}


# Look-alikes


def hue_turned(picture: Image.Image, degrees: int) -> Image.Image:
    hue, saturation, value = picture.convert("HSV").split()
    turned = Image.fromarray((np.asarray(hue).astype(int) + degrees * 256 // 360).astype(np.uint8))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def products(colour: tuple[int, int, int]) -> Iterator[Image.Image]:
    """A T-shirt, a mug and a chair on white."""
    shirt, mug, chair = (Image.new("RGB", (360, 360), "white") for _ in range(3))
    ImageDraw.Draw(shirt).polygon(
        [
            (120, 60),
            (150, 80),
            (210, 80),
            (240, 60),
            (320, 120),
            (290, 170),
            (255, 150),
            (255, 310),
            (105, 310),
            (105, 150),
            (70, 170),
            (40, 120),
        ],
        fill=colour,
        outline="black",
        width=4,
    )
    draw = ImageDraw.Draw(mug)
    draw.ellipse((210, 120, 320, 250), outline=colour, width=24)
    draw.rounded_rectangle((60, 80, 250, 300), radius=24, fill=colour)
    draw.ellipse((60, 60, 250, 110), fill=(235, 235, 235), outline=colour, width=8)
    draw = ImageDraw.Draw(chair)
    draw.rounded_rectangle((110, 40, 250, 180), radius=20, fill=colour)
    draw.polygon([(90, 190), (270, 190), (300, 240), (60, 240)], fill=colour)
    for x in (80, 120, 240, 275):
        draw.line((x, 240, x, 340), fill=(70, 50, 40), width=10)
    yield from (shirt, mug, chair)


def cards(ground: tuple[int, int, int], ink: str, is_large: bool) -> Iterator[Image.Image]:
    """QUOTES on one layout: frame and signature, and either large text or small text over sun and hills."""
    for quote in QUOTES:
        picture = Image.new("RGB", (480, 360), ground)
        draw = ImageDraw.Draw(picture)
        if is_large:
            draw.multiline_text((40, 100), quote, ink, ImageFont.load_default(34), spacing=14)
        else:
            hills = [(0, 360), (0, 290), (150, 200), (260, 290), (380, 230), (480, 300), (480, 360)]
            draw.polygon(hills, fill="#587858")
            draw.ellipse((300, 40, 400, 140), fill=ink)
            draw.multiline_text((40, 90), quote, ink, ImageFont.load_default(24), spacing=10)
        draw.rectangle((16, 16, 464, 344), outline=ink, width=5)
        draw.text((450, 330), "quotes of the day", ink, ImageFont.load_default(20), "rs")
        yield picture


def frames(picture: Image.Image) -> Iterator[Image.Image]:
    """Three of a pan, then one of a zoom."""
    width, height = picture.width * 0.8, picture.height * 0.8
    for step in range(3):
        left = picture.width * 0.06 * step
        yield picture.crop((round(left), 0, round(left + width), round(height)))
    dx, dy = width * 0.04, height * 0.04
    yield picture.crop((round(left + dx), round(dy), round(left + width - dx), round(height - dy)))


# Measuring


def encoded(picture: Image.Image, quality: int = 90) -> bytes:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "jpeg", quality=quality)
    return stream.getvalue()


@cache
def columns_of(data: bytes) -> dict[str, Any]:
    return measure_image(data, SETTINGS).columns


def measured(files: Iterable[bytes]) -> tuple[Signatures, np.ndarray]:
    """Their hashes [N], and whether these say anything about the picture [N]."""
    rows = [columns_of(data) for data in files]
    schema = pa.schema([ADDS.field(name) for name in (*SIGNATURE_COLUMNS, "phash_margin")])
    table = pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema=schema)
    return signatures_of(table), telling(table["phash"], table["phash_margin"])


def distances(one: Signatures, other: Signatures) -> np.ndarray:
    """[N, 3]: bits of phash, bits of phash256, levels of chroma4 between each row and its counterpart."""
    chroma = np.abs(one.chroma4.astype(np.int16) - other.chroma4.astype(np.int16)).max(1)
    fine = np.bitwise_count(one.phash256 ^ other.phash256).sum(1)
    return np.column_stack([np.bitwise_count(one.phash ^ other.phash), fine, chroma])


def of_pairs(files: list[bytes], pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Distances of those pairs of files whose hashes say anything."""
    signatures, telling = measured(files)
    one, other = np.array([(a, b) for a, b in pairs if telling[a] and telling[b]]).T
    return distances(*(Signatures(*(values[rows] for values in signatures)) for rows in (one, other)))


def of_groups(groups: Iterable[Iterable[Image.Image]]) -> np.ndarray:
    """Distances of all pairs within each group."""
    files, pairs = [], []
    for group in groups:
        start = len(files)
        files += [encoded(picture) for picture in group]
        pairs += combinations(range(start, len(files)), 2)
    return of_pairs(files, pairs)


def cases(photos: list[bytes], thumbnails: list[bytes]) -> Iterator[tuple[str, bool, np.ndarray]]:
    """(name, whether they are copies, distances of the pairs)."""
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in photos]
    number = len(photos)
    for name, attack in COPIES.items():
        files = photos + [attack(picture) for picture in pictures]
        yield name, True, of_pairs(files, zip(range(number), range(number, 2 * number), strict=True))
    for degrees in (60, 180):
        files = photos + [encoded(hue_turned(picture, degrees)) for picture in pictures]
        pairs = zip(range(number), range(number, 2 * number), strict=True)
        yield f"hue turned by {degrees}°", False, of_pairs(files, pairs)
    colours = [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.8, 0.8)) for hue in COLOURS.values()]
    yield "products in six colours", False, of_groups(zip(*map(products, colours), strict=True))
    layouts = [((32, 58, 92), "white"), ((250, 246, 235), "black"), ((120, 30, 60), "#f0e0b0")]
    for name, is_large in (("quotations, large text", True), ("quotations, small text", False)):
        yield name, False, of_groups(cards(*layout, is_large) for layout in layouts)
    shots = [list(frames(picture)) for picture in pictures]
    files = [encoded(frame) for shot in shots for frame in shot]
    steps = [(4 * shot + a, 4 * shot + b) for shot in range(number) for a, b in pairwise(range(4))]
    yield "consecutive frames", False, of_pairs(files, steps)
    yield "different photographs", False, of_pairs(photos, combinations(range(number), 2))
    yield "different Flickr8k pictures", False, all_pairs(thumbnails)


def all_pairs(files: list[bytes]) -> np.ndarray:
    """Distances of all pairs; where phash is beyond every limit, that one alone."""
    signatures, telling = measured(files)
    kept = Signatures(*(values[telling] for values in signatures))
    found = []
    for i in range(len(kept.phash) - 1):
        bits = np.bitwise_count(kept.phash[i] ^ kept.phash[i + 1 :])
        near = i + 1 + np.flatnonzero(bits <= GREY[-1].phash)
        some = np.column_stack([bits, np.zeros((len(bits), 2), int)])
        own = Signatures(*(np.repeat(values[i : i + 1], len(near), axis=0) for values in kept))
        some[near - i - 1] = distances(own, Signatures(*(values[near] for values in kept)))
        found.append(some)
    return np.concatenate(found)


def files_of(tar: Path) -> list[bytes]:
    with tarfile.open(tar) as members:
        return [members.extractfile(member).read() for member in members if not member.name.endswith(".tsv")]


def label(limits: CopyLimits) -> str:
    return "/".join(map(str, limits[: 1 if limits.phash256 == UNLIMITED["phash256"] else 3]))


def shares(found: np.ndarray) -> dict[str, float]:
    """The share of pairs within each limits."""
    return {label(limits): float((found <= np.array(limits)).all(1).mean()) for limits in GREY + SECOND}


def table(results: dict[str, Result], limits: list[CopyLimits]) -> str:
    """In Markdown, in percent."""
    lines = [f"| pairs | n | {' | '.join(map(label, limits))} |", f"| --- | ---: |{' ---: |' * len(limits)}"]
    for name, result in results.items():
        numbers = " | ".join(f"{100 * result.shares[label(limit)]:.3g}" for limit in limits)
        lines.append(f"| {name} | {result.pairs:,} | {numbers} |")
    return "\n".join(lines)


class Result(NamedTuple):
    pairs: int
    are_copies: bool
    shares: dict[str, float]  # by label of the limits


def main() -> int:
    if not (DATA / "photos.tar").exists():
        print(json.dumps({"benchmark": "copies", "skipped": "photos.tar is not in ../shared/data"}))
        return 0
    photos, thumbnails = files_of(DATA / "photos.tar"), files_of(DATA / "flickr8k-images.tar")
    results = {
        name: Result(len(found), are_copies, shares(found)) for name, are_copies, found in cases(photos, thumbnails)
    }
    if sys.argv[1:] == ["table"]:
        print(table(results, GREY), table(results, SECOND), sep="\n\n")
        return 0
    print(
        json.dumps(
            {
                "benchmark": "copies",
                "default": label(Config().limits),
                "photos": len(photos),
                "recall": {name: _rounded(result.shares) for name, result in results.items() if result.are_copies},
                "false": {name: _rounded(result.shares) for name, result in results.items() if not result.are_copies},
                "pairs": {name: result.pairs for name, result in results.items()},
                "cores": os.cpu_count(),
                "python": platform.python_version(),
            }
        )
    )
    return 0


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.3g}") for name, value in values.items()}


if __name__ == "__main__":
    sys.exit(main())
