"""What a stranger wrote never moves a cursor, hides a line or turns one around."""

from __future__ import annotations

import io
import json
import sys
import unicodedata

import emoji
import pytest
from rich.console import Console

from pipeline.audit.masking import shown
from pipeline.core.progress import Reporter
from pipeline.core.visible import json_text, visible

UNSEEN = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
]
HOSTILE = "a\x1b[2J\x1b]0;owned\x07\r\x9b1A\x7f\u202eb\u200bc\u2066\U000e0041"


def test_every_control_and_format_character_of_unicode_is_an_escape_a30() -> None:
    """A30: by Python's own table."""
    assert len(UNSEEN) > 2_200  # surrogates are most of them
    for character in UNSEEN:
        text = visible(f"a{character}b")
        assert text.startswith("a\\"), hex(ord(character))
        assert text.isascii()


def test_in_prose_only_joiners_of_scripts_and_soft_hyphens_stay_a30() -> None:
    """A30: the report is read as a page, where Persian and Hindi need them."""
    kept = {character for character in UNSEEN if visible(f"a{character}b", prose=True).isprintable() is False}
    assert kept == set(
        "\xad\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u200c\u200d\U000110bd\U000110cd"
    ) | {chr(code) for code in range(0x13430, 0x13440) if unicodedata.category(chr(code)) == "Cf"}
    assert shown("می\u200cخواهم") == "می\u200cخواهم"


def test_every_emoji_stays_as_it_is_a30() -> None:
    """A30: families, flags of countries and of England are several code points."""
    changed = [text for text in emoji.EMOJI_DATA if visible(text) != text or shown(text) != text]
    assert changed == []


@pytest.mark.parametrize("text", ["a\u200db", "👩\u200d", "\u200d👩", "\U000e0067\U000e007f", "a\U000e0067\U000e007f"])
def test_what_an_emoji_needs_is_an_escape_where_there_is_none_a30(text: str) -> None:
    """A30"""
    assert "\\" in visible(text)


def test_text_that_anybody_sees_is_not_changed() -> None:
    for text in ("Ein Hund, 30 € – naïve “x”", "一隻狗", "שלום", "a\\x1b", "c:\\new", "e\u0301"):
        assert visible(text) == text


def test_a_line_of_the_log_is_one_line_and_harmless_a30(capsys) -> None:
    """A30: as text and as JSON."""
    reporter = Reporter()
    reporter.console = Console(file=io.StringIO(), force_terminal=True, color_system=None, soft_wrap=True)
    reporter.line(f"extract: {HOSTILE}\nnext")
    said = reporter.console.file.getvalue()  # type: ignore[attr-defined]
    assert said == f"extract: {visible(HOSTILE)}\\x0anext\n"
    Reporter("json").line(HOSTILE, path=HOSTILE)
    said = capsys.readouterr().err
    assert said.isascii()
    assert said.removesuffix("\n").isprintable()
    assert json.loads(said) == {"text": HOSTILE, "path": HOSTILE}
    assert json.loads(json_text(UNSEEN)) == UNSEEN
