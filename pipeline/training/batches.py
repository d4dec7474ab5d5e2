"""Batches in an order that the seed alone decides, decoded by threads ahead of the training.

Which samples a step takes, how each is cropped and which of its captions is drawn are pure functions of seed, epoch and
key: no random state exists that a restart could lose, and threads and processes change nothing (N5, N19).

An epoch is as many whole batches as the data fills; what is left over is another remainder in each epoch. Images are
resized once and kept in memory, as far as they fit, so that a small model on a CPU does not decode in every epoch.

Shapes: B batch, S image size in pixels, L text length.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from random import Random
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from pipeline.training.sources import Index
from pipeline.vision.clip_model import tokenize
from pipeline.vision.decode import decode
from pipeline.vision.reasons import ImageRefused
from pipeline.vision.untrusted import Limits, inspect

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)  # openai/CLIP, clip.py: of RGB in 0..1
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
BATCHES_AHEAD = 4
_LIMITS = Limits()

U = TypeVar("U", np.uint64, npt.NDArray[np.uint64])


class Batch(NamedTuple):
    """One process's share of a step."""

    step: int
    pixels_B3SS: Tensor  # uint8; black where the image does not decode
    tokens_BL: Tensor
    valid_B: Tensor  # False where the image does not decode


@lru_cache(maxsize=2)  # the epoch that is read and the one before or after
def epoch_order(samples: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """A permutation of ``range(samples)``: sorted by splitmix64 (Steele et al., 2014) of seed, epoch and number.

    Not numpy's generator, whose streams may change from version to version (NEP 19).
    """
    stream = _splitmix64(_splitmix64(np.uint64(seed)) ^ np.uint64(epoch))
    return np.argsort(_splitmix64(np.arange(samples, dtype=np.uint64) ^ stream), kind="stable")


def samples_of_step(step: int, samples: int, batch_size: int, seed: int) -> tuple[int, npt.NDArray[np.int64]]:
    """The epoch of a step, counted from 0, and the samples of its global batch."""
    epoch, place = divmod(step, samples // batch_size)
    return epoch, epoch_order(samples, seed, epoch)[place * batch_size : (place + 1) * batch_size]


def normalise(pixels_B3SS: Tensor) -> Tensor:
    """What the network sees of uint8 RGB: as CLIP's own preprocessing does it."""
    mean, std = (torch.tensor(values, device=pixels_B3SS.device).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    return (pixels_B3SS.float() / 255 - mean) / std


def resize(picture: Image.Image, shortest: int) -> npt.NDArray[np.uint8]:
    """RGB [H, W, 3] whose shorter side has ``shortest`` pixels; bicubic, as CLIP's own preprocessing does it."""
    shorter = min(picture.size)
    scale = shortest / shorter
    width, height = (shortest if side == shorter else int(scale * side) for side in picture.size)
    return np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))


def random_crop(pixels_HW3: npt.NDArray[np.uint8], size: int, rng: Random) -> npt.NDArray[np.uint8]:
    """A square of the image at a random place: the only augmentation of CLIP (section 2.4)."""
    height, width, _ = pixels_HW3.shape
    top, left = (int(rng.random() * (side - size + 1)) for side in (height, width))
    return pixels_HW3[top : top + size, left : left + size]


class Batches:
    """The batches of one process, from any step on; ``close`` or leave the block to end its threads."""

    def __init__(
        self,
        index: Index,
        *,
        batch_size: int,
        seed: int,
        image_size: int,
        crop_margin: float,
        context_length: int,
        share: tuple[int, int] = (0, 1),
        workers: int = 1,
        cache_mb: int = 0,
    ) -> None:
        """``batch_size`` is that of all processes together; ``share`` is this one's rank and how many there are."""
        self._index = index
        self._batch_size, self._seed = batch_size, seed
        self._image_size, self._shortest = image_size, round(image_size * (1 + crop_margin))
        self._context_length = context_length
        self._rank, self._size = share
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._cache = _Cache(cache_mb << 20)

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def from_step(self, first: int, last: int) -> Iterator[Batch]:
        """Steps ``first`` to ``last`` - 1; what an image's reading raises is raised at its step."""
        ahead: deque[Callable[[], Batch]] = deque()
        for step in range(first, last):
            ahead.append(self._begin(step))
            if len(ahead) > BATCHES_AHEAD:
                yield ahead.popleft()()
        while ahead:
            yield ahead.popleft()()

    def keys(self, step: int) -> list[str]:
        """Of the global batch, in its order."""
        _, samples = samples_of_step(step, len(self._index), self._batch_size, self._seed)
        return [self._index.key(int(sample)) for sample in samples]

    def _begin(self, step: int) -> Callable[[], Batch]:
        epoch, samples = samples_of_step(step, len(self._index), self._batch_size, self._seed)
        share = np.split(samples, self._size)[self._rank]
        pending = [self._pool.submit(self._sample, int(sample), epoch) for sample in share]
        return lambda: self._collate(step, pending)

    def _collate(self, step: int, pending: list[Future[tuple[npt.NDArray[np.uint8] | None, str]]]) -> Batch:
        samples = [future.result() for future in pending]
        black = np.zeros((self._image_size, self._image_size, 3), np.uint8)
        pixels = np.stack([black if picture is None else picture for picture, _ in samples])
        return Batch(
            step,
            torch.from_numpy(pixels).permute(0, 3, 1, 2),
            tokenize([caption for _, caption in samples], self._context_length),
            torch.tensor([picture is not None for picture, _ in samples]),
        )

    def _sample(self, sample: int, epoch: int) -> tuple[npt.NDArray[np.uint8] | None, str]:
        """The crop [S, S, 3] and the caption of this epoch; no crop where the image does not decode."""
        captions = self._index.captions(sample)
        rng = Random(f"{self._seed}/{epoch}/{self._index.key(sample)}")
        caption = captions[int(rng.random() * len(captions))]
        pixels = self._cache.get(sample, self._decode)
        return (None if pixels is None else random_crop(pixels, self._image_size, rng)), caption

    def _decode(self, sample: int) -> npt.NDArray[np.uint8] | None:
        data = self._index.picture(sample)
        try:
            return resize(decode(data, inspect(data, _LIMITS)).picture, self._shortest)
        except ImageRefused:
            return None


class _Cache:
    """Decoded images up to ``room`` bytes. The first that fit stay: every epoch asks for all, so age says nothing."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._held: dict[int, npt.NDArray[np.uint8] | None] = {}
        self._lock = threading.Lock()

    def get(self, sample: int, make: Callable[[int], npt.NDArray[np.uint8] | None]) -> npt.NDArray[np.uint8] | None:
        if sample in self._held:
            return self._held[sample]
        pixels = make(sample)
        size = 0 if pixels is None else pixels.nbytes
        with self._lock:
            if size <= self._room and sample not in self._held:
                self._held[sample] = pixels
                self._room -= size
        return pixels


def _splitmix64(x: U) -> U:
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
