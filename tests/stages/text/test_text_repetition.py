"""A caption that repeats itself, lists keywords or draws; and honest ones, which do none of it."""

import gzip

import pytest

from pipeline.stages.text.config import Config
from pipeline.stages.text.repetition import Repetition, repetition_of


def repeats(caption: str) -> bool:
    """Whether a default rule would drop it."""
    found, config = repetition_of(caption), Config()
    return (
        found.top_word_share > config.max_word_share
        or found.repeated_share > config.max_repeated_share
        or found.symbol_share > config.max_symbol_share
        or found.keywords > config.max_keywords
    )


KEYWORDS = "mug, cup, gift, tea, coffee, kitchen, red, blue, handmade, ceramic, cute, cheap, best, sale, new, usa, shop"


@pytest.mark.parametrize(
    "caption",
    [
        "cheap cheap cheap shoes shoes buy",
        "dodge magnum car dodge magnum photos magnum cars dodge magnum tuning",
        "Flip arrows vector icon. Flip arrows icon symbol. Flip arrows icon image. Flip arrows icon pictogram.",
        KEYWORDS,
        KEYWORDS.replace(", ", ","),
        "HMS Warrior (jane) Tags: " + KEYWORDS.replace(",", ""),
        "、".join(["赤い", "狐", "雪", "冬", "森", "朝", "動物", "写真", "自然", "北海道", "野生", "可愛い", "癒し"]),
        "，".join(["赤い", "狐", "雪", "冬", "森", "朝", "動物", "写真", "自然", "北海道", "野生", "可愛い", "癒し"]),
        "-=[ ]=- /\\_/\\ ( o.o ) > ^ < *** ~~~ !!!",
        "★" + "=" * 40 + "★",
    ],
)
def test_repetition_lists_and_drawings_are_seen_t12(caption) -> None:
    """T12"""
    assert repeats(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "A man in a hat on a horse in a field of grass by a lake",
        "A man standing on a cliff",
        "Love Comes Softly (Love Comes Softly, #1)",
        "New York, New York",
        "Price Tags: a red shop window with many small things that nobody has ever wanted to buy",
        "Duran Duran live",
        "dress",
        "",
        "the the the the the the the the",
        "Red, white and blue flag, waving in front of a house, under a grey sky, on a windy day",
        "赤い狐が雪の中で眠っている",
        "लाल लोमड़ी बर्फ में सो रही है",
        "🦊❄🎉🎉🎉",
        "“Hello?” (he said) — “no!”",
    ],
)
def test_honest_captions_are_none_of_it_t12(caption) -> None:
    """T12"""
    assert not repeats(caption)


def test_the_numbers_are_what_their_names_say() -> None:
    assert repetition_of("cheap cheap cheap shoes shoes buy") == Repetition(0.5, 0.0, 0.0, 0)
    assert repetition_of("boats ships boats ships boats trains planes cars") == Repetition(3 / 8, 3 / 8, 0.0, 0)
    assert repetition_of("a, b, c").keywords == 3
    assert repetition_of("!?a ").symbol_share == 0.5


def test_none_of_13000_human_captions_repeats_itself(shared_data) -> None:
    """T12: Flickr8k, every fifth of its captions in six languages."""
    with gzip.open(shared_data / "flickr8k-captions.tsv.gz", "rt", encoding="utf-8") as lines:
        captions = [line.rstrip("\n").split("\t")[2] for line in list(lines)[1::5]]
    assert len(captions) > 13_000
    assert [caption for caption in captions if repeats(caption)] == []
