"""Header blocks of archives: of a WARC record, and of the HTTP answer in it.

Lines end with CR LF, or with LF alone as in files of old and home-made tools; a line that begins with a blank goes on
with the one before it. Names have any case. Nothing here raises: lines without a colon are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

MAX_HEADER_BYTES = 2**16

_END = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")


@dataclass(frozen=True, slots=True)
class Head:
    """The lines before a blank line, none of them folded. ``end``: where what follows begins; -1 if there is no blank
    line. Most records are looked at for one or two fields, so nothing is taken apart before it is asked for."""

    lines: bytes
    end: int

    @property
    def first_line(self) -> bytes:
        """The line that is no field."""
        return self.lines.partition(b"\n")[0].strip()

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Names and values in order."""
        parts = (line.partition(b":") for line in self.lines.split(b"\n")[1:] if b":" in line)
        return [(name.strip(), value.strip()) for name, _, value in parts]

    def all(self, name: str) -> Iterator[bytes]:
        """Values of every field of this name, in any case, in order."""
        return (match[1].strip() for match in _field(name).finditer(self.lines))

    def text(self, name: str) -> str:
        """The first value; empty if the field is missing."""
        return text_of(next(self.all(name), b""))


def head_of(data: bytes, start: int = 0) -> Head:
    """The head that begins at ``start`` of ``data``: a first line that is no field, then fields."""
    match = _END.search(data, start, start + MAX_HEADER_BYTES)
    lines = data[start : match.start() if match else start + MAX_HEADER_BYTES]
    if _FOLD.search(lines):
        lines = _FOLD.sub(b" ", lines)
    return Head(lines, match.end() if match else -1)


@cache
def _field(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?<=\n)%s[ \t]*:([^\n]*)" % re.escape(name.encode()), re.IGNORECASE)


def text_of(value: bytes) -> str:
    """A value decoded as UTF-8, else as latin-1 (RFC 9110, section 5.5)."""
    with suppress(UnicodeDecodeError):
        return value.decode()
    return value.decode("latin-1")
