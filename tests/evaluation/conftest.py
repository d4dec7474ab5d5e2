"""A small model with random weights, and pictures to measure it on."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from PIL import Image

from pipeline.vision.clip_model import ClipModel, load


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Small batches gain nothing by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> ClipModel:
    return load(str(checkpoint), device="cpu", batch_size=4)


def draw(count: int, seed: int = 0) -> list[Image.Image]:
    pixels = np.random.default_rng(seed).integers(0, 255, (count, 6, 6, 3), np.uint8)
    return [Image.fromarray(some).resize((48, 40)) for some in pixels]


@pytest.fixture(scope="session")
def make_pictures() -> Callable[..., list[Image.Image]]:
    return draw


def encode(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def as_png() -> Callable[[Image.Image], bytes]:
    return encode


@pytest.fixture(scope="session")
def write_pairs() -> Callable[..., Path]:
    """A function (path, pairs of bytes and caption, first key): a tar by the reference's own writer."""

    def write(path: Path, pairs: list[tuple[bytes, str]], first: int = 0) -> Path:
        with webdataset.TarWriter(str(path), encoder=False, mtime=0) as writer:
            for number, (data, caption) in enumerate(pairs, first):
                writer.write({"__key__": f"{number:06}", "png": data, "txt": caption.encode()})
        return path

    return write
