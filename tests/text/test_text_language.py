"""Language: langdetect with one truth, each distinct text once."""

import os
import random
import subprocess
import sys
from pathlib import Path

import langdetect
import pytest
from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

from pipeline.text import language

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


def test_answers_are_those_of_langdetect_itself():
    langdetect.DetectorFactory.seed = 0
    ours = language.detect(TEXTS)
    for text, answer in zip(TEXTS, ours, strict=True):
        theirs = langdetect.detect_langs(text)[0]
        assert answer is not None
        assert answer[0] == theirs.lang
        assert answer[1] == pytest.approx(theirs.prob, abs=1e-9)  # theirs loads profiles in another order


def test_the_same_text_has_the_same_answer_in_any_batch_and_order():
    """T5"""
    first = dict(zip(TEXTS, language.detect(TEXTS), strict=True))
    shuffled = TEXTS * 20
    random.Random(1).shuffle(shuffled)
    assert language.detect(shuffled) == [first[text] for text in shuffled]


def test_another_process_gives_the_same_bits():
    """T5"""
    code = "import sys; from pipeline.text.language import detect; print(detect(sys.argv[1:]))"
    other = subprocess.run(
        [sys.executable, "-c", code, *TEXTS], capture_output=True, text=True, check=True, encoding="utf-8",
        cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONUTF8": "1", "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert other.stdout.strip() == repr(language.detect(TEXTS))


def test_profiles_are_loaded_in_the_order_of_their_names():
    """T5"""
    assert language._factory().get_lang_list() == sorted(name for name in os.listdir(PROFILES_DIRECTORY) if name[0] != ".")


@pytest.mark.parametrize("text", ["", "12345", "🦊❄", "https://a.example/b", "!?"])
def test_a_text_without_features_has_no_answer(text):
    """T6"""
    assert language.detect([text, "A red fox in the snow"])[0] is None


def test_a_distinct_text_is_detected_once(monkeypatch):
    created = []
    create = DetectorFactory.create
    monkeypatch.setattr(DetectorFactory, "create", lambda self, alpha=None: created.append(1) or create(self, alpha))
    assert len(set(language.detect(["A red fox in the snow"] * 50))) == 1
    assert len(created) == 1
