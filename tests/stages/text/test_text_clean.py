"""Cleaning: what a person would read, and always valid UTF-8."""

import gzip
import re
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stages.text.clean import LONGEST_CLEANED, MAX_MARKS, _without_towers, clean, repaired


@pytest.mark.parametrize(
    ("raw", "caption"),
    [
        ("A red fox", "A red fox"),
        ("Cin Chili & Co.", "Cin Chili & Co."),
        ("Orchid<br>Jungle<br/>100% rayon", "Orchid Jungle 100% rayon"),
        ("<i>Made 2 Praise</i>: Volume 2", "Made 2 Praise: Volume 2"),
        ("<b>bold</b> fox", "bold fox"),
        ("if x<y and y>z", "if x<y and y>z"),
        ("I <3 foxes", "I <3 foxes"),
        ("The Mona Lisa doesnÃ¢â‚¬â„¢t smile", "The Mona Lisa doesn’t smile"),
        ("“curled” quotes – stay…", "“curled” quotes – stay…"),
        ("  two\t\nspaces\u00a0 here\u3000too ", "two spaces here too"),
        ("ＡＢＣ１２３", "ABC123"),
        ("狐，雪。", "狐，雪。"),
        ("cafe\u0301", "café"),
    ],
)
def test_a_caption_is_what_a_person_would_read(raw, caption):
    assert clean(raw) == caption


@pytest.mark.parametrize(
    "text",
    ["Home & garden&center", "Cotton&microfiber towel", "Boho&ethnic rug", "Q&A, AT&T", "1 &lt; 2", "&amp;lt; &#39;"],
)
def test_a_text_is_not_decoded_a_second_time(text):
    """X62"""
    assert clean(text) == text


@pytest.mark.parametrize(
    ("raw", "caption"),
    [
        ("a\x00b\x07c", "abc"),
        ("\u202eevil\u202c fox", "evil fox"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("soft\u00adhyphen", "softhyphen"),
        ("icon \uf0e1 font", "icon font"),
        ("fo\u200dx", "fox"),
        ("family 👨\u200d👩\u200d👧", "family 👨\u200d👩\u200d👧"),
        ("pilot 👩🏽\u200d✈\ufe0f", "pilot 👩🏽\u200d✈\ufe0f"),
        ("मुख्\u200dय क्\u200dष", "मुख्\u200dय क्\u200dष"),
        ("മുന്\u200d", "മുന്\u200d"),
        ("می\u200cخواهم\u200c", "می\u200cخواهم"),
        (
            "Z" + "\u0301\u0302\u0303\u0304\u0305\u0306" * 20,
            unicodedata.normalize("NFC", "Z\u0301\u0302\u0303\u0304") + "\u0305",
        ),
        ("လျှို့ဝှက်", "လျှို့ဝှက်"),
    ],
)
def test_invisible_characters_go_and_meaningful_joiners_stay(raw, caption):
    """T4"""
    assert clean(raw) == caption


@pytest.mark.parametrize(
    "raw", ["", " ", "<br>", "<b></b>", "\u200b\u200b", "\x00\x01", "\u00a0", "\u3164", "<img src='a.png'>"]
)
def test_text_of_nothing_visible_is_empty(raw):
    """T1"""
    assert clean(raw) == ""


@given(
    st.text(alphabet=st.characters(), max_size=200)
    | st.text(alphabet="<>&;ab/\u0301\u200d\u202e\ud800é\u0e31 ", max_size=200)
)
@settings(max_examples=300, deadline=None)
def test_every_text_comes_out_as_valid_utf8_in_nfc_on_one_line(raw):
    """T4"""
    caption = clean(raw)
    assert caption.encode("utf-8").decode("utf-8") == caption
    assert unicodedata.is_normalized("NFC", caption)
    assert caption == " ".join(caption.split())
    assert not any(unicodedata.category(character) in {"Cc", "Cs", "Co"} for character in caption)
    marks = "".join("m" if unicodedata.category(character)[0] == "M" else "." for character in caption)
    assert "m" * (MAX_MARKS + 1) not in marks
    accents = "".join("m" if unicodedata.combining(character) else "." for character in caption)
    assert not re.search("m{5}", accents)


@pytest.mark.parametrize(
    "raw",
    [
        "a" * 1999 + "!",
        "@" * 2000,
        "1-" * 1000,
        "<" * 2000,
        "<!--" * 500,
        "&" * 2000,
        "é" * 2000,
        "<b " * 660,
        "Ã©" * 1000,
    ],
)
def test_no_text_makes_cleaning_slow(raw):
    """T3"""
    assert len(raw) <= LONGEST_CLEANED
    clean(raw)
    start = time.process_time()
    clean(raw)
    assert time.process_time() - start < 0.02


def the_long_way(raw: str) -> str:
    """Every step on every text."""
    text = unicodedata.normalize("NFC", repaired(raw))
    return " ".join((text if text.isascii() else _without_towers(text)).split())


MOJIBAKE = (
    "latin-1",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1257",
    "macroman",
    "cp437",
)


@given(st.text(max_size=60), st.sampled_from(MOJIBAKE))
@settings(max_examples=400, deadline=None)
def test_a_text_that_is_spared_a_step_needed_none(text, encoding):
    """The short way and the long way give the same caption, also of what a wrong decoding has made."""
    assert clean(text) == the_long_way(text)
    garbled = text.encode("utf-8", "surrogatepass").decode(encoding, "ignore")
    assert clean(garbled) == the_long_way(garbled)


@given(st.text(st.characters(max_codepoint=0x24FF), max_size=12))
@settings(max_examples=400, deadline=None)
def test_a_text_of_accents_and_signs_is_spared_nothing_it_needs(text):
    assert clean(text) == the_long_way(text)


def test_no_text_of_any_language_is_spared_what_it_needs(shared_data):
    with gzip.open(shared_data / "language_texts.tsv.gz", "rt", encoding="utf-8") as lines:
        texts = [line.rstrip("\n").split("\t")[1] for line in lines][::40]
    texts += [text.encode().decode(encoding, "ignore") for text in texts[::3] for encoding in MOJIBAKE]
    assert [text for text in texts if clean(text) != the_long_way(text)] == []
