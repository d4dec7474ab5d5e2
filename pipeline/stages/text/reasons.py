"""Why a candidate does not become a pair: the closed set of stage text, in the order of its rules.

Their faults are rows of docs/faults.md: Opt-outs O4, O5, O12; Text T1, T2, T6 to T9, T11 to T14; for the
block lists T16. The opt-outs come first: what an owner forbids is decided before our own rules.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A drop reason of stage text; its full name is ``text/dropped/CODE``."""

    # Signals of the pages that show the image.
    OPTOUT_META = "optout_meta"
    OPTOUT_TDM = "optout_tdm"
    OPTOUT_XROBOTS = "optout_xrobots"

    # Blocked by the operator: never requested.
    URL_BLOCKED = "url_blocked"
    DOMAIN_BLOCKED = "domain_blocked"

    # The caption itself.
    TEXT_TOO_LONG = "text_too_long"
    TEXT_EMPTY = "text_empty"
    TEXT_TOO_SHORT = "text_too_short"
    ADULT_TERM = "adult_term"
    PII = "pii"
    TEXT_BOILERPLATE = "text_boilerplate"
    TEXT_REPETITION = "text_repetition"
    TEXT_REPEATED = "text_repeated"

    # Its language.
    LANG_UNKNOWN = "lang_unknown"  # the detector gives no language
    LANG_UNSURE = "lang_unsure"  # the detected language is too unsure
    LANG_NOT_WANTED = "lang_not_wanted"  # a sure language that is not wanted

    # The balance.
    NO_QUERY_MATCH = "no_query_match"  # names no query of the list
    BALANCE_CAP = "balance_cap"  # over the cap before fetch, which saves requests

    # The same image and alt text again.
    DUPLICATE_PAIR = "duplicate_pair"
