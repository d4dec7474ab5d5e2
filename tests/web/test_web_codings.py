"""Content codings, without a connection: what they give, and what they refuse before it is large."""

import gzip
import os
import time

import pytest
import zstandard

from pipeline.web.codings import PIECE_BYTES, CodingError, Decoder

TEXT = os.urandom(5_000) + b"a boat on a lake " * 20_000
FRAME = zstandard.ZstdCompressor().compress(TEXT)
SKIPPED = b"\x52\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"skipped"


def decoded(data, *names, step=None):
    decoder, out = Decoder(names), b""
    for start in range(0, len(data), step or len(data)):
        for piece in decoder.feed(data[start : start + (step or len(data))]):
            assert len(piece) <= PIECE_BYTES
            out += piece
    decoder.end()
    return out


@pytest.mark.parametrize("step", [None, 1, 1000])
def test_zstd_is_undone_frame_by_frame_x70(step):
    """X70"""
    assert decoded(FRAME, "zstd", step=step) == TEXT
    assert decoded(SKIPPED + FRAME + SKIPPED + FRAME, "ZSTD", step=step) == TEXT + TEXT
    assert decoded(zstandard.ZstdCompressor().compress(FRAME), "zstd, zstd", step=step) == TEXT


@pytest.mark.parametrize("data", [FRAME[:-3], b"<html>", FRAME + b"more", b"\0"])
def test_zstd_that_is_cut_or_broken_is_said_x70(data):
    """X70"""
    with pytest.raises(CodingError, match="zstd"):
        decoded(data, "zstd")


def test_a_zstd_frame_that_wants_a_large_window_is_refused_x70():
    """X70: RFC 9659 allows 8 MB."""
    for log, is_allowed in ((23, True), (24, False)):
        parameters = zstandard.ZstdCompressionParameters(window_log=log, enable_ldm=True)
        compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        frame = compressor.compress(bytes(10_000)) + compressor.flush()
        if is_allowed:
            assert decoded(frame, "zstd") == bytes(10_000)
        else:
            with pytest.raises(CodingError, match="memory"):
                decoded(frame, "zstd")


def test_a_zstd_bomb_can_be_stopped_at_any_piece_x70():
    """X70: thirty kilobytes that unpack to a gigabyte."""
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(10**9))
    total = 0
    for piece in Decoder(["zstd"]).feed(bomb):
        total += len(piece)
        if total > 10**6:
            break
    assert total <= 10**6 + PIECE_BYTES


def test_empty_members_take_linear_time_x83() -> None:
    """X83: what a decoder was fed and has not used was copied for each of them: 4 s for 2 MiB, 16 s for 4 MiB."""
    data = gzip.compress(b"") * (2**22 // 20) + gzip.compress(b"end")
    decoder, start = Decoder(["gzip"]), time.thread_time()
    assert b"".join(decoder.feed(data)) == b"end"
    decoder.end()
    assert time.thread_time() - start < 4
