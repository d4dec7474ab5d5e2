"""How much a caption repeats itself, lists keywords or draws with signs (docs/faults.md, T12). Rules judge.

Only words of LONG_WORD or more letters can repeat: "a man in a hat on a horse in a field" is normal. In a
script without spaces a text is one word, and nothing repeats.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

LONG_WORD = 4
"""Letters of the shortest word that can count as repeated."""
LEAST_WORDS = 6
"""Fewest words for which a share of words is meaningful."""
LEAST_LONG_WORDS = 7
"""Fewest long words for which a share is meaningful: "Love Comes Softly (Love Comes Softly, #1)" has six."""
TIMES = 3
"""How often a word must occur to count as repeated too often."""
KEYWORD_WORDS = 3
"""Most words per item, on average, in a list of keywords."""

COMMAS = ",\u3001\uff0c\u060c"
_EDGES = ".,:;!?\"'()[]|#*-–—/&+«»“”„…"
_SIGN = re.compile(r"[^\w\s]|_")
_SIGN_CATEGORIES = frozenset({"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk"})


class Repetition(NamedTuple):
    """What a caption repeats.

    ``top_word_share``: share of the most frequent long word among all words (0 if it occurs fewer than TIMES times).
    ``repeated_share``: share of the long words that occurred before, among the long words.
    ``symbol_share``: share of punctuation and signs (no letter, number, emoji or space), among the code points.
    ``keywords``: items of a list between commas or after "Tags:", else 0.
    """

    top_word_share: float
    repeated_share: float
    symbol_share: float
    keywords: int


def repetition_of(caption: str) -> Repetition:
    """The four numbers of a cleaned caption.

    >>> repetition_of("cheap cheap cheap shoes shoes buy").top_word_share
    0.5
    """
    words = [word.strip(_EDGES) for word in caption.casefold().split()]
    top_share = repeated_share = 0.0
    if len(words) >= LEAST_WORDS:
        long_words = [word for word in words if len(word) >= LONG_WORD]
        distinct = len(set(long_words))
        if distinct < len(long_words):
            most = max(Counter(long_words).values())
            top_share = most / len(words) if most >= TIMES else 0.0
            repeated_share = 1 - distinct / len(long_words) if len(long_words) >= LEAST_LONG_WORDS else 0.0
    return Repetition(top_share, repeated_share, _symbol_share(caption), _keywords(caption, len(words)))


def _symbol_share(caption: str) -> float:
    signs = _SIGN.findall(caption)
    if not signs:
        return 0.0
    if not caption.isascii():
        signs = [sign for sign in signs if unicodedata.category(sign) in _SIGN_CATEGORIES]
    return len(signs) / len(caption)


def _keywords(caption: str, words: int) -> int:
    _, tags, listed = caption.partition(") Tags: ")  # as Flickr titles its pages
    if tags:
        return len(listed.split())
    commas = sum(map(caption.count, COMMAS))
    if commas < 2:
        return 0
    items = commas + 1
    return items if words + commas * (" " not in caption) <= KEYWORD_WORDS * items else 0
