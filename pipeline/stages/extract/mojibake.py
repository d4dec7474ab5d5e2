"""Texts that were decoded with a wrong charset before we saw them: in a list, or in the page's own database.

Four kinds are certain enough to judge a short text: UTF-8 read as windows-1252 ("cafÃ©", "itâ€™s", "Ð»Ð¾Ð´ÐºÐ°") or as
windows-1251 ("Р»РѕРґРєР°"), ISO-2022 read as ASCII ("$B$+"), and the letters of another alphabet read as windows-1252
("Êðàñíàÿ"). ftfy repairs such texts; we only recognise them, because a repair that guesses would write words that
nobody wrote.
"""

from __future__ import annotations

import re

MAX_REPLACED_SHARE = 0.05  # U+FFFD of an alt text's characters; above it the charset was wrong (docs/faults.md, X12)
MIN_LETTERS = 5  # of a text judged by its letters alone
MIN_ACCENTED = 0.7  # share of them that are accented: French has 0.2, Vietnamese 0.5, Russian read wrongly 1


def _read_as(codec: str, first: int, last: int) -> str:
    """The inside of a class of the characters that these bytes are in a charset; free places are controls."""
    return "".join(re.escape(bytes([byte]).decode(codec, "ignore") or chr(byte)) for byte in range(first, last + 1))


_REST = f"[{_read_as('cp1252', 0x80, 0xBF)}]"
_REST_1251 = f"[{_read_as('cp1251', 0x80, 0xBF)}]"
_SEQUENCE = (
    f"(?:[{_read_as('cp1252', 0xC2, 0xDF)}]{_REST}|[{_read_as('cp1252', 0xE0, 0xEF)}]{_REST}{{2}}"
    f"|[{_read_as('cp1252', 0xF0, 0xF4)}]{_REST}{{3}})"
)
_WRONG = re.compile(
    f"{_SEQUENCE}{{2,}}"  # two characters side by side, as in any alphabet but the Latin one
    f"|\u00e2[\u20ac\u201a\u201e]{_REST}|\u00ef\u00bf\u00bd|\u00f0\u0178{_REST}{{2}}"  # punctuation, U+FFFD, emoji
    f"|\u00c2{_REST}|\u00c3(?![\u2019\u201d\u2026\u00bb\u00a0])(?:{_REST})"  # of Latin-1; these may follow AMANHÃ
    f"|\u00c3[\u2019\u201d\u2026\u00bb](?=[a-z])"
    f"|(?:[\u0420\u0421]{_REST_1251}){{3,}}"
)
_BEGINS_WRONG = re.compile(f"[\u00c2-\u00f4\u0420\u0421](?:{_REST}|{_REST_1251})")  # as each of them does; few texts do

_SHIFTED = re.compile(r"\x1b(?:\$[@AB]|\$\([CD]|\([IJ])|\x0e(?:[!-~]{2})+\x0f")
"""Escapes and shifts of ISO-2022 to Japanese, Chinese and Korean, whose letters are ASCII behind them."""
_ACCENTED = re.compile("[\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff]")


def is_mojibake(text: str) -> bool:
    """Whether a text is certainly in the wrong charset.

    >>> is_mojibake("cafÃ©"), is_mojibake("café"), is_mojibake("NESCAFÉ®")
    (True, False, False)
    """
    if text.isascii():
        return ("\x1b" in text or "\x0e" in text) and _SHIFTED.search(text) is not None
    if _BEGINS_WRONG.search(text) and _WRONG.search(text):
        return True
    accented = len(_ACCENTED.findall(text))
    return accented >= MIN_LETTERS and accented >= MIN_ACCENTED * sum(map(str.isalpha, text))
