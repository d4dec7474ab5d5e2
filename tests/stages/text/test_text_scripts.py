"""The script of a caption, and the answers that it rules out."""

import unicodedata

import pyarrow as pa
import pytest

from pipeline.stages.text.captions import languages, measure_batch
from pipeline.stages.text.config import Config
from pipeline.stages.text.language import reference
from pipeline.stages.text.scripts import SCRIPTS_OF, fits, script_of


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Red fox", "Latin"),
        ("Straße", "Latin"),
        ("ﬁn", "Latin"),
        ("Ｆｏｘ", "Latin"),
        ("лиса fox", "Cyrillic"),
        ("αλεπού", "Greek"),
        ("ثعلب", "Arabic"),
        ("שועל", "Hebrew"),
        ("लोमड़ी", "Devanagari"),
        ("শিয়াল", "Bengali"),
        ("จิ้งจอก", "Thai"),
        ("狐狸", "Han"),
        ("きつね", "kana"),
        ("ｷﾂﾈ", "kana"),
        ("여우", "Hangul"),
        ("ադուես", "other"),
        ("მელა", "other"),
        ("2024 🦊", None),
        ("", None),
    ],
)
def test_the_script_is_that_of_most_letters(text, script) -> None:
    assert script_of(text) == script


def test_every_letter_of_a_script_is_taken_for_one_of_it() -> None:
    """Of the scripts that a language is held to, by the names that Unicode gives their letters."""
    named = {"CJK": "Han", "HIRAGANA": "kana", "KATAKANA": "kana"} | {
        script.upper(): script for scripts in SCRIPTS_OF.values() for script in scripts
    }
    strangers = {"LATIN": (0x2C60, 0xA720, 0x10780, 0x1DF00), "CYRILLIC": (0x1C80, 0x2DE0, 0xA640, 0x1E030)}
    for code in range(0x30000):
        name = unicodedata.name(chr(code), "?").split()[0]
        if chr(code).isalpha() and name in named and code < 0xFF00 and script_of(chr(code)) != named[name]:
            rare = any(start <= code < start + 0x100 for start in strangers.get(name, ()))
            assert rare or script_of(chr(code)) == "other", hex(code)


def test_every_language_of_langdetect_has_its_scripts() -> None:
    assert set(reference.factory().get_lang_list()) <= set(SCRIPTS_OF)
    assert fits("hy", "other")  # a language of the other detector is held to none


def test_an_answer_in_a_foreign_script_is_undetermined_and_stays_a_guess_t7() -> None:
    """T7: Chinese taken for Korean, Armenian taken for Estonian."""
    chinese, armenian = languages(["第二十三條", "Կարմիր աղվեսը քնում է ձյան մեջ"], Config())
    assert (chinese.lang, armenian.lang) == ("und", "und")
    assert (chinese.lang_guess, armenian.lang_guess) == ("ko", "et")


@pytest.mark.parametrize(
    ("text", "lang"), [("Λευκό", "el"), ("ثعلب احمر", "ar"), ("सेब", "und"), ("赤い狐の写真", "ja"), ("лиса", "und")]
)
def test_each_script_has_its_fewest_letters_t7(text, lang) -> None:
    """T7"""
    batch = pa.record_batch({"alt_text": [text]})
    assert measure_batch(batch, Config()).to_pylist()[0]["lang"] == lang
