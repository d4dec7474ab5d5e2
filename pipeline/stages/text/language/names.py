"""The language names of each detector: a name that it never gives would drop every caption of a sure language."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.core.errors import ErrorCode, InputError
from pipeline.stages.text.language.tables import profile_names

_CODE = re.compile("[a-z]{2,3}")
"""ISO 639-1, or 639-3 if there is none. The labels of lid.176 are known only to the model, which is not loaded."""


def require_languages(languages: Sequence[str], detector: str) -> None:
    """InputError `config_invalid` for a language in ``text.languages`` that ``text.detector`` does not know."""
    if detector == "langdetect":
        known = profile_names()
        unknown = [language for language in languages if language not in known]
        remedy = f"it has {', '.join(known)}"
    else:
        unknown = [language for language in languages if not _CODE.fullmatch(language)]
        remedy = "write zh" if unknown and unknown[0].startswith("zh-") else "write codes such as en, de or ceb"
    if unknown:
        raise InputError(
            ErrorCode.CONFIG_INVALID, f"text.languages: {unknown[0]!r} is not a language of {detector}; {remedy}"
        )
