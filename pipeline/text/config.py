"""Settings of stage text: what is measured of a caption, and which captions become pairs."""

from __future__ import annotations

from typing import Literal

from pipeline.core.config import Decide, Field, Measure, StageConfig
from pipeline.text.clean import LONGEST_CLEANED


class Config(StageConfig):
    """The section ``text`` of the config."""

    languages: Decide[list[str]] = Field(
        [], description="languages to keep, as langdetect names them (en, de, zh-cn ...); empty keeps all"
    )
    und: Decide[Literal["keep", "drop"]] = Field(
        "keep", description="what becomes of captions whose language is undetermined, when languages are chosen"
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
        0, ge=0, description="a caption beside more images than this is a template (Conceptual Captions' idea); 0: off"
    )
    min_lang_prob: Measure[float] = Field(
        0.7, ge=0, le=1, description="lowest probability at which langdetect's answer counts (ours); below it: und"
    )
    min_lang_letters: Measure[int] = Field(
        11, ge=0, description="fewest letters of Latin, Cyrillic, Greek (scripts with case) that show a language (ours)"
    )
    min_lang_letters_other: Measure[int] = Field(
        3, ge=0, description="fewest letters of any other script that show a language (ours)"
    )
