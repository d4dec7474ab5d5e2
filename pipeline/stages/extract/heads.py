"""Header blocks of archives: of a WARC record, and of the HTTP answer in it.

Lines end with CR LF, or with LF alone as in files of old and home-made tools; a line that begins with a blank goes on
with the one before it. Names have any case. Nothing here raises: lines without a colon are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

MAX_HEADER_BYTES = 2**16

_END = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_LINE_END = re.compile(rb"\r?\n")


@dataclass(frozen=True, slots=True)
class Head:
    """The lines before a blank line. ``end``: where what follows begins; -1 if there is no blank line."""

    first_line: bytes
    end: int
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)

    def all(self, name: bytes) -> Iterator[bytes]:
        """Values of every field of this name (lower case), in order."""
        return (value for known, value in self.fields if known.lower() == name)

    def text(self, name: bytes) -> str:
        """The first value; empty if the field is missing."""
        return text_of(next(self.all(name), b""))


def head_of(data: bytes) -> Head:
    """The head at the beginning of ``data``: a first line that is no field, then fields."""
    match = _END.search(data, 0, MAX_HEADER_BYTES)
    block = _FOLD.sub(b" ", data[: match.start() if match else MAX_HEADER_BYTES])
    first, *lines = _LINE_END.split(block)
    parts = (line.partition(b":") for line in lines if b":" in line)
    fields = [(name.strip(), value.strip()) for name, _, value in parts]
    return Head(first.strip(), match.end() if match else -1, fields)


def text_of(value: bytes) -> str:
    """A value decoded as UTF-8, else as latin-1 (RFC 9110, section 5.5)."""
    with suppress(UnicodeDecodeError):
        return value.decode()
    return value.decode("latin-1")
