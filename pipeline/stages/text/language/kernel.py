"""langdetect's algorithm over a batch of texts, for numba.

A text becomes a bag of n-grams (one to three characters, those that occur in any profile). Then come seven walks. Each
starts with all languages equal, draws n-grams from the bag, multiplies in how frequent each is in every language, and
ends when one language has nearly all the probability or after 1,000 draws. The answer is the mean of the seven ends.

To give exactly langdetect's bits, every sum and product here is done in langdetect's order, sums from left to right as
Python did up to 3.11 (from 3.12 on ``sum`` compensates rounding, and langdetect's own last bits change with it).
Nothing may be reordered or contracted: no fastmath.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from langdetect.detector import Detector

from pipeline.core.compiled import inlined
from pipeline.stages.text.language.stream import OUTPUTS_OF_GAUSS, TRIALS, Stream
from pipeline.stages.text.language.tables import (
    BUCKET_BITS,
    CHARACTER_BITS,
    HASH,
    LANGUAGES,
    LONGEST_TEXT,
    WIDTH,
    Alphabet,
    Profiles,
)

NONE = -1

LEAST_PROBABILITY = Detector.PROB_THRESHOLD
CONVERGED = Detector.CONV_THRESHOLD
MOST_ITERATIONS = Detector.ITERATION_LIMIT
DRAWS_BETWEEN_CHECKS = 5

SPACE = np.uint64(ord(" "))
FIRST_LATIN, LAST_LATIN, FIRST_OTHER = ord("A"), ord("z"), 0x300
ONE, TWO, THREE = (np.uint64(n * CHARACTER_BITS) for n in (1, 2, 3))
MULTIPLIER, TOP_BITS = np.uint64(HASH), np.uint64(64 - BUCKET_BITS)
BIT = np.uint64(1)


@inlined
def row_of(ngram: np.uint64, profiles: Profiles) -> int:
    """The row of an n-gram, or NONE if no language has it."""
    bucket = np.int64(ngram * MULTIPLIER >> TOP_BITS)
    for row in range(profiles.buckets[bucket], profiles.buckets[bucket + 1]):
        if profiles.ngrams[row] == ngram:
            return row
    return NONE


@inlined
def is_mostly_other_script(text: npt.NDArray[np.uint32]) -> bool:
    """Whether other scripts outnumber the Latin letters two to one; langdetect then skips those letters."""
    latin = other = 0
    for character in text:
        if FIRST_LATIN <= character <= LAST_LATIN:
            latin += 1
        elif character >= FIRST_OTHER:
            other += 1
    return 2 * latin < other


@inlined
def extract(text: npt.NDArray[np.uint32], alphabet: Alphabet, profiles: Profiles, rows: npt.NDArray[np.uint32]) -> int:
    """Write the rows of all n-grams of ``text`` into ``rows``; returns their number.

    langdetect takes a word as an abbreviation from its second capital letter in a row on: no n-gram ends there.
    """
    skips_latin = is_mostly_other_script(text)
    count = 0
    gram = SPACE  # the last one to three characters
    in_capitals = False
    for raw in text:
        if skips_latin and FIRST_LATIN <= raw <= LAST_LATIN:
            continue
        character = np.uint64(alphabet.normal[raw])
        last = gram & ((BIT << ONE) - BIT)
        if last == SPACE:
            gram = SPACE
            in_capitals = False
            if character == SPACE:
                continue
        gram = (gram << ONE | character) & ((BIT << THREE) - BIT)
        in_capitals = alphabet.capital[character] and (in_capitals or alphabet.capital[last])
        if in_capitals:
            continue
        for bits in (ONE, TWO, THREE):
            if gram >> (bits - ONE) == 0:  # there are not so many characters yet
                break
            row = row_of(gram & ((BIT << bits) - BIT), profiles)
            if row != NONE:
                rows[count] = row
                count += 1
    return count


@inlined
def draw(
    rows: npt.NDArray[np.uint32], outputs: npt.NDArray[np.uint32], place: int, shift: np.uint32
) -> tuple[np.uint32, int]:
    """One of ``rows``, and the next place in the stream: Random.choice."""
    while outputs[place] >> shift >= np.uint32(len(rows)):
        place += 1
    return rows[outputs[place] >> shift], place + 1


@inlined
def walk(
    rows: npt.NDArray[np.uint32],
    frequencies: npt.NDArray[np.float64],
    weight: float,
    outputs: npt.NDArray[np.uint32],
    place: int,
    probability: npt.NDArray[np.float64],
) -> int:
    """One trial: writes its end to ``probability`` (WIDTH); returns the next place in the stream."""
    shift = np.uint32(32)
    while len(rows) >> (np.uint32(32) - shift):
        shift -= np.uint32(1)
    probability[:LANGUAGES] = 1.0 / LANGUAGES
    row, place = draw(rows, outputs, place, shift)
    for language in range(WIDTH):
        probability[language] *= weight + frequencies[row, language]
    for iteration in range(0, MOST_ITERATIONS + 1, DRAWS_BETWEEN_CHECKS):
        if iteration:
            a, place = draw(rows, outputs, place, shift)
            b, place = draw(rows, outputs, place, shift)
            c, place = draw(rows, outputs, place, shift)
            d, place = draw(rows, outputs, place, shift)
            e, place = draw(rows, outputs, place, shift)
            for language in range(WIDTH):
                probability[language] = (
                    probability[language]
                    * (weight + frequencies[a, language])
                    * (weight + frequencies[b, language])
                    * (weight + frequencies[c, language])
                    * (weight + frequencies[d, language])
                    * (weight + frequencies[e, language])
                )
        total = 0.0
        for language in range(LANGUAGES):
            total += probability[language]
        converged = False
        for language in range(WIDTH):
            probability[language] /= total
            converged |= probability[language] > CONVERGED
        if converged:
            break
    return place


@inlined
def mean_of_walks(
    rows: npt.NDArray[np.uint32],
    frequencies: npt.NDArray[np.float64],
    stream: Stream,
    probability: npt.NDArray[np.float64],
    mean: npt.NDArray[np.float64],
) -> None:
    """Write the mean probabilities of all languages to ``mean`` (WIDTH); ``probability`` is scratch."""
    mean[:] = 0.0
    place = 0
    next_weight = 0.0
    for trial in range(TRIALS):
        if trial % 2 == 0:
            weight, next_weight = stream.weights[place]
            place += OUTPUTS_OF_GAUSS
        else:
            weight = next_weight
        place = walk(rows, frequencies, weight, stream.outputs, place, probability)
        for language in range(WIDTH):
            mean[language] += probability[language] / TRIALS


def detect_batch(
    characters: npt.NDArray[np.uint32],
    ends: npt.NDArray[np.int64],
    alphabet: Alphabet,
    profiles: Profiles,
    stream: Stream,
    found: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
) -> None:
    """Judge T texts, stored one after another in ``characters`` (uint32); each ends at its place in ``ends`` (T).

    Writes the column of each text's language, or NONE, to ``found`` and its probability to ``probabilities``. No text
    is longer than LONGEST_TEXT.
    """
    rows = np.empty(3 * LONGEST_TEXT, np.uint32)
    probability, mean = np.zeros(WIDTH), np.zeros(WIDTH)
    begin = 0
    for text, end in enumerate(ends):
        found[text], probabilities[text] = NONE, 0.0
        count = extract(characters[begin:end], alphabet, profiles, rows)
        begin = end
        if count == 0:
            continue
        mean_of_walks(rows[:count], profiles.frequencies, stream, probability, mean)
        highest = LEAST_PROBABILITY
        for language in range(LANGUAGES):
            if mean[language] > highest:
                highest = mean[language]
                found[text], probabilities[text] = language, highest
