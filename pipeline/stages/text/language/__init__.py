"""The language of a text, as langdetect finds it with seed 0, at a small part of its cost.

The answers are langdetect's own, label and probability, bit for bit: ``reference`` is langdetect, and the tests
compare the two. What makes it fast (benchmarks/language.py) is that nothing is repeated for each text:

    tables     the 55 profiles and the alphabet of langdetect as arrays, made from its own files at the first use
    stream     with seed 0 the random numbers are the same for every text: drawn once, kept as an array
    kernel     n-grams and random walks of a whole batch in one call of machine code, on one core
    compiled   numba makes that code at the first use and keeps it for the next process

The first answer of a process takes one second of CPU time if the machine code is kept, three if it is not. The tables
take 46 MB. Neither order nor repetition of texts changes an answer. docs/languages.md says how often the
answers are right.

``fasttext`` is the second detector; only the type of its answers is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
from langdetect.detector import Detector
from langdetect.utils.ngram import NGram

from pipeline.stages.text.language.tables import LONGEST_TEXT, Alphabet, Profiles

Answer = tuple[str, float] | None
"""Language and probability (0..1); None if a detector finds no features."""

_MARK = re.compile(f"[{NGram.DMARK_CLASS}]")


def detect(texts: Iterable[str]) -> list[Answer]:
    """Language (ISO 639-1, or zh-cn, zh-tw) and probability of each text, in order.

    None where langdetect raises ("No features in text": digits, emoji or a URL only) or finds nothing likelier than
    0.1. Any string is valid, lone surrogates included.

    >>> [answer and answer[0] for answer in detect(["Ein kleines Mädchen klettert in ein Spielhaus", "12345"])]
    ['de', None]
    """
    return _detector()([_prepared(text) for text in texts])


def _prepared(text: str) -> str:
    """The part of ``text`` that langdetect judges: without URLs and addresses, Vietnamese composed, cut.

    Its three regular expressions are used only if they can match: each needs a character that few texts have.
    """
    if "://" in text:
        text = Detector.URL_RE.sub(" ", text)
    if "@" in text:
        text = Detector.MAIL_RE.sub(" ", text)
    if not text.isascii() and _MARK.search(text):
        text = NGram.normalize_vi(text)
    return text[:LONGEST_TEXT]


@cache
def _detector() -> Callable[[list[str]], list[Answer]]:
    """One per process. Imported at the first text, because most processes that import this module judge none."""
    from pipeline.core.compiled import compiled
    from pipeline.stages.text.language.kernel import detect_batch
    from pipeline.stages.text.language.stream import Stream

    names, profiles = Profiles.of_langdetect()
    tables = (Alphabet.of_langdetect(), profiles, Stream.of_seed(0))

    def arguments(texts: list[str]) -> tuple[Any, ...]:
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        characters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
        return characters, ends, *tables, np.empty(len(texts), np.int64), np.empty(len(texts), np.float64)

    kernel = compiled(detect_batch, *arguments([""]))

    def detector(texts: list[str]) -> list[Answer]:
        *given, found, probabilities = arguments(texts)
        kernel(*given, found, probabilities)
        pairs = zip(found.tolist(), probabilities.tolist(), strict=True)
        return [(names[language], probability) if language >= 0 else None for language, probability in pairs]

    return detector
