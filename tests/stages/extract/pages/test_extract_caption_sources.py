"""Texts of an image besides its alt: each is a candidate of its own, and only where the settings ask for it."""

from __future__ import annotations

import tarfile

import pytest
from pydantic import ValidationError

from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages.html import candidates_of_page

ALL = ["alt", "figcaption", "title", "aria-label", "enclosing_link", "og"]
PAGE = """<head><meta property="og:title" content="All about bears"><meta property="og:image" content="/share.jpg">
<meta property="og:image:alt" content="A bear on a rock"><meta property="og:image" content="/two.jpg"></head>
<figure><a href=/x title="Go there"><div><img src=/bear.jpg alt="Bear" title="A brown bear" aria-label="Bear in a river">
</div> Read <b>more</b>, now<script>var x</script></a><figcaption>A bear
  <i>fishing</i> , in June<style>i{}</style></figcaption></figure><a href=/y title="To the fox"><img src=/fox.jpg></a>"""


def texts(rows):
    return [
        (row["image_url"].rpartition("/")[2], row["caption_source"], row["alt_text"], row["outcome"]) for row in rows
    ]


def test_each_source_gives_its_own_candidate_x56(page_rows):
    """X56"""
    rows = page_rows(PAGE, caption_sources=ALL)
    assert texts(rows) == [
        ("bear.jpg", "alt", "Bear", "ok"),
        ("bear.jpg", "figcaption", "A bear fishing, in June", "ok"),
        ("bear.jpg", "title", "A brown bear", "ok"),
        ("bear.jpg", "aria-label", "Bear in a river", "ok"),
        ("bear.jpg", "enclosing_link", "Read more, now", "ok"),
        ("fox.jpg", None, None, "alt_missing"),
        ("fox.jpg", "enclosing_link", "To the fox", "ok"),
        ("share.jpg", "og", "A bear on a rock", "ok"),
        ("two.jpg", "og", "All about bears", "ok"),
    ]
    assert len({row["candidate_id"] for row in rows}) == len(rows)
    assert [row["place"] for row in rows] == [0] * 5 + [1] * 2 + [None] * 2


def test_an_image_without_a_text_of_the_chosen_sources_is_one_row_x56(page_rows):
    """X56: nothing is lost silently."""
    assert texts(page_rows(PAGE, caption_sources=["figcaption"])) == [
        ("bear.jpg", "figcaption", "A bear fishing, in June", "ok"),
        ("fox.jpg", None, None, "alt_missing"),
    ]


def test_one_text_in_two_sources_is_two_candidates_of_one_pair_x56(page_rows):
    """X56"""
    first, second = page_rows("<img src=a alt=Boat title=Boat>", caption_sources=["alt", "title"])
    assert first["pair_id"] == second["pair_id"]
    assert first["candidate_id"] != second["candidate_id"]


def test_twins_are_counted_in_every_source_x56(page_rows):
    """X56"""
    html = "<body><img src=a alt=Boat title=T><noscript><img src=a alt=Boat title=T></noscript>"
    assert [row["count"] for row in page_rows(html, caption_sources=["title"])] == [2]


def test_empty_texts_are_no_candidates_x56(page_rows):
    """X56"""
    html = "<figure><a href=x> <img src=a alt=Boat title=' ' aria-label> </a><figcaption>  </figcaption></figure>"
    assert [row["caption_source"] for row in page_rows(html, caption_sources=ALL)] == ["alt"]


def test_alt_alone_gives_the_same_rows_whatever_stands_beside_it_x56(shared_data):
    """X56: further sources add rows and change none."""
    with tarfile.open(shared_data / "html_pages.tar.gz") as tar:
        pages = [tar.extractfile(member).read() for member in list(tar)[1::10]]
    for page in pages:
        alone, more = (
            candidates_of_page(page, "https://site.example/", None, None, (), config)
            for config in (Config(), Config(caption_sources=ALL))
        )
        assert [row for row in more if row["caption_source"] in ("alt", None)] == alone


@pytest.mark.parametrize("value", [[], ["caption"], "alt"])
def test_an_unknown_source_is_refused_x56(value):
    """X56"""
    with pytest.raises(ValidationError):
        Config(caption_sources=value)
