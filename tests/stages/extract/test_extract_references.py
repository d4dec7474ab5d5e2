"""Character references are decoded once, by the rule for attributes; html5lib's tokenizer is the second opinion."""

from __future__ import annotations

from html.entities import html5
from random import Random

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.extract.candidates import NO_PAGE, candidate, candidate_without_url
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.references import decoded

URL = "https://img.example/a.jpg"


def by_html5lib(values: list[str]) -> list[str]:
    images = "".join(f'<img alt="{value}">' for value in values)
    return [image.get("alt") for image in html5lib.parseFragment(images, namespaceHTMLElements=False)]


def differences(values: list[str]) -> list[tuple[str, str, str]]:
    read = zip(values, map(decoded, values), by_html5lib(values), strict=True)
    return [(value, ours, theirs) for value, ours, theirs in read if ours != theirs]


def generated(rng: Random) -> str:
    """Words, references whole and cut, right and wrong."""
    names = [
        *rng.sample(sorted(html5), 3),
        "amp",
        "amp;",
        "lt",
        "copy",
        "not",
        "notin;",
        "centre",
        "microfiber",
        "ethnic",
    ]
    numbers = [
        str(rng.choice([0, 9, 10, 38, 127, 128, 129, 150, 159, 160, 0xD800, 0xFFFE, 0x10FFFF, 0x110000, 10**40]))
    ]
    numbers += [
        f"{rng.choice('xX')}{rng.choice([0, 0x26, 0x80, 0x9F, 0xDFFF, 0x1F600]):0{rng.choice([1, 9])}x}",
        "",
        "x",
    ]
    after = ["", "", ";", ";", "=", "a", "1", " ", "é", "&", ";;", "#", "amp;"]
    pieces = ["&" + rng.choice([*names, *(f"#{number}" for number in numbers)]) + rng.choice(after) for _ in range(4)]
    return rng.choice(["", "Q", "garden"]) + rng.choice(["", " "]).join(pieces)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_references_are_read_as_in_an_attribute(seed):
    """X17, X62"""
    rng = Random(seed)
    values = [generated(rng) for _ in range(1_000 if seed == 1 else 20_000)]
    assert differences(values) == []


@pytest.mark.parametrize("step", [10, pytest.param(1, marks=pytest.mark.long)])
def test_every_name_is_known_with_and_without_its_semicolon(step):
    """X62"""
    values = [f"a&{name}{after}" for name in sorted(html5)[::step] for after in ("", ";", "=", "x", " x")]
    assert differences(values) == []


def test_a_page_is_read_by_the_same_rule(page_rows):
    """X17, X62: the parser of pages, once, and nothing after it."""
    rng = Random(3)
    values = [generated(rng) for _ in range(500)]
    rows = page_rows("".join(f'<img src="{URL}" alt="{value}">' for value in values))
    assert [row["alt_text"] for row in rows] == [decoded(value) for value in values]


@given(st.text("&#;xX0123456789amplt=gé ", max_size=30))
def test_any_text_comes_out_and_none_without_an_ampersand_changes(text):
    assert "&" in text or decoded(text) == text
    assert decoded(text.replace("&", "&amp;")) == text


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        ("Home & garden&center with a pond", "Home & garden&center with a pond"),
        ("Cotton&microfiber towel in blue", "Cotton&microfiber towel in blue"),
        ("Boho&ethnic rug on a wooden floor", "Boho&ethnic rug on a wooden floor"),
        ("AT&T store, Q&A, R&D, B&W", "AT&T store, Q&A, R&D, B&W"),
        ("Black&copper lamp, time&times=3, &notin", "Black&copper lamp, time&times=3, &notin"),
        ("Tom &amp; Jerry&#39;s caf&eacute; &#150; &quot;open&quot;", 'Tom & Jerry\'s café – "open"'),
        ("Tom &amp;amp; Jerry, 1 &amp;lt; 2", "Tom &amp; Jerry, 1 &lt; 2"),
        ("&#0; &#xD800; &#x110000;", "\ufffd \ufffd \ufffd"),
        ("Price &pound5, &pound 5", "Price &pound5, £ 5"),
    ],
)
def test_the_text_of_a_list_or_a_tar_is_decoded_once(listed, text):
    """X62"""
    assert candidate(NO_PAGE, None, URL, listed, Config())["alt_text"] == text
    assert candidate_without_url("0" * 64, listed)["alt_text"] == text


def test_a_caption_in_a_list_and_on_a_page_is_one_pair(page_rows):
    """X62"""
    (of_page,) = page_rows(f'<img src="{URL}" alt="Tom &amp; Jerry">')
    listed = [candidate(NO_PAGE, None, URL, text, Config()) for text in ("Tom &amp; Jerry", "Tom & Jerry")]
    assert {row["pair_id"] for row in listed} == {of_page["pair_id"]}
    assert len({row["candidate_id"] for row in listed}) == 2
