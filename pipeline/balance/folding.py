"""Texts as they are compared: folded, and cut at word borders. Whole batches in NumPy, no loop over characters.

Folding removes case (Unicode's full case folding, NFC), replaces any run of white space by one space, and replaces a
hyphen, apostrophe or underscore inside a word by a space ("T-shirt" becomes "t shirt"); all else is kept. A **segment**
is a word (a run of letters, digits and marks), one letter of a script that is written without spaces (Han, kana, Thai,
Khmer ...), or one other character; a combining mark belongs to its base. Segments begin and end at word borders, so
"cat" is found in "cat's" and in "cat," but not in "catalogue", and 狐 is found in 赤い狐.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

OTHER, SPACE, JOINER, LETTER, UNSPACED, MARK, ROW = range(7)
"""The kind of a character, for word borders. ROW separates the texts of a batch."""

SEPARATOR = "\n"
JOINERS = "-_'\u2018\u2019\u02bc\u2010\u2011"
ZERO_WIDTH_JOINERS = "\u200c\u200d"  # inside words of Persian and Indic scripts, and inside emoji
UNSPACED_BLOCKS = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x1950, 0x19DF),
    (0x1A20, 0x1AAF),  # Thai to Tai Tham
    (0x3005, 0x3007),
    (0x3041, 0x312F),
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),
    (0xAA60, 0xAADF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
)
CHARS_AT_ONCE = 1 << 16  # arrays of half a megabyte stay in the processor's cache


@dataclass(frozen=True)
class Folded:
    """Folded texts, one after another, with a newline between them.

    ``codes`` [C] are the code points; ``starts`` and ``ends`` [S] the segments in order; ``kinds`` [S]
    what each is, ROW for the newlines, which are segments of their own.
    """

    codes: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.uint8]

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """[S]: the text each segment belongs to."""
        return np.cumsum(self.kinds == ROW)

    def text(self) -> str:
        """All of it."""
        return self.codes.tobytes().decode("utf-32-le", "surrogatepass")


def fold(texts: Sequence[str]) -> Folded:
    """Fold and cut texts; a newline inside one is white space."""
    joined = SEPARATOR.join(texts)
    if joined.count(SEPARATOR) >= max(len(texts), 1):
        joined = SEPARATOR.join(text.replace(SEPARATOR, " ") for text in texts)
    caseless = unicodedata.normalize("NFC", unicodedata.normalize("NFC", joined).casefold())
    codes = np.frombuffer(caseless.encode("utf-32-le", "surrogatepass"), "<u4")
    kinds = _kinds_by_code()[codes]
    joiner = np.flatnonzero(kinds == JOINER)
    if len(joiner):
        within = np.isin(np.pad(kinds, 1)[np.add.outer(joiner, (0, 2))], (LETTER, UNSPACED, MARK)).all(axis=1)
        kinds[joiner] = np.where(within, SPACE, OTHER)
    space = kinds == SPACE
    again = space[1:] & space[:-1]
    if again.any():
        stays = np.concatenate([[True], ~again])
        codes, kinds, space = codes[stays], kinds[stays], space[stays]
    codes = np.where(space, np.uint32(ord(" ")), codes)
    return _cut(codes, _marks_as_their_bases(kinds), kinds == MARK)


def fold_texts(texts: Sequence[str]) -> list[str]:
    """Each text folded, without space at its ends.

    >>> fold_texts(["  Rock 'n' ROLL ", "Straßen-Café", "well–known"])
    ["rock 'n' roll", 'strassen café', 'well–known']
    """
    return [text.strip(" ") for some in chunks(texts) for text in fold(some).text().split(SEPARATOR)]


def chunks(texts: Sequence[str], chars: int = CHARS_AT_ONCE) -> Iterator[Sequence[str]]:
    """The texts in slices of about so many characters, at least one text each."""
    if not texts:
        return
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
    bounds = np.flatnonzero(np.diff(ends // chars)) + 1
    begin = 0
    for end in (*bounds.tolist(), len(texts)):
        yield texts[begin:end]
        begin = end


def _cut(codes: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint8], continues: npt.NDArray[np.bool_]) -> Folded:
    """A segment begins where no letter continues a word and no mark follows its base; it ends there or at a space."""
    begins = kinds != SPACE
    begins[1:] &= ~((kinds[1:] == LETTER) & (kinds[:-1] == LETTER))
    begins &= ~continues | ((kinds == LETTER) & np.concatenate([[True], np.isin(kinds[:-1], (SPACE, ROW))]))
    borders = np.flatnonzero(begins | (kinds == SPACE))
    is_segment = begins[borders]
    ends = np.append(borders[1:], len(codes))[is_segment]
    starts = borders[is_segment]
    return Folded(codes, starts, ends, kinds[starts])


def _marks_as_their_bases(kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The kind of each character. A mark has the kind of its base; without a base it is a letter."""
    mark = kinds == MARK
    if not mark.any():
        return kinds
    places = np.arange(len(kinds))
    base = np.maximum.accumulate(np.where(mark, -1, places))
    kinds = np.where(mark, np.where(base >= 0, kinds[base], ROW), kinds)
    return np.where(mark & np.isin(kinds, (SPACE, ROW)), LETTER, kinds)


@cache
def _kinds_by_code() -> npt.NDArray[np.uint8]:
    """[0x110000]: the kind of every code point (as this Python's Unicode has them)."""
    kinds = np.full(0x110000, OTHER, np.uint8)
    letters = np.full(0x110000, LETTER, np.uint8)
    for low, high in UNSPACED_BLOCKS:
        letters[low : high + 1] = UNSPACED
    by_category = {"N": LETTER, "M": MARK, "Z": SPACE}
    for code in (*range(0x32400), *range(0xE0100, 0xE01F0)):  # beyond are variation selectors alone
        category = unicodedata.category(chr(code))[0]
        kinds[code] = letters[code] if category == "L" else by_category.get(category, OTHER)
    kinds[[ord(character) for character in ZERO_WIDTH_JOINERS]] = MARK
    kinds[[ord(character) for character in JOINERS]] = JOINER
    kinds[[ord(character) for character in "\t\x0b\x0c\r\x1c\x1d\x1e\x1f\x85"]] = SPACE
    kinds[ord(SEPARATOR)] = ROW
    return kinds
