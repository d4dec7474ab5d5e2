"""Pictures of a test set, decoded one after the other when a model asks for them.

Shapes: N pictures, R those that can be read, D embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.core.errors import ErrorCode, StageError
from pipeline.training.sources import Index
from pipeline.vision.clip_model import ClipModel
from pipeline.vision.decode import decode
from pipeline.vision.reasons import ImageRefused
from pipeline.vision.untrusted import Limits, inspect

MAX_UNREADABLE = 0.01  # of the pictures (V4)


def open_picture(data: bytes) -> Image.Image | None:
    """RGB; None for bytes that do not decode."""
    try:
        return decode(data, inspect(data, Limits())).picture
    except ImageRefused:
        return None


def embed_pictures(
    model: ClipModel, pictures: Iterable[Image.Image | None]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Embeddings [R, D] of the pictures that could be read, and which of all those are [N].

    StageError ``too_many_errors`` where more than 1% could not.
    """
    readable: list[bool] = []

    def those_that_decode() -> Iterator[Image.Image]:
        for picture in pictures:
            readable.append(picture is not None)
            if picture is not None:
                yield picture

    image_RD = model.encode_images(those_that_decode())
    readable_N = np.array(readable, bool)
    unreadable = int((~readable_N).sum())
    if unreadable > MAX_UNREADABLE * len(readable_N):
        raise StageError(
            ErrorCode.TOO_MANY_ERRORS,
            f"{unreadable:,} of {len(readable_N):,} images do not decode (limit {MAX_UNREADABLE:.0%}); repair the data",
        )
    return image_RD, readable_N


@dataclass(frozen=True)
class Distinct:
    """The distinct pictures of a test set, by their bytes, in order of the first sample that has them."""

    sha256: list[str]
    captions: list[list[str]]  # of all samples of the picture
    read: Callable[[int], bytes]

    def pictures(self) -> Iterator[Image.Image | None]:
        return (open_picture(self.read(place)) for place in range(len(self.sha256)))


def distinct(index: Index) -> Distinct:
    """Samples of one picture made one: its captions are all right."""
    captions: dict[str, list[str]] = {}
    first: list[int] = []
    for sample in range(len(index)):
        sha256 = hashlib.sha256(index.picture(sample)).hexdigest()
        if sha256 not in captions:
            captions[sha256] = []
            first.append(sample)
        captions[sha256] += index.captions(sample)
    return Distinct(list(captions), list(captions.values()), lambda place: index.picture(first[place]))


def overlap(test: Sequence[str], training: Index) -> int:
    """How many of the pictures (sha256) are in ``training`` too (V10)."""
    wanted = set(test)
    return len(wanted & {hashlib.sha256(training.picture(sample)).hexdigest() for sample in range(len(training))})
