"""How much a caption repeats itself, lists keywords or draws with signs (docs/faults.md, T12). Numbers; rules judge.

Only words of LONG_WORD letters and more can repeat: "a man in a hat on a horse in a field" is honest prose. Where a
script has no spaces a text is one word, and says nothing here.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

LONG_WORD = 4
"""Letters of the shortest word that can be said too often."""
LEAST_WORDS = 6
"""Words below which a share of words says nothing."""
LEAST_LONG_WORDS = 7
"""Long words below which a share of them says nothing: "Love Comes Softly (Love Comes Softly, #1)" has six."""
TIMES = 3
"""How often a word must occur to be counted as said too often."""
KEYWORD_WORDS = 3
"""Words that the items of a list of keywords have on average at most."""

COMMAS = ",\u3001\uff0c\u060c"
_EDGES = ".,:;!?\"'()[]|#*-–—/&+«»“”„…"
_SIGN = re.compile(r"[^\w\s]|_")
_SIGN_CATEGORIES = frozenset({"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk"})


class Repetition(NamedTuple):
    """What a caption repeats.

    ``top_word_share``: of all words, the most frequent long one (0 where it occurs less than TIMES).
    ``repeated_share``: of the long words, those that were there before.
    ``symbol_share``: of all code points, punctuation and signs (no letter, number, emoji or space).
    ``keywords``: items of a list between commas or behind "Tags:", else 0.
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
