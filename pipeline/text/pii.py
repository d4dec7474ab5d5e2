"""Personal data in captions, replaced by what it was: <email>, <phone>, <ip>, <card>. No raw match leaves this file.

    email   a mail address with a domain that could exist (not "logo@2x.png", not "@handle")
    phone   an international number (+...) that phonenumbers calls valid; a national one of ``regions`` written in the
            groups of its country; any 7 to 15 digits behind a word such as "call" or "Tel."
    ip      a public IPv4 or IPv6 address ("v1.2.3.4" is a version, 192.168.1.1 is everybody's)
    card    16 digits, or 15 of American Express, with the prefix of a card and a valid check digit (ISO/IEC 7812-1)

A caption is no letterhead: a number that may as well be a part number, a date or an ISBN stays (docs/faults.md, T10).
Every pattern is linear: what repeats is bounded, and a match cannot begin inside another.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import phonenumbers

TOKEN = re.compile("<(?:email|phone|ip|card)>")

_FILE_ENDINGS = frozenset(
    ("png", "jpg", "jpeg", "gif", "webp", "svg", "bmp", "tif", "tiff", "avif", "heic", "pdf", "html", "htm",
     "php", "js", "css", "zip")
)  # fmt: skip
_MAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}([A-Za-z]{2,24})(?![A-Za-z0-9-])"
)
"""ASCII only: what stands around an address in Chinese or Japanese is letters too."""
_DIGITS = re.compile(r"\d(?:[ ()./\-\u00a0\u2010-\u2013]{0,3}\d){6}")
"""Seven digits with little between them: without them there is neither a phone number nor a card."""
_CARD = re.compile(r"(?<![\w.,/-])\d(?:[ -]?\d){14,15}(?![\w/-]|[.,]\d)")
_CARD_PREFIX = re.compile(r"4|5[1-5]|2[2-7]|6(?:011|4|5|2)|3[47]|35")
_PHONE = re.compile(
    r"(?<![\w.,/\-+$€£#])(?:\+\s?|\((?=\d{1,5}\)))?"
    r"\d(?:[ ./\-\u00a0\u2010-\u2013]?[\d()]){5,19}(?<=\d)(?![\w/]|[.,-]\w)"
)
_CUE = re.compile(
    r"(?:\b(?:call|calls|phone|ph|tel|telephone|telefon|telefono|teléfono|telefone|téléphone|mobile|mob|cell|fax|"
    r"whats ?app|viber|sms|hotline|contact|hp|тел|телефон|звоните)|电话|電話|手机|手機|致电|전화|โทร|هاتف|☎|☏|📞|📱)"
    r"(?: us| now| me| today| at| on| no| number| nr)*[\s.:\uff1a@№#-]{0,4}$",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"(?<=\d)[^\d()]+(?=\d)")
_CUE_WINDOW = 24
_IPV4 = re.compile(r"(?<![\w.:-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\w)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_VERSION = re.compile(
    r"\b(?:v|ver|vers|version|rev|release|firmware|build|update|os|ios|android|driver)[\s.:]*$", re.IGNORECASE
)


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
        text, emails = _replace(_MAIL, text, "<email>", lambda match: match.group(1).lower() not in _FILE_ENDINGS)
    if _DIGITS.search(text):
        text, cards = _replace(_CARD, text, "<card>", lambda match: _is_card(match.group()))
        text, phones = _replace(_PHONE, text, "<phone>", lambda match: _is_phone(match, regions))
    if text.count(".") > 2:
        text, ips = _replace(_IPV4, text, "<ip>", _is_address)
    if text.count(":") > 1:
        text, more = _replace(_IPV6, text, "<ip>", _is_address)
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


def _is_card(written: str) -> bool:
    digits = re.sub(r"\D", "", written)
    american_express = digits[:2] in ("34", "37")
    return (
        len(digits) == (15 if american_express else 16)
        and _CARD_PREFIX.match(digits) is not None
        and luhn(digits)
    )


def luhn(digits: str) -> bool:
    """Whether the last of ``digits`` is their check digit (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _is_phone(match: re.Match[str], regions: Sequence[str]) -> bool:
    written = match.group()
    digits = sum(map(str.isdigit, written))
    if not 7 <= digits <= 15:
        return False
    if written.startswith("+"):
        return _valid(written, None) is not None
    if _CUE.search(match.string[max(0, match.start() - _CUE_WINDOW) : match.start()]):
        return True
    return not written.isdigit() and any(_in_groups(written, region) for region in regions)


def _in_groups(written: str, region: str) -> bool:
    """A valid number of ``region``, its digits grouped as they are there: "(212) 555-0123", not "2125 550 123" and,
    with two kinds of sign between digits, not "330-300 2015".
    """
    number = _valid(written, region) if len(set(_BETWEEN.findall(written))) < 2 else None
    if number is None:
        return False
    national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    groups = re.findall(r"\d+", written)
    country = str(number.country_code)
    return re.findall(r"\d+", national) == (groups[1:] if groups[0] in ("1", country) and len(groups) > 1 else groups)


def _valid(written: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        number = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) else None


def _is_address(match: re.Match[str]) -> bool:
    if _VERSION.search(match.string[max(0, match.start() - _CUE_WINDOW) : match.start()]):
        return False
    try:
        address = ipaddress.ip_address(match.group())
    except ValueError:
        return False
    if address.version == 4:
        return address.is_global
    return address.is_global and match.group().count(":") >= 3
