"""Members of a packed archive: gzip members (RFC 1952), or zstd frames (RFC 8878), each with some records or a part.

In a zstd archive each record is a frame, and the first frame may hold the dictionary of all others, raw or packed
itself (IIPC, "WARC zstd": a skippable frame with the magic 0x184D2A5D). Dictionary, window and what is unpacked at a
time have limits, so memory does not depend on the file.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from pipeline.stages.extract.reasons import Reason

CHUNK_BYTES = 2**16
MAX_OUT_BYTES = 2**20  # of gzip, unpacked at a time
MAX_DICTIONARY_BYTES = 2**26
MAX_WINDOW_BYTES = 2**27  # what zstd itself accepts without being asked

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
IS_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
_GZIP_MEMBER, _ZSTD_FRAME = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]"), re.compile(re.escape(_ZSTD))
_DICTIONARY = b"\x5d\x2a\x4d\x18"
_ZSTD_FEED_BYTES = 256  # at most 64 blocks of 128 KiB come out
_TRIAL_BYTES = 4096
_FAULT_STEP_BYTES = 64
_START = b"WARC/"


class Broken(Exception):
    """Packed bytes that do not unpack."""


class _Stream(Protocol):
    """One member being unpacked. ``unused``: what was fed and lies behind its end, once ``is_complete``."""

    is_complete: bool
    unused: bytes

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        """Pieces of ``packed``; all that come before a fault, then Broken."""


@dataclass(frozen=True)
class Packing:
    """How an archive is packed: what each member begins with, and what unpacks one."""

    begins: re.Pattern[bytes]
    stream: Callable[[], _Stream]


class _Gzip:
    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(31)
        self.is_complete, self.unused = False, b""

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        while packed and not self._inflater.eof:
            before = self._inflater.copy()
            try:
                piece = self._inflater.decompress(packed, MAX_OUT_BYTES)
            except zlib.error as error:
                yield from _up_to_fault(before, packed)
                raise Broken from error
            if piece:
                yield piece
            packed = self._inflater.unconsumed_tail
        self.is_complete, self.unused = self._inflater.eof, self._inflater.unused_data


class _Zstd:
    def __init__(self, decompressor: zstandard.ZstdDecompressor) -> None:
        self._frame = decompressor.decompressobj()
        self.is_complete, self.unused = False, b""

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        for start in range(0, len(packed), _ZSTD_FEED_BYTES):
            end = start + _ZSTD_FEED_BYTES
            try:
                piece = self._frame.decompress(packed[start:end])
            except zstandard.ZstdError as error:
                raise Broken from error
            if piece:
                yield piece
            if self._frame.eof:
                self.is_complete, self.unused = True, self._frame.unused_data + packed[end:]
                return


def packing_of(file: BinaryIO) -> Packing | None:
    """The packing of a file that is at its start, and is again afterwards; None if it is not packed. Raises Broken for
    a dictionary that is not one."""
    magic = file.read(len(_ZSTD))
    packing = None
    if magic.startswith(_GZIP):
        packing = Packing(_GZIP_MEMBER, _Gzip)
    elif IS_ZSTD.match(magic):
        decompressor = _decompressor(_dictionary(file) if magic == _DICTIONARY else None)
        packing = Packing(_ZSTD_FRAME, lambda: _Zstd(decompressor))
    file.seek(0)
    return packing


def _decompressor(dictionary: bytes | None) -> zstandard.ZstdDecompressor:
    try:
        data = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        return zstandard.ZstdDecompressor(dict_data=data, max_window_size=MAX_WINDOW_BYTES)
    except zstandard.ZstdError as error:
        raise Broken from error


def _dictionary(file: BinaryIO) -> bytes:
    """The dictionary in the frame whose magic was just read."""
    size = int.from_bytes(file.read(4), "little")
    data = file.read(min(size, MAX_DICTIONARY_BYTES + 1))
    if len(data) != size:
        raise Broken(f"a dictionary of {size} bytes")
    if not data.startswith(_ZSTD):
        return data
    unpacked = bytearray()
    for piece in _Zstd(_decompressor(None)).unpack(data):
        unpacked += piece
        if len(unpacked) > MAX_DICTIONARY_BYTES:
            raise Broken("a dictionary that unpacks to too much")
    return bytes(unpacked)


def unpacked_head(path: Path, n_bytes: int) -> bytes:
    """The first bytes of a packed file, as far as they are valid."""
    head = b""
    with path.open("rb") as file, suppress(Broken):
        packing = packing_of(file)
        for piece in chain.from_iterable(member.pieces for member in Members(file, packing)) if packing else ():
            head += piece
            if len(head) >= n_bytes:
                break
    return head[:n_bytes]


@dataclass(slots=True)
class Member:
    """A member: its offset and what it unpacks to. ``fault``, set after the last piece, is its error."""

    offset: int
    pieces: Iterator[bytes]
    fault: Reason | None = None


class Members:
    """The members of a file, each to be read to its end before the next."""

    def __init__(self, file: BinaryIO, packing: Packing) -> None:
        self._file, self._packing = file, packing
        self._chunk = b""
        self._chunk_offset = 0  # of the chunk in the file
        self._at = 0  # in the chunk: next byte to use

    def __iter__(self) -> Iterator[Member]:
        while self._skip_padding():
            member = Member(self._chunk_offset + self._at, iter(()))
            member.pieces = self._unpack(member)
            yield member

    def _read(self) -> bool:
        self._chunk_offset += len(self._chunk)
        self._chunk, self._at = self._file.read(CHUNK_BYTES), 0
        return bool(self._chunk)

    def _skip_padding(self) -> bool:
        """Zeros after a member come from tapes and block devices. False at the end of the file."""
        while self._at < len(self._chunk) or self._read():
            self._at = len(self._chunk) - len(self._chunk[self._at :].lstrip(b"\0"))
            if self._at < len(self._chunk):
                return True
        return False

    def _unpack(self, member: Member) -> Iterator[bytes]:
        stream = self._packing.stream()
        packed, self._at = self._chunk[self._at :], len(self._chunk)
        try:
            while True:
                yield from stream.unpack(packed)
                if stream.is_complete:
                    break
                if not self._read():
                    member.fault = Reason.ARCHIVE_TRUNCATED
                    return
                packed, self._at = self._chunk, len(self._chunk)
            self._at = len(self._chunk) - len(stream.unused)
        except Broken:
            self._at = max(0, member.offset + 1 - self._chunk_offset)
            has_more = self._skip_to_member()
            # With no member to continue with, an archive of one single member is broken as a whole.
            member.fault = Reason.RECORD_MALFORMED if has_more or member.offset else Reason.ARCHIVE_MALFORMED

    def _skip_to_member(self) -> bool:
        """Goes to the next member that begins a record; False if there is none."""
        while True:
            more = self._file.read(CHUNK_BYTES)
            for match in self._packing.begins.finditer(self._chunk, self._at):
                if self._begins_record((self._chunk[match.start() :] + more)[:_TRIAL_BYTES]):
                    self._chunk += more
                    self._at = match.start()
                    return True
            if not more:
                self._at = len(self._chunk)
                return False
            overlap = self._chunk[max(self._at, len(self._chunk) - 3) :]  # a magic number cut by the chunk's end
            self._chunk_offset += len(self._chunk) - len(overlap)
            self._chunk, self._at = overlap + more, 0

    def _begins_record(self, packed: bytes) -> bool:
        head = b""
        with suppress(Broken):
            for piece in self._packing.stream().unpack(packed):
                head += piece
                if len(head) >= len(_START):
                    break
        return head.startswith(_START)


def _up_to_fault(inflater: zlib._Decompress, packed: bytes) -> Iterator[bytes]:
    """What a broken stream gives before its fault, in steps: if all of it is unpacked at once, zlib gives nothing."""
    with suppress(zlib.error):
        for start in range(0, len(packed), _FAULT_STEP_BYTES):
            yield inflater.decompress(packed[start : start + _FAULT_STEP_BYTES])
