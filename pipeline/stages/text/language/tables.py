"""What langdetect knows, as arrays: how it reads a character, and how frequent an n-gram is in each language.

Everything comes from langdetect's own files and functions, in 0.2 s; nothing of it is kept on disk.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from langdetect.detector_factory import PROFILES_DIRECTORY
from langdetect.utils.ngram import NGram

LANGUAGES = 55
WIDTH = 56
"""A row of frequencies fills seven cache lines of 64 bytes; the last column is always 0."""

CHARACTER_BITS = 21
"""An n-gram is a number: its last character in the lowest 21 bits, the one before in the next. No character is 0."""

LONGEST_TEXT = 10_000
"""langdetect reads only so many code points, after URLs and addresses are taken out."""

BUCKET_BITS = 17
HASH = 0x9E37_79B9_7F4A_7C15
"""2^64 over the golden ratio: Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4)."""

_LAST_NORMALISED = 0xFFFF  # langdetect changes no character beyond the basic plane
_LAST_CAPITAL = 0x1FFFF  # and Unicode has no capital letter beyond this
_CODE_POINTS = 0x110000


class Alphabet(NamedTuple):
    """How langdetect reads each code point (0 to 0x10FFFF)."""

    normal: npt.NDArray[np.uint32]
    """uint32: the code point that replaces it; for everything that is not a letter, the space."""
    capital: npt.NDArray[np.bool_]
    """bool: whether it is a capital letter."""

    @classmethod
    def of_langdetect(cls) -> Self:
        """NGram.normalize and str.isupper, called once for each code point that they can change."""
        normal = np.arange(_CODE_POINTS, dtype=np.uint32)
        normal[: _LAST_NORMALISED + 1] = [ord(NGram.normalize(chr(code))) for code in range(_LAST_NORMALISED + 1)]
        capital = np.zeros(_CODE_POINTS, np.bool_)
        capital[: _LAST_CAPITAL + 1] = [chr(code).isupper() for code in range(_LAST_CAPITAL + 1)]
        return cls(normal, capital)


class Profiles(NamedTuple):
    """Relative frequencies of G n-grams in LANGUAGES languages, found by hash.

    The n-grams of bucket b, those whose hash begins with b, are the rows from buckets[b] up to buckets[b + 1].
    """

    buckets: npt.NDArray[np.int32]
    """int32, 2^BUCKET_BITS + 1."""
    ngrams: npt.NDArray[np.uint64]
    """uint64, G: each as CHARACTER_BITS says."""
    frequencies: npt.NDArray[np.float64]
    """float64, G × WIDTH: frequency of the n-gram among all of its length, by language."""

    @classmethod
    def of_langdetect(cls) -> tuple[list[str], Self]:
        """Names of the languages in the order of their columns, and the tables."""
        profiles = [json.loads(profile) for profile in profile_texts()]
        if len(profiles) != LANGUAGES:
            raise ValueError(f"langdetect has {len(profiles)} profiles, the kernel is made for {LANGUAGES}")
        ngrams, lengths = _packed([ngram for profile in profiles for ngram in profile["freq"]])
        sizes = [len(profile["freq"]) for profile in profiles]
        counts = np.concatenate([np.fromiter(profile["freq"].values(), np.float64) for profile in profiles])
        totals = np.repeat(np.array([profile["n_words"] for profile in profiles], np.float64), sizes, axis=0)

        distinct, distinct_of = np.unique(ngrams, return_inverse=True)
        bucket = (distinct * np.uint64(HASH) >> np.uint64(64 - BUCKET_BITS)).astype(np.int64)
        order = np.argsort(bucket, kind="stable")
        row = np.empty_like(order)
        row[order] = np.arange(len(order))
        frequencies = np.zeros((len(distinct), WIDTH))
        column = np.repeat(np.arange(LANGUAGES), sizes)
        frequencies[row[distinct_of], column] = counts / np.take_along_axis(totals, lengths[:, None] - 1, axis=1)[:, 0]
        buckets = np.zeros(2**BUCKET_BITS + 1, np.int32)
        np.cumsum(np.bincount(bucket, minlength=2**BUCKET_BITS), out=buckets[1:])
        return [profile["name"] for profile in profiles], cls(buckets, distinct[order], frequencies)


def profile_texts() -> list[str]:
    """The JSON of each profile, in the order of their names.

    langdetect itself takes them in the order of ``os.listdir``, which changes the last bits of its probabilities.
    """
    return [Path(PROFILES_DIRECTORY, name).read_text(encoding="utf-8") for name in profile_names()]


def profile_names() -> list[str]:
    """The languages of langdetect, sorted: each profile is a file with its language's name."""
    return sorted(path.name for path in Path(PROFILES_DIRECTORY).iterdir() if not path.name.startswith("."))


def _packed(ngrams: list[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Each n-gram of one to three characters as a number, and its length."""
    lengths = np.fromiter(map(len, ngrams), np.int64, len(ngrams))
    characters = np.frombuffer("".join(ngrams).encode("utf-32-le"), np.uint32).astype(np.uint64)
    last = np.cumsum(lengths) - 1
    packed = characters[last]
    for before in (1, 2):
        long = lengths > before
        packed[long] |= characters[last[long] - before] << np.uint64(before * CHARACTER_BITS)
    return packed, lengths
