"""What an owner asks for in headers and meta elements, read into codes. Judging them is the stages' business.

    X-Robots-Tag, <meta name=robots|pairmill>   noai noimageai noml noindex noimageindex none, a past unavailable_after
    tdm-reservation (TDMRep)                    any value but 0, stricter than TDMRep, which reads odd values as unset

Broken values never raise. ``nofollow`` or ``nosnippet`` alone is not an opt-out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pipeline.web.config import PRODUCT_TOKEN
from pipeline.web.reasons import NetReason

OPTOUT_DIRECTIVES = frozenset({"noai", "noimageai", "noml", "noindex", "noimageindex", "none"})
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_SEPARATOR = re.compile(r"[,;\r\n]")
_NAME = re.compile(r"[a-z0-9_\-.*/ ]+")
_MAX_CHARS = 2048  # of one directive; no more of it is looked at

RawHeaders = Iterable[tuple[bytes, bytes]]


def from_headers(raw_headers: RawHeaders, now: datetime | None = None) -> tuple[str, ...]:
    """Codes of the opt-outs in response headers, sorted; all lines of a header count."""
    found: set[str] = set()
    for name, value in raw_headers:
        match name.lower():
            case b"x-robots-tag" if _opts_out(value.decode("latin-1"), now or datetime.now(UTC)):
                found.add(NetReason.OPTOUT_XROBOTS.value)
            case b"tdm-reservation" if _reserves(value.decode("latin-1")):
                found.add(NetReason.OPTOUT_TDM.value)
    return tuple(sorted(found))


def from_meta(name: str, content: str, now: datetime | None = None) -> tuple[str, ...]:
    """Codes of the opt-outs in one ``<meta name=... content=...>``."""
    name = name.strip().lower()
    if name in ("robots", PRODUCT_TOKEN) and _opts_out(content, now or datetime.now(UTC)):
        return (NetReason.OPTOUT_META.value,)
    if name == "tdm-reservation" and _reserves(content):
        return (NetReason.OPTOUT_TDM.value,)
    return ()


def _reserves(value: str) -> bool:
    return value.strip() != "0"


def _opts_out(value: str, now: datetime) -> bool:
    """Whether the directives that bind us hold an opt-out. ``otherbot:`` binds others, up to the next name."""
    ours = True
    pieces = [piece[:_MAX_CHARS] for piece in _SEPARATOR.split(value)]
    for place, piece in enumerate(pieces):
        named = _named(piece)
        if named and named[0] not in _VALUED:
            ours = named[0] in (PRODUCT_TOKEN, "*", "robots")
            piece = named[1]
            named = _named(piece)
        if not ours:
            continue
        if OPTOUT_DIRECTIVES & set(piece.lower().split()):
            return True
        if named and named[0] == "unavailable_after" and _is_past(named[1], pieces[place + 1 : place + 2], now):
            return True
    return False


def _named(piece: str) -> tuple[str, str] | None:
    """What stands before a colon, in lower case, and what behind it; None for a piece without such a name."""
    name, colon, rest = piece.partition(":")
    name = name.strip().lower()
    return (name, rest) if colon and not rest.startswith("//") and _NAME.fullmatch(name) else None


def _is_past(date: str, following: list[str], now: datetime) -> bool:
    """Whether a date of RFC 822, RFC 850 or ISO 8601 is over; a weekday before it was split off at its comma."""
    for text in (date, ",".join([date, *following])):
        for parse in (datetime.fromisoformat, parsedate_to_datetime):
            try:
                moment = parse(text.strip())
            except (ValueError, TypeError, IndexError, OverflowError):
                continue
            return moment.replace(tzinfo=moment.tzinfo or UTC) <= now
    return False
