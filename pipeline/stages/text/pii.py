"""Personal data in captions, replaced by its kind: <email>, <phone>, <ip>, <card>. No raw match leaves this file.

    email         a mail address with a domain that could exist (not "logo@2x.png" or "logo@dark.png", not "@handle")
    phone, card   see numbers.py
    ip            a public IPv4 or IPv6 address after a word such as IP, ping or "server at", or with groups too long
                  for a version or a section number ("115.12.10.3" may be one; 192.168.1.1 is not public)

A number that may also be a part number, a date or an ISBN stays (docs/faults.md, T10).
Every pattern is linear: a repetition is bounded, or cannot begin inside itself.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import phonenumbers

from pipeline.core.errors import ErrorCode, InputError
from pipeline.stages.text.numbers import MAY_HOLD, redact_numbers

TOKEN = re.compile("<(?:email|phone|ip|card)>")
NO_WORD = "<>"
"""Replaces a token where words are counted or looked up."""

# Letters of alphabets used in addresses. Not Han, kana and Hangul: they are words next to an address.
_LETTERS = "A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff"
_MAIL = re.compile(
    rf"(?<![{_LETTERS}0-9._%+'-])[{_LETTERS}0-9._%+'-]{{1,64}}@"
    rf"(?![0-9.]{{1,4}}x\.)(?:[{_LETTERS}0-9-]{{1,63}}\.){{1,8}}[{_LETTERS}]{{2,24}}(?![{_LETTERS}])"
)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d|-\w)")
_IPV6 = re.compile(
    r"(?:(?<![\w:.])|(?<=[G-Zg-z]:))[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){1,6}:"
    r"(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4})(?![\w:]|\.\d)"
)
_FILE = re.compile(r"\.(?:avif|bmp|eps|gif|heic|jpe?g|pdf|png|psd|svg|tiff?|webp)$", re.IGNORECASE)
"""Ends of file names; none of them is a top-level domain."""
_IP_CUE = re.compile(
    r"(?<![^\W_])(?:(?:ip|ipv4|ipv6|ping|dns|proxy)(?: address)?|"
    r"(?:server|host|login|address|website|connect|http)(?: (?:at|is|to)|[ /]*[:=@]))\W{0,4}$",
    re.IGNORECASE,
)
_VERSION_CUE = re.compile(
    r"(?<![^\W_])(?:v|ver|vers|version|rev|release|firmware|build|update|os|ios|android|driver|apk)[\s.:]*$",
    re.IGNORECASE,
)
_CUE_WINDOW = 24
_LONG_IPV4 = 3
"""Digits of a group of IPv4 that is long: few versions have two such groups."""
_LONG_IPV6 = 3


def require_regions(regions: Sequence[str]) -> None:
    """InputError `config_invalid` for a country that phonenumbers does not know."""
    unknown = [region for region in regions if region not in phonenumbers.SUPPORTED_REGIONS]
    if unknown:
        what = f"text.phone_regions: {unknown[0]!r} is not a country that phonenumbers knows"
        raise InputError(ErrorCode.CONFIG_INVALID, f"{what}; write ISO 3166-1 codes such as US or GB")


class Redacted(NamedTuple):
    """A text without personal data, and how many addresses, phone numbers, IPs and cards were replaced."""

    text: str
    counts: tuple[int, int, int, int]


def redact(text: str, regions: Sequence[str] = ()) -> Redacted:
    """``text`` with every match replaced; ``regions`` (ISO 3166-1) are the countries whose national numbers count.

    >>> redact("Write to jo@shop.example.com or call 030 1234567")
    Redacted(text='Write to <email> or call <phone>', counts=(1, 1, 0, 0))
    """
    emails = phones = ips = cards = 0
    if "@" in text:
        text, emails = _replace(_MAIL, text, "<email>", lambda match: not _FILE.search(match[0]))
    if MAY_HOLD.search(text):
        text, cards, phones = redact_numbers(text, regions)
    if text.count(":") > 1:
        text, ips = _replace(_IPV6, text, "<ip>", _is_address)
    if text.count(".") > 2:
        text, more = _replace(_IPV4, text, "<ip>", _is_address)
        ips += more
    return Redacted(text, (emails, phones, ips, cards))


def _replace(
    pattern: re.Pattern[str], text: str, token: str, holds: Callable[[re.Match[str]], bool]
) -> tuple[str, int]:
    replaced = 0

    def one(match: re.Match[str]) -> str:
        nonlocal replaced
        if not holds(match):
            return match.group()
        replaced += 1
        return token

    return pattern.sub(one, text), replaced


def _is_address(match: re.Match[str]) -> bool:
    before = match.string[max(0, match.start() - _CUE_WINDOW) : match.start()]
    try:
        address = ipaddress.ip_address(match.group())
    except ValueError:
        return False
    if not address.is_global or _VERSION_CUE.search(before):
        return False
    sizes = [len(group) for group in re.split("[.:]", match.group())]
    if address.version == 4:
        is_long = sum(size >= _LONG_IPV4 for size in sizes) >= 2
    else:
        is_long = max(sizes) >= _LONG_IPV6
    return is_long or _IP_CUE.search(before) is not None
