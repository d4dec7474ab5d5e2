"""All entries of a list at once: one flat file, memory-mapped by every worker of a machine, searched in batches.

A caption has an entry if it contains the entry's folded text between two word borders (see `folding`). The file is
an open-addressing hash table of the entries and of their beginnings (up to each word border). A look-up starts at
each segment of a caption and continues by one segment while some entry begins so. It costs little more than one probe
per word, for any number of entries. The hash of a span is the difference of two prefix sums (a polynomial over code
points, modulo 2^64). Each hit is compared with the text of the entry, so there is no false match.

Why not an Aho-Corasick automaton: it needs some hundred bytes per character, and every worker builds or unpickles its
own. This file has about 60 bytes per entry, is ready when it is mapped, and its pages are shared.

The file is little-endian: MAGIC, then three arrays as `numpy.save` writes them, each at a multiple of 64 bytes: hashes
uint64 [slots], values uint32 [slots], offsets int32 [entries + 1]; then the entries in UTF-8, sorted by code point.
A value is 0 for a free slot, else 2 (number of the entry + 1, or 0 for none) + (1 where longer entries begin so).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.balance.folding import ROW, Folded, chunks, fold
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage import CHUNK_BYTES, STREAM_AHEAD_BYTES, FileRecord, LocalStorage, Storage

MAGIC = b"pairmill queries 1".ljust(64, b"\0")
ALIGNMENT = 64
MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that its powers have inverses modulo 2^64
SPREAD = np.uint64(0xD6E8FEB86659FD93)
SLOTS_PER_KEY = 2  # at least; a power of two is taken
LETTERS_AT_ONCE = 1 << 20  # compared at once, about 30 bytes each; an Arrow string array has at most 2 GB
MATCHED = pa.list_(pa.string())


def build_index(entries: Sequence[str]) -> bytes:
    """The file for these entries: folded, distinct, sorted and not empty, as `pipeline.balance.entries` gives them."""
    hashes, values = _spans(entries)
    slots = 1 << max(SLOTS_PER_KEY * len(hashes) - 1, 1).bit_length()
    table, held = np.zeros(slots, "<u8"), np.zeros(slots, "<u4")
    waiting, place = np.arange(len(hashes)), _home(hashes, slots)
    while len(waiting):  # all that wait try one slot; those that find it taken, or come second, try the next
        free = held[place] == 0
        tried, first = np.unique(place[free], return_index=True)
        winners = waiting[free][first]
        table[tried], held[tried] = hashes[winners], values[winners]
        lost = np.ones(len(waiting), bool)
        lost[np.flatnonzero(free)[first]] = False
        waiting, place = waiting[lost], (place[lost] + 1) % slots
    texts = [entry.encode() for entry in entries]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype("<i4")
    return b"".join([MAGIC, *map(_saved, (table, held, offsets)), *texts])


@dataclass(frozen=True)
class Index:
    """An open index. It never changes, so threads and processes may share it."""

    hashes: npt.NDArray[np.uint64]  # [slots]
    values: npt.NDArray[np.uint32]  # [slots]
    entries: pa.StringArray

    @staticmethod
    def over(buffer: bytes | mmap.mmap) -> Index:
        """The index in these bytes, nothing copied. InputError `input_unreadable` for anything else."""
        try:
            if bytes(buffer[: len(MAGIC)]) != MAGIC:
                raise ValueError("its header is wrong")
            hashes, end = _loaded(buffer, len(MAGIC))
            values, end = _loaded(buffer, end)
            offsets, end = _loaded(buffer, end)
            if len(buffer) != end + int(offsets[-1]):
                raise ValueError("it is cut off")
        except (ValueError, IndexError) as error:
            raise InputError(
                ErrorCode.INPUT_UNREADABLE, f"the index of queries is broken: {error}; build again"
            ) from None
        data = pa.py_buffer(buffer).slice(end)
        entries = pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), data)
        return Index(hashes, values, entries)

    @staticmethod
    def mapped(path: Path) -> Index:
        """The index in a file, mapped for reading."""
        with path.open("rb") as file:
            return Index.over(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def match(self, captions: pa.Array) -> pa.ListArray:
        """list<string> [B]: the distinct entries in each of B captions, sorted by code point; null for null."""
        texts = captions.fill_null("").to_pylist()
        found = [pa.array([], MATCHED), *(self._match(fold(some), len(some)) for some in chunks(texts))]
        return pc.if_else(captions.is_valid(), pa.concat_arrays(found), pa.scalar(None, MATCHED))

    def _match(self, folded: Folded, rows: int) -> pa.ListArray:
        first, entry = self._verified(folded, *self._proposed(folded))
        pairs = np.sort(folded.rows[first] * len(self.entries) + entry)  # by row, then by entry
        pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]]
        offsets = np.searchsorted(pairs, np.arange(rows + 1) * len(self.entries))
        matched = self.entries.take(pa.array(pairs % len(self.entries)))
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), matched)

    def _proposed(self, folded: Folded) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(first segment, end, entry) of each span whose hash is that of an entry, each [hits]."""
        spans = _SpanHashes(folded)
        active = np.flatnonzero(folded.kinds != ROW)  # first segments of the spans that are tried
        longer = 0  # segments beyond the first
        nothing = np.empty(0, np.int64)
        hits = [(nothing, nothing, nothing)]
        while len(active):
            ends = folded.ends[active + longer]
            values = self._look_up(spans.of(folded.starts[active], ends))
            hit = values > 1
            hits.append((active[hit], ends[hit], (values[hit] >> 1).astype(np.int64) - 1))
            longer += 1
            active = active[(values & 1).astype(bool)]
            active = active[active + longer < len(folded.starts)]
        first, ends, entries = map(np.concatenate, zip(*hits, strict=True))
        return first, ends, entries

    def _look_up(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
        """The values of the slots that hold these hashes; 0 where none does."""
        found = np.zeros(len(hashes), np.uint32)
        waiting, place = np.arange(len(hashes)), _home(hashes, len(self.hashes))
        while len(waiting):
            values, wanted = self.values[place], hashes[waiting]
            hit = self.hashes[place] == wanted
            found[waiting[hit]] = values[hit]
            going_on = ~hit & (values != 0)
            waiting, place = waiting[going_on], (place[going_on] + 1) % len(self.hashes)
        return found

    def _verified(
        self, folded: Folded, first: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], entries: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(first segment, entry) of those proposals in which the span is the entry, letter by letter.

        In pieces: if entries contain entries, they have far more letters than the captions.
        """
        pieces = np.cumsum(ends - folded.starts[first]) // LETTERS_AT_ONCE
        cuts = np.flatnonzero(np.diff(pieces)) + 1
        proposals = zip(*(np.split(each, cuts) for each in (first, ends, entries)), strict=True)
        verified = [self._verified_piece(folded, *proposal) for proposal in proposals]
        firsts, numbers = map(np.concatenate, zip(*verified, strict=True))
        return firsts, numbers

    def _verified_piece(
        self, folded: Folded, first: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], entries: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        texts, lengths = self.entries.take(pa.array(entries)), ends - folded.starts[first]
        same = pc.utf8_length(texts).to_numpy(zero_copy_only=False) == lengths
        if not same.all():
            return self._verified_piece(folded, first[same], ends[same], entries[same])
        wanted = np.frombuffer("".join(texts.to_pylist()).encode("utf-32-le"), "<u4")
        offsets = np.cumsum(lengths) - lengths  # of each entry among the wanted letters
        places = np.arange(len(wanted)) + np.repeat(folded.starts[first] - offsets, lengths)
        differs = folded.codes[places] != wanted
        if differs.any():
            proposal = np.repeat(np.arange(len(lengths)), lengths)
            same = np.bincount(proposal, differs, len(lengths)) == 0
        return first[same], entries[same]


class _SpanHashes:
    """Hashes of any spans of some folded texts, from prefix sums."""

    def __init__(self, folded: Folded) -> None:
        powers, self._inverse = _powers(1 << max(len(folded.codes), 1).bit_length())
        terms = (folded.codes + np.uint64(1)) * powers[: len(folded.codes)]
        self._sums: npt.NDArray[np.uint64] = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])

    def of(self, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """[spans]: equal for equal texts, at any position."""
        return (self._sums[ends] - self._sums[starts]) * self._inverse[starts]


@lru_cache(maxsize=4)
def _powers(size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """MULTIPLIER to the powers 0 .. size - 1 modulo 2^64, and their inverses."""
    inverse = pow(MULTIPLIER, -1, 1 << 64)
    both = []
    for base in (MULTIPLIER, inverse):
        factors = np.full(size, base, np.uint64)
        factors[0] = 1
        both.append(np.cumprod(factors, dtype=np.uint64))
    return both[0], both[1]


def _spans(entries: Sequence[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """(hash, value) of each distinct span: the entries, and their beginnings up to a word border."""
    hashes, values, done = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)], 0
    for some in chunks(entries):
        folded = fold(some)
        text = np.flatnonzero(folded.kinds != ROW)
        rows = folded.rows[text]
        first = np.searchsorted(rows, rows)  # the first segment of the segment's entry
        is_last = np.append(rows[1:] != rows[:-1], True)
        hashes.append(_SpanHashes(folded).of(folded.starts[text[first]], folded.ends[text]))
        values.append(np.where(is_last, (rows + done + 1) << 1, 1).astype(np.uint32))
        done += len(some)
    every, value = np.concatenate(hashes), np.concatenate(values)
    distinct, place = np.unique(every, return_inverse=True)
    merged = np.zeros(len(distinct), np.uint32)
    np.bitwise_or.at(merged, place, value)
    if np.count_nonzero(value > 1) != np.count_nonzero(merged > 1):
        raise ValueError("two entries have the same hash; choose another MULTIPLIER")
    return distinct, merged


def _home(hashes: npt.NDArray[np.uint64], slots: int) -> npt.NDArray[np.int64]:
    """The slot where the search for a hash begins."""
    return ((hashes * SPREAD) >> np.uint64(64 - slots.bit_length() + 1)).astype(np.int64)


def write_index(storage: Storage, folder: str, entries: Sequence[str]) -> FileRecord:
    """Build the index and write it as a new file of the run."""
    with storage.writing(folder, ".index") as file:
        file.write(build_index(entries))
    return file.record(len(entries))


@lru_cache(maxsize=2)
def open_index(storage: Storage, file: FileRecord) -> Index:
    """The index, loaded once per process. A local run maps it in place; for a store, each machine has a copy."""
    if isinstance(storage, LocalStorage):
        return Index.mapped(storage.path(file.path))
    return Index.mapped(_local_copy(storage, file))


def _local_copy(storage: Storage, file: FileRecord) -> Path:
    """A copy in this user's temporary folder. The first worker fetches it; the others wait."""
    folder = Path(tempfile.gettempdir(), f"pairmill-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise InputError(
            ErrorCode.OUTPUT_UNWRITABLE, f"{folder} belongs to another user; set TMPDIR to a folder of your own"
        )
    copy = folder / f"{file.sha256}.index"
    with _only_one(folder / f"{file.sha256}.lock"):
        if not _is_whole(copy, file):
            part = copy.with_suffix(".part")
            with storage.open(file.path, STREAM_AHEAD_BYTES) as stream, part.open("wb") as target:
                shutil.copyfileobj(stream, target, CHUNK_BYTES)
            if not _is_whole(part, file):
                raise InputError(
                    ErrorCode.INPUT_UNREADABLE,
                    f"{storage.where(file.path)} was changed after it was written; build again",
                )
            part.replace(copy)
    return copy


def _is_whole(path: Path, file: FileRecord) -> bool:
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """One process of this machine at a time; a killed process releases the lock."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _saved(array: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue() + bytes(-stream.tell() % ALIGNMENT)


def _loaded(buffer: bytes | mmap.mmap, begin: int) -> tuple[npt.NDArray[Any], int]:
    """(the array at ``begin``, in place; the offset of the next one). ValueError if no array is there."""
    head = io.BytesIO(buffer[begin : begin + 256])
    if np.lib.format.read_magic(head) != (1, 0):
        raise ValueError("an array is missing")
    shape, _, dtype = np.lib.format.read_array_header_1_0(head)
    data = begin + head.tell()
    array = np.frombuffer(buffer, dtype, shape[0], data)
    return array, data + array.nbytes + -array.nbytes % ALIGNMENT
