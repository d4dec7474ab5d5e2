"""Card numbers: groups of digits as printed on a payment card, and not a list of models, years or prices.

    16 digits, 15 for American Express, in one group or in those printed on it: 4 4 4 4, or 4 6 5
    one kind of separator; "1500 2500 3500 1988-1994" has two
    a prefix that a network has given out (ISO/IEC 7812-1; ranges as the networks publish them), a valid check digit
    not inside a word, a decimal fraction or a longer chain: "SN4111111111111111", "0.4111111111111111"

A list of models or years passes the check digit one time in ten. So four groups that are all round numbers or years,
that contain two years in order, or that go up or down in steps that are equal, or small but for one, stay. Of random
card numbers 0.2% look so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

SHAPES = {(16,), (15,), (4, 4, 4, 4), (4, 6, 5)}
"""Lengths of the groups of digits."""

_PREFIX = re.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|35(?:2[89]|[3-8])|6(?:011|2|4[4-9]|5)|3[47]"
)  # Visa, Mastercard (two ranges), JCB, Discover and UnionPay, American Express
_GAP = re.compile("[ \u00a0.\\-\u2010-\u2015\u2212\uff0d]{1,3}")
_WITHIN = re.compile(r"[A-Za-z0-9_]$|\d[.\-\u2010-\u2015]$|(?<!\d)\d{1,3},$")
_NAMED = re.compile(r"(?:card|visa|master|amex|express|discover|jcb|pay|number|no|nr)$", re.IGNORECASE)
PART_CUE = re.compile(
    r"(?<![^\W_])(?:part|parts|model|item|sku|ref|reference|art|article|oem|isbn|issn|ean|upc|gtin|barcode|serial|imei|"
    r"lot|cat|catalog|catalogue|stock|product|patent|mls|[ps]/?n)(?:[\s.]*(?:number|num|no|nr|code|id))?[\s.:#№-]*$",
    re.IGNORECASE,
)
"""A number after these words is neither a card number nor, without a plus sign, a phone number."""
_GOES_ON = re.compile(r"[A-Za-z_]|[.\-\u2010-\u2015]\d")
_SMALL_STEP = 50  # ours: models of one series, such as 4010 4020 4044


def is_card(text: str, groups: Sequence[tuple[int, int]]) -> bool:
    """Whether the groups of digits at these places of ``text`` are a card number."""
    if tuple(end - start for start, end in groups) not in SHAPES:
        return False
    parts = [text[start:end] for start, end in groups]
    gaps = {text[end:start] for (_, end), (start, _) in pairwise(groups)}
    if len(gaps) > 1 or not all(map(_GAP.fullmatch, gaps)) or _is_within(text, groups[0][0], groups[-1][1]):
        return False
    digits = "".join(parts)
    american_express = digits[:2] in ("34", "37")
    if (len(digits) == 15) is not american_express or not _PREFIX.match(digits) or not luhn(digits):
        return False
    return len(parts) != 4 or not _is_list(parts)


def luhn(digits: str) -> bool:
    """Whether the last of ``digits`` is their check digit (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _is_within(text: str, start: int, end: int) -> bool:
    """Whether a number is part of a word, a decimal fraction or a longer chain of numbers, or is called a part."""
    before = text[max(0, start - 24) : start]
    if PART_CUE.search(before):
        return True
    return _GOES_ON.match(text, end) is not None or (_WITHIN.search(before) is not None and not _NAMED.search(before))


def _is_list(parts: list[str]) -> bool:
    """Whether groups of four digits look like models, years or prices."""
    numbers = [int(part) for part in parts]
    steps = [after - before for before, after in pairwise(numbers)]
    if any(map(_are_years, pairwise(numbers))):
        return True
    if min(steps) > 0 or max(steps) < 0:
        small = sum(abs(step) <= _SMALL_STEP for step in steps)
        if len(set(steps)) == 1 or small >= len(steps) - 1:
            return True
    return all(
        part[0] != "0" and (number % 5 == 0 or _is_year(number)) for part, number in zip(parts, numbers, strict=True)
    )


def _are_years(numbers: tuple[int, int]) -> bool:
    return all(map(_is_year, numbers)) and numbers[0] < numbers[1]


def _is_year(number: int) -> bool:
    return 1900 <= number < 2100
