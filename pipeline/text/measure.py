"""From the raw alt texts of a batch to captions and what can be said of each alone: pure, no Spark.

Rows out are rows in, in the same order. An alt text over LONGEST_CLEANED has its length measured and nothing else
(null). A row that raises has nulls in every column, which the rules call ``not_measured``; it costs no other row.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.core.ids import key_of
from pipeline.text import boilerplate, language
from pipeline.text.clean import LONGEST_CLEANED, clean
from pipeline.text.config import Config
from schemas.text import ADDS

UNDETERMINED = "und"
"""ISO 639-2's code for a language that is not determined."""

WIDE_LETTER_WEIGHT = 3
"""What a Han, kana or hangul letter counts in caption_weight. Ours: on Flickr8k the Chinese captions of a picture have
8.6 code points where the English ones have 55; three is the least at which two letters pass a limit of five."""

COLUMNS = (
    "caption", "caption_id", "caption_chars", "caption_weight", "raw_chars", "caption_letters",
    "boilerplate", "lang", "lang_prob", "lang_guess",
)  # fmt: skip
SCHEMA = pa.schema([ADDS.field(name) for name in COLUMNS])


class Language(NamedTuple):
    """What stands in the columns lang, lang_prob and lang_guess."""

    lang: str
    lang_prob: float | None
    lang_guess: str | None


def measure_batch(batch: pa.RecordBatch, config: Config) -> pa.RecordBatch:
    """The columns of SCHEMA for each row of ``batch``, which has a column ``alt_text``; null there counts as empty."""
    rows = [_measure_caption(alt_text) for alt_text in _texts(batch.column("alt_text"))]
    judged = [row for row in rows if row.get("caption")]
    for row, language_ in zip(judged, languages([row["caption"] for row in judged], config), strict=True):
        row.update(language_._asdict())
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def languages(captions: Sequence[str], config: Config) -> list[Language]:
    """The language of each caption; ``und`` where there are too few letters for it or the probability is too low.

    Captions all in capitals are judged in lower case: langdetect reads words in capitals as abbreviations and skips
    them (it then finds 0 of 60 French captions of Flickr8k, in lower case 60).
    """
    found = language.detect(caption.lower() if caption.isupper() else caption for caption in captions)
    return [_judged(caption, guess, config) for caption, guess in zip(captions, found, strict=True)]


def _judged(caption: str, guess: tuple[str, float] | None, config: Config) -> Language:
    if guess is None:
        return Language(UNDETERMINED, None, None)
    lang, prob = guess
    sure = prob >= config.min_lang_prob and _letters(caption) >= _letters_needed(caption, config)
    return Language(lang if sure else UNDETERMINED, prob, lang)


def _measure_caption(alt_text: str) -> dict[str, Any]:
    """Everything but the language, as a row of SCHEMA; an empty row where measuring it raises."""
    try:
        if len(alt_text) > LONGEST_CLEANED:
            return {"raw_chars": len(alt_text), "caption_chars": len(alt_text)}
        caption = clean(alt_text)
        return {
            "caption": caption,
            "caption_id": key_of(caption) if caption else None,
            "caption_chars": len(caption),
            "caption_weight": weight(caption),
            "raw_chars": len(alt_text),
            "caption_letters": _letters(caption),
            "boilerplate": boilerplate.kind_of(caption),
            "lang": UNDETERMINED,
        }
    except Exception:  # whatever a library raises on hostile text is this row's fault alone
        return {}


def weight(caption: str) -> int:
    """Length in code points, each wide East Asian letter counting WIDE_LETTER_WEIGHT.

    >>> weight("red fox"), weight("赤い狐")
    (7, 9)
    """
    if caption.isascii():
        return len(caption)
    wide = sum(1 for character in caption if character.isalpha() and unicodedata.east_asian_width(character) in "WF")
    return len(caption) + (WIDE_LETTER_WEIGHT - 1) * wide


def _letters(caption: str) -> int:
    return sum(map(str.isalpha, caption))


def _letters_needed(caption: str, config: Config) -> int:
    """Alphabets with case are shared by many languages; most other scripts name theirs, or nearly."""
    cased = sum(1 for character in caption if character.lower() != character.upper())
    return config.min_lang_letters if 2 * cased >= _letters(caption) else config.min_lang_letters_other


def _texts(column: pa.Array) -> list[str]:
    """The texts as they lie, null as empty; bytes that are no UTF-8 become U+FFFD instead of costing the batch."""
    return [(data or b"").decode("utf-8", "replace") for data in column.cast(pa.binary()).to_pylist()]
