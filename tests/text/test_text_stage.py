"""The text stage on Spark: what is united over the rows that entered, and the one verdict of a pair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import funnel
from pipeline.core.progress import Reporter
from pipeline.core.settings import load_config

PAGES = {
    "http://a.test/one": '<html lang="en"><meta name="robots" content="noai"><img src="/owned.jpg">'
    '<img src="/logo.png" alt="A red fox in the snow at dawn"></html>',
    "http://a.test/two": '<html lang="en"><img src="/owned.jpg" alt="A lighthouse above a stormy sea">'
    '<img src="/free.jpg" alt="A wooden boat on a quiet lake"></html>',
    "http://a.test/three": '<html lang="en"><img src="/%66ree.jpg" alt="A wooden boat on a quiet lake">'
    '<img src="/other.jpg" alt="A wooden boat on a quiet lake"></html>',
}


FREE = {"free.jpg", "%66ree.jpg"}  # two spellings of one URL


@pytest.fixture(scope="module")
def run(spark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("html")
    names = {url: f"{number}.html" for number, url in enumerate(PAGES)}
    for url, html in PAGES.items():
        (folder / names[url]).write_text(html)
    (folder / "index.tsv").write_text("name\turl\n" + "".join(f"{name}\t{url}\n" for url, name in names.items()))
    run_folder: Path = tmp_path_factory.mktemp("run")
    config = load_config(funnel.Config, sets=[f"extract.inputs={json.dumps([str(folder)])}"])
    opened = funnel.open_run(str(run_folder), config, Reporter(quiet=True))
    funnel.build(opened, until="text")
    return opened


@pytest.fixture(scope="module")
def judged(run) -> dict[tuple[str, str], dict]:
    """By page and place of the image in the page."""
    return {(row["page_url"], row["image_url"].rsplit("/", 1)[1]): row.asDict() for row in run.judged("text").collect()}


def test_an_opt_out_counts_on_every_page_that_shows_the_image_even_without_a_text_o4_o12(judged) -> None:
    """O4, O12: page one has the image without alt; the pair of page two is dropped all the same."""
    assert judged["http://a.test/two", "owned.jpg"]["_reason"] == "optout_meta"
    assert judged["http://a.test/one", "logo.png"]["_reason"] == "optout_meta"
    assert judged["http://a.test/three", "other.jpg"]["_reason"] is None


def test_one_pair_on_two_pages_is_kept_once_by_the_smallest_page_url(judged) -> None:
    pages = {page: row for (page, name), row in judged.items() if name in FREE}
    assert {row["pair_pages"] for row in pages.values()} == {2}
    assert {page: row["_reason"] for page, row in pages.items()} == {
        "http://a.test/three": None,
        "http://a.test/two": "duplicate_pair",
    }


def test_the_url_asked_for_is_the_smallest_raw_url_of_all_that_entered(judged) -> None:
    requests = {row["request_url"] for (_, name), row in judged.items() if name in FREE}
    assert requests == {"http://a.test/%66ree.jpg"}


def test_a_caption_counts_the_images_beside_it_t13(judged) -> None:
    """T13: a measured count, over the rows that entered."""
    counts = {row["caption_images"] for row in judged.values() if row["caption"].startswith("A wooden boat")}
    assert counts == {2}


def test_the_raw_text_goes_no_further_than_extract(run) -> None:
    assert "alt_text" in run.schema("extract").names
    for stage in list(run.stages)[2:]:
        assert "alt_text" not in run.schema(stage).names
