"""What a JPEG is made of (ITU-T T.81, Annex B), read without decoding it: segments, scans, the mark of its end.

libjpeg fills what is missing with grey and only warns, and of several warnings it tells the first one. So what it may
warn of without any harm to pixels is left out here, and what it never warns of, scans that did not arrive, is counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
COEFFICIENTS = 64  # of a block
FILLING = bytes(64)
OWN_ZEROS = 16  # the bytes before them may be some

_START, _SOS, _DHT, _END = 0xD8, 0xDA, 0xC4, 0xD9
_FIRST_SCAN = bytes((0xFF, _SOS))
_END_OF_BLOCK = 0  # symbol of AC coefficients
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_TABLES = frozenset((_DHT, 0xCC, 0xDB, 0xDD))  # DHT, DAC, DQT, DRI
_APP0, _APP14 = 0xE0, 0xEE
_ALONE = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))  # markers without a segment
_MARKER = re.compile(rb"\xff([^\x00\xff])")
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


@dataclass(slots=True)
class Parts:
    """The first image of a file. ``pieces``: the segments and scans that decoding needs, as libjpeg likes them.

    ``end``: where the last of them ends in the file; ``is_closed``: whether the end mark follows.
    """

    pieces: list[bytes] = field(default_factory=list)
    last_scan: int = -1  # which of the pieces
    unsent: dict[int, list[bool]] = field(default_factory=dict)  # by component: coefficients not sent to the last bit
    end: int = len(SOI)
    is_closed: bool = False
    is_progressive: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the scans there are say every coefficient of every component to its last bit."""
        return bool(self.unsent) and not any(map(any, self.unsent.values()))

    def joined(self) -> bytes:
        """The image with an end mark."""
        return b"".join((SOI, *self.pieces, EOI))

    def cut_last_scan(self, n_bytes: int) -> None:
        """Leaves ``n_bytes`` out of the end of the last scan."""
        scan = self.pieces[self.last_scan]
        self.pieces[self.last_scan] = scan[: len(scan) - n_bytes]

    def zeros_at_end(self) -> int:
        """Bytes of padding after the last scan, but one: that may belong to the code before it."""
        scan = self.pieces[self.last_scan]
        return max(0, len(scan) - len(scan.rstrip(b"\0")) - 1)


def parts_of(data: bytes) -> Parts:
    """Parts of a JPEG up to its end mark, its end, the start of another image, or the first segment that is cut."""
    parts = Parts()
    position = len(SOI)
    while match := _MARKER.search(data, position):
        marker, start = match[1][0], match.end()
        if marker == _END:
            parts.is_closed = True
            break
        if marker == _START and parts.last_scan >= 0:
            break
        if marker in _ALONE:
            position = start
            continue
        position = start + int.from_bytes(data[start : start + 2], "big")
        body = data[start + 2 : position]
        if position > len(data) or position < start + 2:
            break
        if marker == _SOS:
            scan_end = _AFTER_SCAN.search(data, position)
            scan = data[position : scan_end.start() if scan_end else len(data)]
            parts.pieces += (_segment(marker, _scan_header(parts, body)), scan)
            parts.last_scan = len(parts.pieces) - 1
            position += len(scan)
        else:
            _add(parts, marker, body)
        parts.end = position
    return parts


def is_complete(data: bytes) -> bool:
    """`Parts.is_complete` of a JPEG that a decoder has read; one scan of all components is known by its header."""
    position, n_components = len(SOI), 0
    while match := _MARKER.search(data, position):
        marker, start = match[1][0], match.end()
        if marker == _SOS:
            return (0 < n_components == data[start + 2]) or parts_of(data).is_complete
        if marker in _FRAMES:
            n_components = 0 if marker in _PROGRESSIVE else data[start + 7]
        position = start if marker in _ALONE else start + int.from_bytes(data[start : start + 2], "big")
    return False


def without_filling(data: bytes) -> bytes | None:
    """A JPEG up to many zeros in its data, at their end or not, that cannot be an image; None for any other.

    libjpeg may decode just as many blocks from them as are missing, and says nothing. A flat part of an image may be
    zeros if its code for "nothing more in this block" is; any other code would be blocks of equal waves of all lengths.
    """
    if data.find(FILLING, max(0, data.find(_FIRST_SCAN))) < 0:  # thumbnails may hold one before it
        return None
    parts = parts_of(data)
    first = parts.pieces[parts.last_scan].find(FILLING) if parts.last_scan >= 0 else -1
    if first < 0 or parts.is_progressive:
        return None
    meant = _meant_by_zeros(parts)
    selectors = parts.pieces[parts.last_scan - 1][6:-3:2]  # of tables, one for each component of the scan
    if all(meant.get(selector & 15, 0) == _END_OF_BLOCK for selector in selectors):
        return None
    parts.cut_last_scan(len(parts.pieces[parts.last_scan]) - first - OWN_ZEROS)
    return parts.joined()


def _meant_by_zeros(parts: Parts) -> dict[int, int]:
    """By table: the symbol of AC coefficients whose code is all zeros. It is the first of its table (Annex C)."""
    found = {}
    for piece in parts.pieces[: parts.last_scan]:
        if piece[1] != _DHT:
            continue
        position = 4
        while position + 17 < len(piece):
            n_symbols = sum(piece[position + 1 : position + 17])
            if piece[position] & 0xF0:
                found[piece[position] & 15] = piece[position + 17]
            position += 17 + n_symbols
    return found


def closed(data: bytes) -> bytes:
    """``data``, or where it lacks the mark of its end, what there is of it with this mark."""
    if data.endswith(EOI):
        return data
    parts = parts_of(data)
    return data if parts.is_closed else data[: parts.end] + EOI


def _add(parts: Parts, marker: int, body: bytes) -> None:
    """A segment before a scan, where decoding needs it; its values are those that libjpeg assumes when it warns."""
    if marker in _FRAMES:
        parts.is_progressive = marker in _PROGRESSIVE
        parts.unsent = {number: [True] * COEFFICIENTS for number in body[6::3]}
    elif marker == _APP0 and body.startswith(b"JFIF\0"):
        body = b"JFIF\0\1\1" + body[7:]
    elif marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
        assumed = 2 if len(parts.unsent) == 4 else 1
        body = body if body[11] <= 2 else body[:11] + bytes((assumed,)) + body[12:]
    elif marker not in _TABLES:
        return
    parts.pieces.append(_segment(marker, body))


def _scan_header(parts: Parts, body: bytes) -> bytes:
    """The header of a scan, with the only values there are for a sequential one; what it sends is counted."""
    if len(body) < 4:
        return body
    if not parts.is_progressive:
        body = body[:-3] + bytes((0, COEFFICIENTS - 1, 0))
    first, last, precision = body[-3:]
    for number in body[1:-3:2]:
        if number in parts.unsent:
            for place in range(first, min(last, COEFFICIENTS - 1) + 1):
                parts.unsent[number][place] = bool(precision & 15)
    return body


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
