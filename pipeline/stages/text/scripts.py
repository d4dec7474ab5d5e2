"""The script a caption is written in, and which languages are written in it: a detector's answer must fit.

langdetect mistakes Chinese for Korean, whose profile has Han characters. It mistakes Armenian and Georgian, which it
does not know, for Estonian. Neither length nor probability shows this; the script does (docs/languages.md).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter

LATIN, CYRILLIC, GREEK, ARABIC, DEVANAGARI, HAN, KANA, HANGUL = (
    "Latin", "Cyrillic", "Greek", "Arabic", "Devanagari", "Han", "kana", "Hangul",
)  # fmt: skip
OTHER = "other"

# First code points of runs of one script; letters of common languages only. All others are OTHER.
_RUNS = (
    (0x0041, LATIN), (0x0250, OTHER), (0x0370, GREEK), (0x0400, CYRILLIC), (0x0530, OTHER), (0x0590, "Hebrew"),
    (0x0600, ARABIC), (0x0700, OTHER), (0x0750, ARABIC), (0x0780, OTHER), (0x08A0, ARABIC),
    (0x0900, DEVANAGARI), (0x0980, "Bengali"), (0x0A00, "Gurmukhi"), (0x0A80, "Gujarati"), (0x0B00, OTHER),
    (0x0B80, "Tamil"), (0x0C00, "Telugu"), (0x0C80, "Kannada"), (0x0D00, "Malayalam"), (0x0D80, OTHER),
    (0x0E00, "Thai"), (0x0E80, OTHER), (0x1100, HANGUL), (0x1200, OTHER), (0x1E00, LATIN), (0x1F00, GREEK),
    (0x2000, OTHER), (0x3005, HAN), (0x3008, OTHER), (0x3041, KANA), (0x3100, OTHER), (0x3130, HANGUL),
    (0x3190, OTHER), (0x31F0, KANA), (0x3200, OTHER), (0x3400, HAN), (0xA000, OTHER), (0xA960, HANGUL),
    (0xA980, OTHER), (0xAC00, HANGUL), (0xD800, OTHER), (0xF900, HAN), (0xFB00, LATIN), (0xFB07, OTHER),
    (0xFB1D, "Hebrew"), (0xFB50, ARABIC), (0xFE00, OTHER), (0xFE70, ARABIC), (0xFF00, OTHER), (0xFF21, LATIN),
    (0xFF5B, OTHER), (0xFF66, KANA), (0xFFA0, OTHER), (0x20000, HAN), (0x323B0, OTHER),
)  # fmt: skip
_STARTS = [start for start, _ in _RUNS]

_NOT_IN_LATIN = {
    "ar": {ARABIC}, "fa": {ARABIC}, "ur": {ARABIC}, "he": {"Hebrew"}, "el": {GREEK},
    "bg": {CYRILLIC}, "mk": {CYRILLIC}, "ru": {CYRILLIC}, "uk": {CYRILLIC},
    "hi": {DEVANAGARI}, "mr": {DEVANAGARI}, "ne": {DEVANAGARI}, "bn": {"Bengali"}, "gu": {"Gujarati"},
    "pa": {"Gurmukhi"}, "ta": {"Tamil"}, "te": {"Telugu"}, "kn": {"Kannada"}, "ml": {"Malayalam"}, "th": {"Thai"},
    "ja": {KANA, HAN}, "ko": {HANGUL}, "zh-cn": {HAN}, "zh-tw": {HAN}, "zh": {HAN},
}  # fmt: skip
_IN_LATIN = (
    "af", "ca", "cs", "cy", "da", "de", "en", "es", "et", "fi", "fr", "hr", "hu", "id", "it", "lt", "lv", "nl", "no",
    "pl", "pt", "ro", "sk", "sl", "so", "sq", "sv", "sw", "tl", "tr", "vi",
)  # fmt: skip
SCRIPTS_OF = {**_NOT_IN_LATIN, **{language: {LATIN} for language in _IN_LATIN}}
"""Of each language that langdetect knows; a language that is not listed may have any script."""

MANY_LANGUAGES = frozenset({LATIN, CYRILLIC})
"""Scripts whose short words exist in many languages."""
SOME_LANGUAGES = frozenset({ARABIC, DEVANAGARI})
"""Scripts that a few of the detector's languages share."""


def script_of(text: str) -> str | None:
    """The script of most letters in ``text`` (of equally many, the first); None without a letter.

    >>> script_of("Red fox"), script_of("赤い狐のred"), script_of("2024")
    ('Latin', 'Han', None)
    """
    if text.isascii():
        return LATIN if any(map(str.isalpha, text)) else None
    found = Counter(_RUNS[bisect_right(_STARTS, ord(letter)) - 1][1] for letter in filter(str.isalpha, text))
    return found.most_common(1)[0][0] if found else None


def fits(language: str, script: str | None) -> bool:
    """Whether ``language`` is written in ``script``."""
    return language not in SCRIPTS_OF or script in SCRIPTS_OF[language]
