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
_NAMED = re.compile(r"\s*([a-z0-9_\-.*/ ]+?)\s*:(?!//)(.*)", re.IGNORECASE | re.DOTALL)

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
    pieces = _SEPARATOR.split(value)
    for place, piece in enumerate(pieces):
        named = _NAMED.fullmatch(piece)
        if named and named[1].lower() not in _VALUED:
            ours = named[1].lower() in (PRODUCT_TOKEN, "*", "robots")
            piece = named[2]
            named = _NAMED.fullmatch(piece)
        if not ours:
            continue
        if OPTOUT_DIRECTIVES & set(piece.lower().split()):
            return True
        if named and named[1].lower() == "unavailable_after" and _is_past(named[2], pieces[place + 1 :], now):
            return True
    return False


def _is_past(date: str, rest: list[str], now: datetime) -> bool:
    """Whether a date of RFC 822, RFC 850 or ISO 8601 is over; a weekday before it was split off at its comma."""
    for text in (date, ",".join([date, *rest[:1]])):
        for parse in (datetime.fromisoformat, parsedate_to_datetime):
            try:
                moment = parse(text.strip())
            except (ValueError, TypeError, IndexError, OverflowError):
                continue
            return moment.replace(tzinfo=moment.tzinfo or UTC) <= now
    return False
