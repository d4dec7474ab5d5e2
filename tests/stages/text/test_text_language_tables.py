"""What the kernel is given: the profiles, the alphabet and the random numbers of langdetect."""

from __future__ import annotations

import os
from random import Random

import numpy as np
import pytest
from langdetect.detector_factory import PROFILES_DIRECTORY
from langdetect.utils.ngram import NGram

from pipeline.stages.text.language import reference
from pipeline.stages.text.language.stream import MOST_DRAWS, TRIALS, Stream
from pipeline.stages.text.language.tables import CHARACTER_BITS, LANGUAGES, Alphabet, Profiles


@pytest.fixture(scope="module")
def stream() -> Stream:
    return Stream.of_seed(0)


def test_profiles_are_loaded_in_the_order_of_their_names():
    """T5"""
    names, _ = Profiles.of_langdetect()
    assert names == sorted(name for name in os.listdir(PROFILES_DIRECTORY) if name[0] != ".")
    assert names == reference.factory().get_lang_list()


def test_every_ngram_has_langdetects_frequencies():
    _, profiles = Profiles.of_langdetect()
    theirs = reference.factory().word_lang_prob_map
    ngrams = [
        "".join(chr(code) for code in codes if code)
        for codes in zip(
            *(
                (profiles.ngrams >> np.uint64(before * CHARACTER_BITS) & np.uint64(2**CHARACTER_BITS - 1)).tolist()
                for before in (2, 1, 0)
            ),
            strict=True,
        )
    ]
    assert len(ngrams) == len(theirs)
    assert all(
        row[:LANGUAGES] == theirs[ngram] and row[LANGUAGES:] == [0.0]
        for ngram, row in zip(ngrams, profiles.frequencies.tolist(), strict=True)
    )


def test_beyond_what_is_asked_for_langdetect_changes_no_character_and_nothing_is_a_capital():
    alphabet = Alphabet.of_langdetect()
    beyond = range(0x10000, 0x110000)
    assert all(NGram.normalize(chr(code)) == chr(code) for code in beyond[::7])
    assert alphabet.normal[beyond].tolist() == list(beyond)
    assert alphabet.capital.tolist() == [chr(code).isupper() for code in range(0x110000)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 64, 65, 127, 128, 1000, 16384, 16385, 29_998])
def test_the_stream_gives_what_random_gives_and_lasts_for_the_longest_text(stream, count):
    random, place, bits = Random(0), 0, count.bit_length()
    outputs, weights = stream.outputs.tolist(), stream.weights.tolist()
    later = 0.0
    for trial in range(TRIALS):
        expected = (0.5 + random.gauss(0.0, 1.0) * 0.05) / 10000
        if trial % 2 == 0:
            weight, later = weights[place]
            place += 4
        else:
            weight = later
        assert weight == expected
        for _ in range(MOST_DRAWS):
            drawn = outputs[place] >> 32 - bits
            place += 1
            while drawn >= count:
                drawn = outputs[place] >> 32 - bits
                place += 1
            assert drawn == random.choice(range(count))
    assert place <= len(outputs)
