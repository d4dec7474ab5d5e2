"""The bytes of a URL list as its readers want them: unpacked, in UTF-8, without a byte order mark.

Excel and PowerShell write UTF-16 with a byte order mark; without one, UTF-8 is read. Memory: some buffers.
"""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.stages.extract.raw.members import IS_ZSTD, Broken, Members, packing_of
from pipeline.stages.extract.reasons import Reason

MAX_LINE_BYTES = 2**20  # no row is longer
BLOCK_BYTES = 2**17

_GZIP = b"\x1f\x8b"
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def opened(path: str | Path) -> io.BufferedReader:
    """The list's text, to be read once. Reading raises OSError, EOFError (cut off) or zlib.error, each after all bytes
    before the fault."""
    return io.BufferedReader(_Stream(_in_utf8(_blocks(path))), BLOCK_BYTES)


def text_of_head(head: bytes) -> bytes:
    """The first bytes of a list, unpacked, as ``opened`` gives them."""
    for mark, encoding in _UTF16.items():
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, "replace").encode()
    return head.removeprefix(codecs.BOM_UTF8)


def _blocks(path: str | Path) -> Generator[bytes]:
    """Unpacked bytes of a file as they come, packed with gzip, zstd or not at all."""
    with Path(path).open("rb") as file:
        if IS_ZSTD.match(file.peek(4)):
            yield from _frames(file)
            return
        packed = file.peek(len(_GZIP)).startswith(_GZIP)
        source = gzip.GzipFile(fileobj=file) if packed else file
        while block := source.read1(BLOCK_BYTES):
            yield block


def _frames(file: BinaryIO) -> Generator[bytes]:
    """What the frames of a zstd file hold, up to a fault."""
    try:
        packing = packing_of(file)
    except Broken as error:
        raise OSError(f"zstd: {error}") from None
    for member in Members(file, packing) if packing else ():
        yield from member.pieces
        if member.fault is Reason.ARCHIVE_TRUNCATED:
            raise EOFError("ends too early")
        if member.fault:
            raise OSError("zstd: a frame does not unpack")


def _in_utf8(blocks: Iterator[bytes]) -> Generator[bytes]:
    """The blocks in UTF-8. A lone surrogate becomes bytes that are not UTF-8, so it costs its row."""
    head = next(blocks, b"")
    encoding = next((_UTF16[mark] for mark in _UTF16 if head.startswith(mark)), None)
    if encoding is None:
        yield head.removeprefix(codecs.BOM_UTF8)
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    yield decoder.decode(head[2:]).encode("utf-8", "surrogatepass")
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "surrogatepass")
    if decoder.getstate()[0]:  # half a character
        raise EOFError("ends within a character")


class _Stream(io.RawIOBase):
    """Blocks of bytes as a file."""

    def __init__(self, blocks: Generator[bytes]) -> None:
        self._blocks, self._left = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._left = memoryview(block)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        self._blocks.close()
        super().close()
