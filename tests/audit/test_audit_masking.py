"""What a report shows of a text from the web: masked, visible, short."""

from __future__ import annotations

import time

import pytest

from pipeline.audit.masking import masked, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:secret@example.com/a", "http://***@example.com/a"),
        (
            "timeout at HTTPS://u:p%40q@example.com:8080/a, then again",
            "timeout at HTTPS://***@example.com:8080/a, then again",
        ),
        ("//user:secret@cdn.example/a.jpg", "//***@cdn.example/a.jpg"),
        ("http://example.com/a?x=1&token=abc&y=2", "http://example.com/a?x=1&token=***&y=2"),
        ("//a.example/b?X-Goog-Signature=0f3c&author=jo", "//a.example/b?X-Goog-Signature=***&author=jo"),
        ("http://example.com/@someone/a", "http://example.com/@someone/a"),
        ("logo@2x.png", "logo@2x.png"),
        ("write to jane.doe+photos@mail.example.com", "write to [e-mail]"),
        ("call +44 20 7946 0958 or (212) 555-0187", "call [telephone] or [telephone]"),
        ("512000 bytes, limit 10485760, 2024-05-01T12:00:00Z", "512000 bytes, limit 10485760, 2024-05-01T12:00:00Z"),
    ],
)
def test_passwords_and_addresses_are_masked_and_nothing_else(text: str, expected: str) -> None:
    """A8, R22."""
    assert masked(text) == expected


@pytest.mark.parametrize("control", ["\u202e", "\u2066", "\u200f", "\u061c", "\x00", "\n", "\x1b", "\u2028", "\ud800"])
def test_controls_that_nobody_sees_stand_as_escapes(control: str) -> None:
    """A9: bidi overrides, terminal escapes and line ends cannot change how a line reads."""
    text = shown(f"abc{control}def")
    assert control not in text
    assert text == f"abc\\x{ord(control):02x}def" if ord(control) < 256 else f"abc\\u{ord(control):04x}def"


def test_an_emoji_of_several_code_points_stays_whole() -> None:
    assert shown("a family 👩‍👩‍👧") == "a family 👩‍👩‍👧"


@pytest.mark.parametrize("unit", ["w", "@", "a@", "//", "+1 ", "http://a:", "(1"])
def test_a_long_text_is_cut_at_300_characters_in_no_time(unit: str) -> None:
    """A9: 100,000 characters without a space."""
    begun = time.monotonic()
    text = shown(unit * (100_000 // len(unit)))
    assert len(text) <= 300
    assert time.monotonic() - begun < 1
