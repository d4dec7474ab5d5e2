"""The order is the seed's alone, and what the network sees is what CLIP's preprocessing makes."""

from __future__ import annotations

import io
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.training.batches import Batches, _Cache, epoch_order, normalise, random_crop, resize, samples_of_step
from pipeline.training.sources import Index, find_sources
from pipeline.vision.clip_model import openai_clip

SETTINGS = {"batch_size": 6, "seed": 1, "image_size": 32, "crop_margin": 0.25, "context_length": 16}


@pytest.fixture(scope="module")
def index(pairs_tar):
    return Index(find_sources([str(pairs_tar)]))


def batches_of(index, steps=14, **others):
    with Batches(index, **(SETTINGS | others)) as batches:
        return list(batches.from_step(0, steps))


def equal(some, others):
    return all(
        one.step == other.step and all(torch.equal(a, b) for a, b in zip(one[1:], other[1:], strict=True))
        for one, other in zip(some, others, strict=True)
    )


def test_an_epoch_is_every_sample_once_in_an_order_of_its_own():
    orders = [epoch_order(1000, 0, epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(1000)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert abs(np.corrcoef(orders[0], orders[1])[0, 1]) < 0.1
    assert abs(np.corrcoef(orders[0], np.arange(1000))[0, 1]) < 0.1
    assert not np.array_equal(orders[0], epoch_order(1000, 1, 0))


def test_the_order_is_the_same_on_every_machine_and_in_every_version():
    """N19"""
    assert epoch_order(12, 7, 3).tolist() == [2, 9, 1, 7, 6, 3, 8, 11, 4, 0, 10, 5]


def test_no_sample_comes_twice_in_an_epoch():
    """N5"""
    steps = [samples_of_step(step, 40, 6, seed=1) for step in range(12)]
    for epoch in (0, 1):
        taken = [sample for of, some in steps if of == epoch for sample in some.tolist()]
        assert len(taken) == len(set(taken)) == 36


def test_batches_do_not_depend_on_threads_cache_or_the_step_begun_at(index):
    """N5, N19"""
    reference = batches_of(index)
    assert equal(batches_of(index, workers=4, cache_mb=64), reference)
    with Batches(index, **SETTINGS, workers=2, cache_mb=1) as batches:
        assert equal(batches.from_step(9, 14), reference[9:])


def test_shares_of_processes_put_together_are_the_batch_of_one(index):
    """N6, N11"""
    whole, *shares = (batches_of(index, share=share) for share in ((0, 1), (0, 3), (1, 3), (2, 3)))
    for step, parts in enumerate(zip(*shares, strict=True)):
        assert torch.equal(torch.cat([part.pixels_B3SS for part in parts]), whole[step].pixels_B3SS)
        assert torch.equal(torch.cat([part.tokens_BL for part in parts]), whole[step].tokens_BL)


def test_each_epoch_draws_a_caption_and_a_crop_anew(write_tar, make_samples, tmp_path):
    some = [sample | {"json": b'{"caption": ["a red fox", "two dogs", "one cat"]}'} for sample in make_samples(6)]
    for sample in some:
        del sample["txt"]
    index = Index(find_sources([str(write_tar(tmp_path / "a.tar", some))]))
    drawn = [batches_of(index, steps=12)[epoch] for epoch in range(12)]
    assert len({tuple(sorted(batch.tokens_BL.sum(1).tolist())) for batch in drawn}) > 1
    assert {tuple(row) for batch in drawn for row in batch.tokens_BL.tolist()} == {
        tuple(row) for row in openai_clip.tokenize(["a red fox", "two dogs", "one cat"], 16).tolist()
    }
    assert len({batch.pixels_B3SS.float().sum().item() for batch in drawn}) > 6


def test_pixels_are_those_of_clips_own_preprocessing():
    rng = np.random.default_rng(0)
    for width, height in ((97, 64), (64, 97), (80, 80), (33, 200)):
        picture = Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8))
        resized = resize(picture, 32)
        top, left = (round((side - 32) / 2) for side in resized.shape[:2])
        crop = torch.from_numpy(resized[top : top + 32, left : left + 32].copy()).permute(2, 0, 1)
        assert torch.allclose(normalise(crop), openai_clip._transform(32)(picture), atol=1e-6)


def test_crops_fall_anywhere_in_the_picture_and_never_beside_it():
    pixels = np.arange(10 * 14 * 3).reshape(10, 14, 3)
    places = {tuple(random_crop(pixels, 8, Random(n))[0, 0]) for n in range(300)}
    assert places == {tuple(pixels[top, left]) for top in range(3) for left in range(7)}


def test_a_picture_that_does_not_decode_is_marked_and_black(write_tar, make_samples, tmp_path):
    """N9"""
    some = make_samples(6)
    some[2]["jpg"] = some[2]["jpg"][:300]
    index = Index(find_sources([str(write_tar(tmp_path / "a.tar", some))]))
    for _ in range(2):
        (batch,) = batches_of(index, steps=1, cache_mb=1)
        bad = samples_of_step(0, 6, 6, seed=1)[1].tolist().index(2)
        assert batch.valid_B.tolist() == [place != bad for place in range(6)]
        assert not batch.pixels_B3SS[bad].any()


def test_the_cache_holds_no_more_than_it_may():
    room = 20_000
    cache, asked = _Cache(room), []

    def decode(sample):
        asked.append(sample)
        return np.zeros((40, 40, 3), np.uint8)

    for _ in range(2):
        for sample in range(6):
            cache.get(sample, decode)
    held = room // (40 * 40 * 3)
    assert asked == [0, 1, 2, 3, 4, 5, *range(held, 6)]


def test_decoded_pictures_are_those_of_the_stored_bytes(index):
    with Image.open(io.BytesIO(index.picture(0))) as stored:
        assert stored.format == "JPEG"
        assert min(resize(stored, 36).shape[:2]) == 36
