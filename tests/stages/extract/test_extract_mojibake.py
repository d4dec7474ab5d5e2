"""Texts that were decoded with a wrong charset before pairmill saw them."""

from __future__ import annotations

import gzip

import pytest

from pipeline.stages.extract.mojibake import is_mojibake
from pipeline.stages.extract.pages.encodings import decoded

WORDS = [
    "a café by the sea",
    "it’s",
    "Красная лодка",
    "静かな湖の赤い船",
    "Κόκκινη βάρκα",
    "قارب أحمر",
    "a 😀",
    "© 2020",
]


@pytest.mark.parametrize("text", WORDS)
def test_utf8_read_as_a_western_charset_is_no_text_x51(text):
    """X51"""
    assert is_mojibake(decoded(text.encode(), "cp1252"))
    assert not is_mojibake(text)


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("cp1251", "Красная лодка"),
        ("koi8-r", "Красная лодка"),
        ("cp1253", "Κόκκινη βάρκα στη λίμνη"),
        ("cp1255", "סירה אדומה באגם"),
        ("cp1256", "قارب أحمر في البحيرة"),
        ("cp874", "เรือสีแดงในทะเลสาบ"),
        ("cp932", "静かな湖の赤い船"),
        ("euc-jp", "静かな湖の赤い船"),
        ("gbk", "红色的小船停在安静的湖上"),
        ("cp949", "조용한 호수 위의 빨간 배"),
        ("big5", "繁體中文的圖片說明"),
    ],
)
def test_another_alphabet_read_as_the_latin_one_is_no_text_x51(codec, text):
    """X51"""
    assert is_mojibake(decoded(text.encode(codec), "cp1252"))


def test_utf8_read_as_windows_1251_is_no_text_x51():
    """X51"""
    assert is_mojibake(decoded("Красная лодка".encode(), "cp1251"))


@pytest.mark.parametrize("codec", ["iso2022_jp", "iso2022_jp_2", "iso2022_kr"])
def test_letters_behind_escapes_are_no_text_x51(codec):
    """X51: of pages and lists that say they are UTF-8."""
    text = "靜" if codec.endswith("2") else "赤" if codec.endswith("jp") else "빨간 배"
    assert is_mojibake(text.encode(codec).decode())
    assert not is_mojibake("\x1b[31mred\x1b[0m (BBC)")


@pytest.mark.parametrize(
    "text", ["NESCAFÉ®", "été", "Été à Évian", "«\u00a0été\u00a0»", "“Ô”", "à »", "AMANHÃ”", "ÅÄÖ"]
)
def test_words_that_only_look_wrong_stay_x51(text):
    """X51: the last two bytes of NESCAFÉ® in windows-1252 are valid UTF-8."""
    assert not is_mojibake(text)


def test_captions_of_six_languages_are_not_taken_for_wrong_ones_x51(shared_data):
    """X51"""
    with gzip.open(shared_data / "flickr8k-captions.tsv.gz", "rt", encoding="utf-8") as lines:
        assert [line for line in lines if is_mojibake(line)] == []
