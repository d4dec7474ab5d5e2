"""Small pairs to train on: pictures of one colour with a stripe, and the words for them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import webdataset
from PIL import Image, ImageDraw

from pipeline.core.progress import Reporter
from pipeline.training.account import TrainResult
from pipeline.training.config import TrainConfig
from pipeline.training.loop import train

COLOURS = ("red", "green", "blue", "orange", "purple", "white", "black", "brown")
STEPS = 8
Sample = dict[str, Any]  # as WebDataset has it


def draw_samples(count: int, seed: int = 0) -> list[Sample]:
    rng = Random(seed)
    drawn = []
    for number in range(count):
        colour, stripe = rng.sample(COLOURS, 2)
        picture = Image.new("RGB", (rng.randint(70, 110), rng.randint(70, 110)), colour)
        ImageDraw.Draw(picture).line([(0, rng.randint(10, 60)), (120, rng.randint(10, 60))], stripe, 14)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG")
        caption = f"a {stripe} stripe on {colour} paper"
        drawn.append({"__key__": f"{seed}{number:05}", "jpg": buffer.getvalue(), "txt": caption})
    return drawn


def write_shard(path: Path, some: Iterable[Sample]) -> Path:
    """By the reference's own writer."""
    with webdataset.TarWriter(str(path), encoder=False, mtime=0) as writer:
        for sample in some:
            writer.write({name: value.encode() if name == "txt" else value for name, value in sample.items()})
    return path


def write_corpus_folder(folder: Path, some: list[Sample], shards: int) -> Path:
    """Tars of even keys and the manifest that lists them, as stage export leaves them."""
    folder.mkdir(parents=True)
    some = sorted(some, key=lambda sample: sample["__key__"])
    size = -(-len(some) // shards)
    listed = []
    for number in range(shards):
        share = some[number * size : (number + 1) * size]
        data = write_shard(folder / f"{number:05}.tar", share).read_bytes()
        files = {"tar": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}}
        keys = [sample["__key__"] for sample in share] or [""]
        span = {"first_key": keys[0], "last_key": keys[-1]}
        listed.append({"name": f"{number:05}", "samples": len(share), "files": files} | span)
    manifest = {"samples": len(some), "schema_version": "1", "shards": listed}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Small steps gain nothing by more, and the processes that tests start have as many."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_samples() -> Callable[..., list[Sample]]:
    return draw_samples


@pytest.fixture(scope="session")
def write_tar() -> Callable[..., Path]:
    return write_shard


@pytest.fixture(scope="session")
def write_corpus() -> Callable[..., Path]:
    return write_corpus_folder


@pytest.fixture(scope="session")
def pairs_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shard(tmp_path_factory.mktemp("pairs") / "pairs.tar", draw_samples(40))


@pytest.fixture(scope="session")
def settings(pairs_tar: Path) -> Callable[..., TrainConfig]:
    """A training of eight steps of eight pairs, into a second epoch; any setting of it changed."""

    def changed(output: Path, **others: object) -> TrainConfig:
        values = {"data": [str(pairs_tar)], "batch_size": 8, "steps": STEPS, "warmup_steps": 2, "seed": 3} | others
        return TrainConfig(output=str(output), **values)

    return changed


@pytest.fixture(scope="package")
def trained(
    tmp_path_factory: pytest.TempPathFactory, settings: Callable[..., TrainConfig], one_thread: None
) -> TrainResult:
    """One training that nothing disturbed."""
    return train(settings(tmp_path_factory.mktemp("trained") / "out"), Reporter(quiet=True))
