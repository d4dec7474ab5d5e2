import itertools
from random import Random

import imagehash
import langdetect
import pytest

from pipeline.core.errors import InputError
from pipeline.smallweb.captions import languages
from pipeline.smallweb.scenes import GROUNDS, LONGEST_SIDE, NEAR_BITS, SHORTEST_SIDE, choose_concepts, draw_scenes

LANGS = list(languages())


@pytest.fixture(scope="module")
def scenes():
    return list(itertools.islice(draw_scenes(choose_concepts(40, LANGS, 0), 0), 60))


def test_concepts_have_a_name_of_their_own_in_every_language():
    concepts = choose_concepts(200, LANGS, 0)
    for lang in LANGS:
        assert len({concept.names[lang].casefold() for concept in concepts}) == 200


def test_the_seed_alone_chooses_concepts_and_scenes(scenes):
    again = list(itertools.islice(draw_scenes(choose_concepts(40, LANGS, 0), 0), 5))
    other = list(itertools.islice(draw_scenes(choose_concepts(40, LANGS, 1), 1), 5))
    assert [scene.data for scene in again] == [scene.data for scene in scenes[:5]]
    assert [scene.data for scene in other] != [scene.data for scene in scenes[:5]]


def test_more_concepts_than_there_are_is_refused_with_both_numbers():
    with pytest.raises(InputError, match=r"config_invalid: 9999 concepts are too many; the demo has \d+"):
        choose_concepts(9999, LANGS, 0)


def test_no_two_scenes_are_near_duplicates_by_the_reference_hash(scenes):
    hashes = [imagehash.phash(scene.decoded()) for scene in scenes]
    assert min(a - b for a, b in itertools.combinations(hashes, 2)) > NEAR_BITS


def test_scenes_have_the_stated_sizes_formats_and_numbers_of_things(scenes):
    assert {scene.format for scene in scenes} == {"jpeg", "png", "webp"}
    assert {len(scene.concepts) for scene in scenes} == {1, 2, 3}
    for scene in scenes:
        assert scene.decoded().size == (scene.width, scene.height)
        assert min(scene.width, scene.height) >= SHORTEST_SIDE
        assert max(scene.width, scene.height) <= LONGEST_SIDE


@pytest.mark.parametrize("lang", LANGS)
def test_captions_name_every_thing_and_are_recognised_as_their_language(scenes, lang):
    language, rng = languages()[lang], Random(0)
    langdetect.DetectorFactory.seed = 0
    captions = [language.caption(scene.things(lang), scene.ground, rng) for scene in scenes]
    for scene, caption in zip(scenes, captions, strict=True):
        assert all(name.casefold() in caption.casefold() for name in scene.things(lang))
    detected = [langdetect.detect(caption).partition("-")[0] for caption in captions]
    assert detected.count(lang) >= 0.95 * len(captions)


@pytest.mark.parametrize("lang", LANGS)
def test_every_language_has_a_word_for_each_ground_and_several_sentence_forms(lang):
    language = languages()[lang]
    assert len(set(language.grounds)) == len(GROUNDS)
    assert len(language.forms) >= 4
