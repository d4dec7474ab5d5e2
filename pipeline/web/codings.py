"""Content codings undone within bounds: a small input never becomes a large output before somebody counts it.

gzip, deflate (with or without zlib's frame, as browsers accept), br (RFC 9110 section 8.4, RFC 7932) and zstd
(RFC 8878, with a window of at most 8 MB: RFC 9659), at most two on top of one another. Pieces of at most 64 KiB leave
a decoder, whatever it was fed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

import brotli
import zstandard

PIECE_BYTES = 65_536
FEED_BYTES = 16_384
ZSTD_FEED_BYTES = 64  # fed at a time: at most 16 blocks of 128 KiB come out
MAX_CODINGS = 2


class CodingError(ValueError):
    """Bytes that are not what their coding says, or a coding we do not undo."""


class _Coding(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces of ``data``. Raises CodingError."""

    def end(self) -> None:
        """Raises CodingError where the coded stream is not complete."""


class _Gzip:
    """One or more gzip members; anything else after them is padding."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(31)
        self._complete = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data and not (self._complete and not data.startswith(b"\x1f")):
            if self._complete:
                self._member, self._complete = zlib.decompressobj(31), False
            yield from _inflate(self._member, data)
            self._complete, data = self._member.eof, self._member.unused_data

    def end(self) -> None:
        if not self._complete:
            raise CodingError("gzip stream not complete")


class _Deflate:
    """zlib's frame, or the bare stream that some servers send in its place."""

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None
        self._start = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            self._start += data
            if len(self._start) < 2:
                return
            first, second = self._start[:2]
            framed = first & 15 == 8 and (first << 8 | second) % 31 == 0
            self._stream, data = zlib.decompressobj(15 if framed else -15), self._start
        if not self._stream.eof:
            yield from _inflate(self._stream, data)

    def end(self) -> None:
        if self._stream is None or not self._stream.eof:
            raise CodingError("deflate stream not complete")


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            piece = self._stream.process(data, output_buffer_limit=PIECE_BYTES)
            while piece:
                yield piece
                piece = self._stream.process(b"", output_buffer_limit=PIECE_BYTES)
        except brotli.error as error:
            raise CodingError(f"br: {error}") from None

    def end(self) -> None:
        if not self._stream.is_finished():
            raise CodingError("br stream not complete")


class _Zstd:
    """One or more frames; those that are to be skipped say nothing."""

    _WINDOW_BYTES = 2**23

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=self._WINDOW_BYTES)
        self._frame = self._decompressor.decompressobj()
        self._is_fed = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), ZSTD_FEED_BYTES):
            rest = data[start : start + ZSTD_FEED_BYTES]
            while rest:
                if self._frame.eof:
                    self._frame, self._is_fed = self._decompressor.decompressobj(), False
                try:
                    piece = self._frame.decompress(rest)
                except zstandard.ZstdError as error:
                    raise CodingError(f"zstd: {error}") from None
                self._is_fed = True
                for at in range(0, len(piece), PIECE_BYTES):
                    yield piece[at : at + PIECE_BYTES]
                rest = self._frame.unused_data

    def end(self) -> None:
        if not (self._is_fed and self._frame.eof):
            raise CodingError("zstd stream not complete")


_CODINGS: dict[str, type[_Coding]] = {
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _Zstd,
}


class Decoder:
    """The codings of one body, undone in reverse order of their names."""

    def __init__(self, content_encodings: Iterable[str]) -> None:
        names = [name.strip().lower() for value in content_encodings for name in value.split(",")]
        names = [name for name in names if name not in ("", "identity")]
        if len(names) > MAX_CODINGS or not all(name in _CODINGS for name in names):
            raise CodingError(f"cannot undo {', '.join(names)[:100]}")
        self._codings = [_CODINGS[name]() for name in reversed(names)]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces, one at a time, so that the caller can count and stop."""
        # In slices: a decoder copies all it was fed and has not used, for each gzip member anew.
        pieces: Iterator[bytes] = (data[at : at + FEED_BYTES] for at in range(0, len(data), FEED_BYTES))
        for coding in self._codings:
            pieces = _fed(coding, pieces)
        return pieces

    def end(self) -> None:
        """Raises CodingError where a coded stream is cut off."""
        for coding in self._codings:
            coding.end()


def _fed(coding: _Coding, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from coding.feed(piece)


def _inflate(stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    try:
        while True:
            piece = stream.decompress(data, PIECE_BYTES)
            if piece:
                yield piece
            data = stream.unconsumed_tail
            if stream.eof or not (data or len(piece) == PIECE_BYTES):
                return
    except zlib.error as error:
        raise CodingError(str(error)) from None
