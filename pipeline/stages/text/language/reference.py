"""langdetect itself, with the same answers on every machine and every Python: the kernel is compared with it.

- Profiles are loaded in the order of their names, not in the order of ``os.listdir``.
- Probabilities are summed from left to right, as ``sum`` did up to Python 3.11. From 3.12 on it compensates rounding,
  and langdetect's last bits change with it.

About 4 ms per text. No stage uses it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache, reduce
from operator import add

from langdetect.detector import Detector
from langdetect.detector_factory import DetectorFactory
from langdetect.lang_detect_exception import LangDetectException

from pipeline.stages.text.language import Answer
from pipeline.stages.text.language.tables import profile_texts

SEED = 0


def detect(texts: Iterable[str]) -> list[Answer]:
    """As ``pipeline.stages.text.language.detect``."""
    return [_detect_one(text) for text in texts]


def _detect_one(text: str) -> Answer:
    detector = factory().create()
    detector.append(text)
    try:
        answers = detector.get_probabilities()
    except LangDetectException:  # "No features in text": digits, emoji or a URL only
        return None
    return (answers[0].lang, answers[0].prob) if answers else None


@cache
def factory() -> DetectorFactory:
    """One per process: 55 profiles, about 1 s to load and 60 MB."""
    factory = _Factory()
    factory.load_json_profile(profile_texts())
    factory.set_seed(SEED)
    return factory


class LeftToRight(Detector):  # type: ignore[misc]  # langdetect has no types
    """Sums as they were before Python 3.12."""

    def _normalize_prob(self, prob: list[float]) -> float:
        total = reduce(add, prob, 0.0)
        prob[:] = [p / total for p in prob]
        return max(prob)


class _Factory(DetectorFactory):  # type: ignore[misc]
    def _create_detector(self) -> Detector:
        return LeftToRight(self) if sys.version_info >= (3, 12) else Detector(self)
