"""Comparing signatures, for numba.

A bucket has rows that may be copies of each other. All its pairs are compared; the result is a minimum spanning
forest. It has fewer edges than rows and the same components as all edges together. Near pairs are joined first, so
every row with an edge has its edge of least distance.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from pipeline.copies.signature import CopyLimits, Signatures, room_for
from pipeline.core.compiled import compiled, inlined

ONE = np.uint64(1)


def _popcount(typing_context: Any, bits: Any) -> Any:

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), build


_intrinsic: Any = intrinsic  # its type is that of the code generator; compiled functions call the generated code
popcount: Callable[[np.uint64], np.uint64] = _intrinsic(_popcount)
"""Bits set in a uint64: one instruction."""


@inlined
def stands(ours: Signatures, i: int, theirs: Signatures, j: int, limits: CopyLimits) -> bool:
    """Whether two images with near phash are copies: compares phash256 and colours."""
    bits = np.uint64(0)
    for word in range(4):
        bits += popcount(ours.phash256[i, word] ^ theirs.phash256[j, word])
    if bits > np.uint64(limits.phash256):
        return False
    for mean in range(32):
        if abs(np.int32(ours.chroma4[i, mean]) - np.int32(theirs.chroma4[j, mean])) > limits.chroma:
            return False
    return True


@inlined
def root(parents: npt.NDArray[np.int64], i: int) -> int:
    """The root of the tree of ``i``; the path to it is halved."""
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@inlined
def is_first_bucket(difference: np.uint64, masks: npt.NDArray[np.uint64], number: int) -> bool:
    """Whether two rows with this ``difference`` share no bucket with a smaller number: each pair is compared once."""
    for before in range(number):  # noqa: SIM110  numba does not support generators in all()
        if difference & masks[before] == 0:
            return False
    return True


@inlined
def distances_met(phash: npt.NDArray[np.uint64], i: int, first: int, end: int, most: int) -> np.uint64:
    """The distances up to ``most`` between row ``i`` and rows ``first`` to ``end``-1: bit d is set for distance d.

    Most rows have none; the first loop finds that out without a branch.
    """
    own, near, others = phash[i], np.int64(0), phash[first:end]
    for other in others:
        near += popcount(own ^ other) <= np.uint64(most)
    met = np.uint64(0)
    if near:
        for other in others:
            bits = popcount(own ^ other)
            if bits <= np.uint64(most):
                met |= ONE << bits
    return met


def spanning_forests(
    starts: npt.NDArray[np.int64],
    splits: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.int64],
    signatures: Signatures,
    masks: npt.NDArray[np.uint64],
    limits: CopyLimits,
    edges: npt.NDArray[np.int64],
) -> int:
    """Forests of B buckets over N rows; returns the number of edges written.

    ``starts`` [B+1]: the rows of bucket b are starts[b] to starts[b+1]-1. ``splits`` [B]: -1, or the first row of the
    second chunk, if b is a pair of chunks of one bucket: only rows of different chunks are compared. ``numbers`` [B]
    int64: the index in ``masks`` [M] uint64 of the bits that all rows of b share. ``edges`` [N, 3] int64 receives the
    rows of each edge and their distance.
    """
    phash, count = signatures.phash, 0
    parents, met = np.arange(len(phash)), np.zeros(len(phash), np.uint64)
    for b in range(len(splits)):
        start, split, end, number = starts[b], splits[b], starts[b + 1], numbers[b]
        last = split if split >= 0 else end
        met_by_any = np.uint64(0)
        for i in range(start, last):
            met[i] = distances_met(phash, i, max(i + 1, split), end, limits.phash)
            met_by_any |= met[i]
        for distance in range(limits.phash + 1 if met_by_any else 0):
            for i in range(start, last):
                if not met[i] >> np.uint64(distance) & ONE:
                    continue
                for j in range(max(i + 1, split), end):
                    difference = phash[i] ^ phash[j]
                    if popcount(difference) != np.uint64(distance) or not is_first_bucket(difference, masks, number):
                        continue
                    here, there = root(parents, i), root(parents, j)
                    if here != there and stands(signatures, i, signatures, j, limits):
                        parents[there] = here
                        edges[count, 0], edges[count, 1], edges[count, 2] = i, j, distance
                        count += 1
    return count


def first_copy(kept: Signatures, count: int, rows: Signatures, i: int, limits: CopyLimits) -> int:
    """The first of the ``count`` kept images that row ``i`` is a copy of, or -1."""
    for k in range(count):
        if popcount(kept.phash[k] ^ rows.phash[i]) <= np.uint64(limits.phash) and stands(kept, k, rows, i, limits):
            return k
    return -1


def nearest_listed(
    keys: npt.NDArray[np.uint64],
    order: npt.NDArray[np.int64],
    masks: npt.NDArray[np.uint64],
    listed: Signatures,
    rows: Signatures,
    limits: CopyLimits,
    found: npt.NDArray[np.int64],
    between: npt.NDArray[np.int64],
) -> None:
    """For each of N rows, the nearest of E listed images that it is a copy of; the first of equally near ones.

    ``keys`` [M, E] uint64: the phash of all listed images under each of ``masks`` [M], sorted; ``order`` [M, E]
    int64: the listed image of each key. ``found`` [N] int64 receives the listed image, or -1; ``between`` [N] the
    distance.
    """
    for i in range(len(rows.phash)):
        best, place = np.int64(limits.phash + 1), -1
        for number in range(len(masks)):
            key = rows.phash[i] & masks[number]
            at = np.searchsorted(keys[number], key)
            while at < keys.shape[1] and keys[number, at] == key:
                other = order[number, at]
                bits = np.int64(popcount(listed.phash[other] ^ rows.phash[i]))
                closer = bits < best or (bits == best and other < place)
                if closer and stands(listed, other, rows, i, limits):
                    best, place = bits, other
                at += 1
        found[i], between[i] = place, best


@cache
def forests_kernel() -> Callable[..., int]:
    """`spanning_forests` as machine code."""
    numbers = np.zeros(1, np.int64)
    masks, edges = np.zeros(1, np.uint64), np.zeros((1, 3), np.int64)
    return compiled(spanning_forests, numbers, numbers, numbers, room_for(1), masks, CopyLimits(0, 0, 0), edges)


@cache
def first_copy_kernel() -> Callable[..., int]:
    """`first_copy` as machine code."""
    return compiled(first_copy, room_for(1), 0, room_for(1), 0, CopyLimits(0, 0, 0))


@cache
def nearest_listed_kernel() -> Callable[..., None]:
    """`nearest_listed` as machine code."""
    keys, order = np.zeros((1, 1), np.uint64), np.zeros((1, 1), np.int64)
    masks, numbers = np.zeros(1, np.uint64), np.zeros(1, np.int64)
    limits = CopyLimits(0, 0, 0)
    return compiled(nearest_listed, keys, order, masks, room_for(1), room_for(1), limits, numbers, numbers)
