"""Folding and matching once more, a character at a time in plain Python, as what the index is compared with."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest

JOINERS = "-_'‘’ʼ‐‑"
UNSPACED = (
    "CJK UNIFIED",
    "CJK COMPATIBILITY IDEOGRAPH",
    "HIRAGANA LETTER",
    "KATAKANA LETTER",
    "THAI CHARACTER",
    "LAO LETTER",
)


def kind(character: str) -> str:
    """letter, unspaced, mark, space or other."""
    category = unicodedata.category(character)
    if character.isspace():
        return "space"
    if category[0] == "M" or character in "\u200c\u200d":
        return "mark"
    if category[0] == "L" and unicodedata.name(character, "").startswith(UNSPACED):
        return "unspaced"
    return "letter" if category[0] in "LN" else "other"


def fold(text: str) -> str:
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    kinds = ["space", *map(kind, text), "space"]
    joined = "".join(
        " " if character in JOINERS and not {kinds[place], kinds[place + 2]} & {"space", "other"} else character
        for place, character in enumerate(text)
    )
    return " ".join(joined.split())


def is_border(text: str, place: int) -> bool:
    """Whether a word may begin or end before ``text[place]``."""
    if place in (0, len(text)) or text[place - 1] == " " or text[place] == " ":
        return True
    if kind(text[place]) == "mark":
        return False
    base = place - 1
    while kind(text[base]) == "mark" and base and text[base - 1] != " ":
        base -= 1
    before = "letter" if kind(text[base]) == "mark" else kind(text[base])
    return not (before == kind(text[place]) == "letter")


def matches(entry: str, caption: str) -> bool:
    """Whether the folded entry stands in the folded caption, from border to border."""
    wanted, text = fold(entry), fold(caption)
    place = text.find(wanted)
    while place >= 0:
        if is_border(text, place) and is_border(text, place + len(wanted)):
            return True
        place = text.find(wanted, place + 1)
    return False


@pytest.fixture(scope="session")
def plain() -> SimpleNamespace:
    """The plain functions of this file."""
    return SimpleNamespace(fold=fold, matches=matches)


@pytest.fixture(scope="session")
def laion_captions(shared_data: Path) -> list[str]:
    """9,970 captions of the web."""
    import pyarrow.parquet as pq

    return pq.read_table(shared_data / "laion_urls_10k.parquet")["caption"].to_pylist()
