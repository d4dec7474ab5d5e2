"""The body of a page as its author wrote it: chunks joined, codings undone, within a limit.

Many archives hold the plain body under the headers of the coded one. So a body that does not decode is taken as it is
if its first bytes are text. Nothing else is guessed: what does not decode, and what is still packed afterwards, leaves
a fault, beside what came before it.
"""

from __future__ import annotations

import re

from pipeline.stages.extract.raw.heads import Head
from pipeline.stages.extract.raw.media_types import is_text
from pipeline.web.codings import CodingError, Decoder

_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]{0,256})?\r?\n")
_PACKED = re.compile(rb"\x1f\x8b\x08|\x28\xb5\x2f\xfd")  # gzip, zstd


class BodyTooLarge(Exception):
    """The body is larger than ``max_page_bytes`` after unpacking."""


def body_of(stored: bytes, answer: Head, max_bytes: int) -> tuple[bytes, str]:
    """The body under the headers of ``answer``, up to the fault that is said too; "" if there is none.

    Raises BodyTooLarge.
    """
    names = [name for value in answer.all("transfer-encoding") for name in _names(value)]
    fault = ""
    if "chunked" in names:
        stored, fault = _joined_chunks(stored)
    codings = [name for value in answer.all("content-encoding") for name in _names(value)]
    body, fault_of_codings = _decoded(stored, codings + [name for name in names if name != "chunked"], max_bytes)
    if len(body) > max_bytes:
        raise BodyTooLarge
    if is_packed(body):
        return b"", "the body is packed, which its headers do not say"
    return body, fault or fault_of_codings


def is_packed(body: bytes) -> bool:
    """Whether a body begins as gzip or zstd do."""
    return _PACKED.match(body) is not None


def _names(value: bytes) -> list[str]:
    return [name.strip().lower() for name in value.decode("latin-1").split(",")]


def _decoded(stored: bytes, codings: list[str], max_bytes: int) -> tuple[bytes, str]:
    body = bytearray()
    try:
        decoder = Decoder(codings)
        for piece in decoder.feed(stored):
            body += piece
            if len(body) > max_bytes:
                raise BodyTooLarge
        decoder.end()
    except CodingError as error:
        return (stored, "") if is_text(stored) else (bytes(body), str(error)[:200])
    return bytes(body), ""


def _joined_chunks(stored: bytes) -> tuple[bytes, str]:
    """The chunks of RFC 9112, section 7.1, and what is wrong with them; ``stored`` if it does not begin with one.

    A last chunk that is missing is not a fault: many archivers leave it out.
    """
    pieces, position = [], 0
    while match := _CHUNK_SIZE.match(stored, position):
        size = int(match[1], 16)
        pieces.append(stored[match.end() : match.end() + size])
        position = match.end() + size
        position += 2 if stored.startswith(b"\r\n", position) else 1
        if not size:
            return b"".join(pieces), ""
    if not pieces:
        return stored, ""
    if position > len(stored) + 2:
        return b"".join(pieces), "the body ends within a chunk"
    rest = stored[position:].strip()
    return b"".join(pieces), f"no chunk begins with {rest[:20]!r}" if rest else ""
