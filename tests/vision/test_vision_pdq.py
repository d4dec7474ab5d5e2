"""PDQ against what pdqhash 0.2.8, Meta's own code, gave for the same pixels."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from pipeline.vision.pdq import Index, pdq

MATCH_BITS = 31  # the distance that the authors of PDQ recommend


def drawn(height: int, width: int, seed: int) -> Image.Image:
    """Waves of three colours: the same bytes on every machine."""
    y, x = np.mgrid[0:height, 0:width]
    turns = np.random.default_rng(seed).integers(1, 9, (3, 4))
    waves = [
        (x * a * 7 // width + y * b * 5 // height) % 11 * 16 + (x * c // 3 + y * d // 2) % 64 for a, b, c, d in turns
    ]
    return Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))


def bits_between(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64, 1), "ef11688c5e73d48aa325c2d983ded63a3cd0ca253d0e86b1bbe64c2df5e39824"),
        ((300, 200, 2), "83df96b68bdcfea8bc08a97504df51b1d51e4db59da41d0abd60ab45ae4000cf"),
        ((97, 413, 3), "c51ac6f6359afcb417a0bf0e9da290deeaa3115635bcaea935acef0901e4ab01"),
        ((40, 30, 4), "7ffffa3f831083518e51206f83fa93f382fdd680bd2266b0cd26968cb490b4a4"),
        ((700, 700, 5), "d65f7fffd7558051825a82f102df96a0a85faed53d9abe35bda0850a2da0140a"),
    ],
)
def test_pdq_is_the_reference_implementations_to_a_bit_or_two(size, expected) -> None:
    hash_, quality = pdq(drawn(*size))
    assert bits_between(hash_, bytes.fromhex(expected)) <= 2
    assert quality == 100


def test_a_smaller_and_brighter_copy_matches_and_another_picture_does_not() -> None:
    original = drawn(420, 300, 7).resize((150, 210), Image.Resampling.BOX).resize((300, 420), Image.Resampling.BICUBIC)
    copy = original.resize((200, 280), Image.Resampling.BICUBIC).point(lambda level: min(255, level + 12))
    listed = np.frombuffer(pdq(original)[0] + pdq(drawn(420, 300, 8))[0], np.uint64).reshape(-1, 4)
    assert Index(listed, MATCH_BITS).has_near(pdq(copy)[0])
    assert not Index(listed, MATCH_BITS).has_near(pdq(drawn(420, 300, 9))[0])
    assert not Index(listed[:0], MATCH_BITS).has_near(pdq(copy)[0])


@pytest.mark.parametrize("bits", [0, 15, 16, MATCH_BITS, 32, 63, 127])
def test_the_index_finds_what_comparing_all_finds(bits) -> None:
    draws = np.random.default_rng(bits)
    listed = draws.integers(0, 2**64, (3000, 4), dtype=np.uint64)
    index, near = Index(listed, bits), 0
    for number in range(200):
        changed = np.unpackbits(listed[number].view(np.uint8))
        flips = max(0, bits + int(draws.integers(-3, 4)))
        changed[draws.choice(256, flips, replace=False)] ^= 1
        asked = np.packbits(changed).view(np.uint64)
        expected = bool(np.bitwise_count(listed ^ asked).sum(axis=1).min() <= bits)
        assert index.has_near(asked.tobytes()) == expected
        near += expected
    assert 0 < near < 200 or bits == 127  # as far from one another as any two hashes are


def test_a_picture_of_one_colour_has_no_quality() -> None:
    assert pdq(Image.new("RGB", (200, 100), "teal"))[1] == 0
    assert pdq(Image.new("RGB", (3, 100), "teal")) == (bytes(32), 0)


def test_a_photograph_of_fifty_megapixels_needs_the_memory_of_a_small_one() -> None:
    small = drawn(420, 300, 7)
    large = small.resize((300 * 20, 420 * 20), Image.Resampling.BICUBIC)
    tracemalloc.start()
    hash_, _ = pdq(large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * 2**20
    assert bits_between(hash_, pdq(small)[0]) <= MATCH_BITS
