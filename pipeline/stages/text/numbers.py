"""Phone and card numbers among the numbers of a caption.

A number is some groups of digits with little between them ("+49 (30) 901-820"). From each group on, the longest
card or phone number is searched, so one number does not hide another before or after it.

    card    see cards.py
    phone   after +, or 00 with a country code that stands apart: valid by phonenumbers, and not years, a date, a
            distance or degrees. After a word that says so (Tel., 电话): 7 to 15 digits; after one that may (call,
            mobile): 10 to 15. Else: a valid number of one of ``regions``, in its groups. Not after a word such as
            part or SKU, and not a series of models ("3310 3410 3510").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import phonenumbers

from pipeline.stages.text.cards import PART_CUE, is_card

CARD, PHONE = "<card>", "<phone>"
MOST_GROUPS = 8
MOST_DIGITS = 19
MOST_QUESTIONS = 100
"""Calls to phonenumbers per text. A text with so many numbers is a table: the rest of it is not looked up."""

_SEPARATORS = " \u00a0()./\\-\u2010-\u2015\u2212\uff0d\u30fc\u30fb"
MAY_HOLD = re.compile(rf"\d(?:[{_SEPARATORS}]{{0,4}}\d){{6}}")
"""Seven digits with little between them: a text without a match has no number of either kind."""
_GROUP = re.compile(r"\d+")
_GAP = re.compile(rf"[{_SEPARATORS}]{{1,4}}")
_SIGN = re.compile(rf"[{_SEPARATORS}]")
_SURE_CUE = re.compile(
    r"(?:(?<![^\W_])(?:phone|tel|telephone|telefon|telefono|teléfono|telefone|téléphone|fax|whats ?app|viber|hotline|"
    r"тел|телефон)|电话|電話|手机|手機|致电|전화|โทร|هاتف|☎|☏|📞|📱)"
    r"(?: number| no| nr)?[\s.:\uff1a@№#-]{0,4}$",
    re.IGNORECASE,
)
_CUE = re.compile(
    r"(?<![^\W_])(?:call|calls|mobile|mob|cell|sms|contact|звоните)(?: us| now| me| today| at| on| no| number| nr)*"
    r"[\s.:\uff1a@№#-]{0,4}$",
    re.IGNORECASE,
)
_CUE_WINDOW = 24
_SMALL_STEP = 4  # ours: between models or sizes of two digits
_PART_OF = re.compile(r"[A-Za-z0-9_$€£#]$|[A-Za-z0-9_][./\\-]$")
"""A national number does not follow these: "B2210-555-1234", "$5,750,000"."""
_UNIT = re.compile(r" ?(?:mm|cm|km|kg|lbs|ml|[kmg]?hz|[kmgt]b|mah|rpm|psi)\b", re.IGNORECASE)
_DECIMAL = re.compile(r"(?:1[0-8]\d|\d{1,2})\.\d{3,8}")
"""A number of degrees; a phone number with one dot has more digits behind it, or a code above 200."""
_NOT_A_PLUS = re.compile(r"\d$|(?:gmt|utc) ?$", re.IGNORECASE)
"""Before a plus sign that adds: "18+", "GMT+1"."""
_DATE = re.compile(
    r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])\b|(?:19|20)\d\d\D\d{1,2}\D\d{1,2}\b|\d{1,2}\D\d{1,2}\D(?:19|20)\d\d$"
)
_PLUS = re.compile(r"[+\uff0b][ (]{0,2}\Z")
_GOES_ON = re.compile(r"[A-Za-z0-9_]|[.-]\w")
_EXTENSION = re.compile(r" ?(?:x|ext\.?) ?\d", re.IGNORECASE)

Groups = list[tuple[int, int]]
"""Where each group begins and ends in the text."""


class Found(NamedTuple):
    """A number: its token, where it begins and ends, and the first group after it."""

    token: str
    start: int
    end: int
    next_group: int


def redact_numbers(text: str, regions: Sequence[str]) -> tuple[str, int, int]:
    """``text`` with tokens in place of its numbers, the number of cards and of phones."""
    search = _Search(text, regions)
    pieces: list[str] = []
    done = group = 0
    while group < len(search.groups):
        found = search.from_group(group)
        group = found.next_group if found else group + 1
        if found:
            pieces += (text[done : found.start], found.token)
            done = found.end
    return "".join(pieces) + text[done:], pieces.count(CARD), pieces.count(PHONE)


class _Search:
    """Searches the numbers of one text."""

    def __init__(self, text: str, regions: Sequence[str]) -> None:
        self.text = text
        self.regions = regions
        self.groups: Groups = [match.span() for match in _GROUP.finditer(text)]
        self.questions = MOST_QUESTIONS

    def from_group(self, first: int) -> Found | None:
        """The longest card or phone number that begins with this group."""
        begins = self._phone_begins(first)
        for last in reversed(range(first, self._reach(first))):
            groups = self.groups[first : last + 1]
            if is_card(self.text, groups):
                return self._found(CARD, groups, last)
            if begins and self._ends(last) and begins(groups):
                return self._found(PHONE, groups, last)
        return None

    def _found(self, token: str, groups: Groups, last: int) -> Found:
        start, end = groups[0][0], groups[-1][1]
        plus = _PLUS.search(self.text, 0, start) if token == PHONE else None
        if plus:
            start = plus.start()
        elif self.text[start - 1 : start] == "(" and ")" in self.text[start:end]:
            start -= 1
        return Found(token, start, end, last + 1)

    def _reach(self, first: int) -> int:
        """The index after the last group that may belong to a number from ``first`` on."""
        digits, place = 0, first
        while place < min(len(self.groups), first + MOST_GROUPS):
            start, end = self.groups[place]
            digits += end - start
            near = place == first or _GAP.fullmatch(self.text, self.groups[place - 1][1], start)
            if digits > MOST_DIGITS or not near:
                break
            place += 1
        return place

    def _phone_begins(self, first: int) -> Callable[[Groups], bool] | None:
        """The test for a phone number that begins here; None if none can begin here."""
        start = self.groups[first][0]
        before = self.text[max(0, start - _CUE_WINDOW) : start]
        opened = before.removesuffix("(")
        if plus := _PLUS.search(self.text, 0, start):
            before = self.text[max(0, plus.start() - 4) : plus.start()]
            return None if _NOT_A_PLUS.search(before) else self._is_international
        if self._is_series(first):
            return None
        if _SURE_CUE.search(opened):
            return lambda groups: self._has_digits(groups, 7)
        if _CUE.search(opened):
            return lambda groups: self._has_digits(groups, 10) or self._is_national(groups)
        if PART_CUE.search(opened):
            return None
        if self.text.startswith("00", start) and not before[-1:].isalnum():
            return self._is_after_00
        return None if _PART_OF.search(opened) else self._is_national

    def _is_series(self, first: int) -> bool:
        """Whether models or sizes begin here, not a phone number: "3310 3410 3510", "5 6 7 8 10 11 12", "11 12 13"."""
        written = [self.text[start:end] for start, end in self.groups[first : self._reach(first)]]
        models = len(written) > 2 and written == sorted(written)
        models = models and all(len(group) == 4 and group[0] != "0" for group in written)
        steps = [int(after) - int(before) for before, after in pairwise(written)]
        models = models or (
            len(steps) > 1 and max(map(len, written)) <= 2 and 0 < min(steps) <= max(steps) <= _SMALL_STEP
        )
        return models or sum(len(group) == 1 for group in written) > 2

    def _ends(self, last: int) -> bool:
        """Whether a phone number can end with this group: "-A" or ".8" after it make it a part number."""
        behind = self.text[self.groups[last][1] :][:8]
        return not _GOES_ON.match(behind) or _EXTENSION.match(behind) is not None

    def _has_digits(self, groups: Groups, least: int) -> bool:
        digits = sum(end - start for start, end in groups)
        written = self.text[groups[0][0] : groups[-1][1]]
        decimals = "." in written and " " in written
        return least <= digits <= 15 and not (_DATE.match(written) or self._are_years(groups) or decimals)

    def _is_international(self, groups: Groups) -> bool:
        return self._international(groups) is not None

    def _is_after_00(self, groups: Groups) -> bool:
        """Whether 00 and a country code stand apart from the rest; part numbers and barcodes begin with 00 too."""
        number = self._international(groups)
        if number is None or len(groups) == 1:
            return False
        first = self.text[groups[0][0] : groups[0][1]]
        if first == "00":
            first += self.text[groups[1][0] : groups[1][1]]
        return first == f"00{number.country_code}"

    def _international(self, groups: Groups) -> phonenumbers.PhoneNumber | None:
        start, end = groups[0][0], groups[-1][1]
        if _UNIT.match(self.text, end) or _DECIMAL.fullmatch(self.text, start, end):
            return None
        if len(groups) > 1 and (_DATE.match(self.text, groups[1][0], end) or self._are_years(groups[1:])):
            return None
        digits = "".join(self.text[start:end] for start, end in groups).removeprefix("00")
        return self._valid(f"+{digits}", None) if 7 <= len(digits) <= 15 else None

    def _are_years(self, groups: Groups) -> bool:
        return all(end - start == 4 and self.text[start : start + 2] in ("19", "20") for start, end in groups)

    def _is_national(self, groups: Groups) -> bool:
        if len(groups) == 1 or not 7 <= sum(end - start for start, end in groups) <= 15:
            return False
        if _UNIT.match(self.text, groups[-1][1]):
            return False
        gaps = [self.text[end:start] for (_, end), (start, _) in pairwise(groups)]
        signs = {sign for gap in gaps for sign in _SIGN.findall(gap) if sign not in " ()"}
        if len(signs) + (" " in gaps) > 1:  # "330-300 2015"
            return False
        return any(self._is_in_groups(groups, region) for region in self.regions)

    def _is_in_groups(self, groups: Groups, region: str) -> bool:
        """Whether it is valid in ``region`` and has the digit groups used there: not "2125 550 123"."""
        written = [self.text[start:end] for start, end in groups]
        number = self._valid(" ".join(written), region)
        if number is None:
            return False
        national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        prefixes = ("1", str(number.country_code))
        return _GROUP.findall(national) == (written[1:] if written[0] in prefixes else written)

    def _valid(self, written: str, region: str | None) -> phonenumbers.PhoneNumber | None:
        self.questions -= 1
        if self.questions < 0:
            return None
        try:
            number = phonenumbers.parse(written, region)
        except phonenumbers.NumberParseException:
            return None
        return number if phonenumbers.is_valid_number(number) else None
