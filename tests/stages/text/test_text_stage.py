"""The text stage on Spark: what is united over the rows that entered, and the one verdict of a pair."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import funnel
from pipeline.core.config_files import load_config
from pipeline.core.errors import InputError
from pipeline.core.progress import Reporter
from pipeline.core.rules import verdicts
from pipeline.core.stage import rows_schema
from pipeline.stages.text.stage import Config, Text

PAGES = {
    "http://a.test/one": '<html lang="en"><meta name="robots" content="noai"><img src="/owned.jpg">'
    '<img src="/logo.png" alt="A red fox in the snow at dawn"></html>',
    "http://a.test/two": '<html lang="en"><img src="/owned.jpg" alt="A lighthouse above a stormy sea">'
    '<img src="/free.jpg" alt="A wooden boat on a quiet lake"></html>',
    "http://a.test/three": '<html lang="en"><img src="/%66ree.jpg" alt="A wooden boat on a quiet lake">'
    '<img src="/other.jpg" alt="A wooden boat on a quiet lake">'
    '<img src="http://img.b.test/boat.jpg" alt="A wooden boat on a quiet lake"></html>',
    "http://a.test/four": '<html lang="en"><img src="http://cdn.bad.test/fox.jpg" alt="A red fox in the snow at dawn">'
    '<img src="/blocked.jpg" alt="A white hare in the snow at dusk">'
    '<img src="/hot.jpg" alt="Hardcore porn in the snow at dusk">'
    '<img src="/mail.jpg" alt="A white hare in the snow, prints from jane@example.com">'
    '<img src="/shoes.jpg" alt="cheap cheap cheap shoes shoes buy"></html>',
    "http://a.test/five": '<html lang="en"><img data-src="/large.jpg" src="/small.jpg" alt="A brown bear in a river">'
    '<img data-src="/castle.jpg" src="/owned.jpg" alt="A castle on a hill above the town">'
    '<img data-src="/bridge.jpg" src="/blocked.jpg" alt="A bridge of stone over a stream"></html>',
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
    (folder.parent / "domains.txt").write_text("bad.test\n")
    (folder.parent / "urls.txt").write_text("http://a.test:80/./blocked.jpg\n")
    sets = {
        "extract.inputs": [str(folder)],
        "text.blocked_domains": [str(folder.parent / "domains.txt")],
        "text.blocked_urls": [str(folder.parent / "urls.txt")],
    }
    config = load_config(funnel.Config, sets=[f"{name}={json.dumps(value)}" for name, value in sets.items()])
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


def test_an_alternate_url_that_its_own_owner_or_a_list_forbids_is_not_asked_for_x55(judged) -> None:
    """X55: /owned.jpg is shown on a page that opts out, /blocked.jpg is on the list of blocked URLs."""
    of_page = {name: row["request_alternate"] for (page, name), row in judged.items() if page == "http://a.test/five"}
    assert of_page == {"large.jpg": "http://a.test/small.jpg", "castle.jpg": None, "bridge.jpg": None}


def test_a_caption_counts_the_images_beside_it_t13(judged) -> None:
    """T13: a measured count, over the rows that entered."""
    boats = [row for row in judged.values() if row["caption"].startswith("A wooden boat")]
    assert {row["caption_images"] for row in boats} == {3}
    assert {(row["image_domain"], row["caption_domain_images"]) for row in boats} == {("a.test", 2), ("b.test", 1)}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fox.jpg", "domain_blocked"),
        ("blocked.jpg", "url_blocked"),
        ("hot.jpg", "adult_term"),
        ("shoes.jpg", "text_repetition"),
        ("mail.jpg", None),
    ],
)
def test_what_is_refused_before_any_request(judged, name, reason) -> None:
    """T12 among them."""
    assert judged["http://a.test/four", name]["_reason"] == reason


def test_personal_data_stands_in_no_file_after_extract_t9(run) -> None:
    """T9: kept redacted, and found by no search of the bytes that text wrote."""
    (row,) = run.kept("text").where("image_url like '%mail.jpg'").select("caption", "pii_emails").collect()
    assert tuple(row) == ("A white hare in the snow, prints from <email>", 1)
    folder = Path(run.storage.where("text"))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        text = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else path.read_text("utf-8", "replace")
        assert "jane" not in text, path


@pytest.mark.parametrize(
    ("settings", "row", "reason"),
    [
        ({"pii": "drop"}, {"pii_phones": 1}, "pii"),
        ({}, {"pii_phones": 1}, None),
        ({"max_images_per_domain": 5}, {"caption_domain_images": 6}, "text_repeated"),
        ({"max_images_per_caption": 5}, {"caption_images": 6}, "text_repeated"),
        ({"max_images_per_domain": 0}, {"caption_domain_images": 10**6}, None),
        ({"max_word_share": 0.2}, {"top_word_share": 0.25}, "text_repetition"),
        ({}, {"symbol_share": 0.6}, "text_repetition"),
        ({}, {"repeated_share": 0.5}, "text_repetition"),
        ({}, {"keywords": 13}, "text_repetition"),
        ({"max_keywords": 0}, {"keywords": 1000}, None),
    ],
)
def test_a_setting_decides_what_a_measured_number_means_t9_t12_t13(judged, settings, row, reason) -> None:
    """T9, T12, T13: on a row that is otherwise kept."""
    schema = rows_schema(Text(), funnel.BY_NAME)
    kept = {name: value for name, value in judged["http://a.test/four", "mail.jpg"].items() if name in schema.names}
    table = pa.Table.from_pylist([kept | {"pii_emails": 0} | row], schema=schema)
    (verdict,) = verdicts(table, Text().rules(Config(**settings)))
    assert (verdict.reason if verdict else None) == reason


def test_the_raw_text_goes_no_further_than_extract(run) -> None:
    assert "alt_text" in run.schema("extract").names
    for stage in list(run.stages)[2:]:
        assert "alt_text" not in run.schema(stage).names


def test_what_lists_say_of_a_picture_is_united_over_all_its_rows_f42(spark, tmp_path) -> None:
    """F42: a box of any row is blurred and a sha256 of any row will do, though the row has no text or is equal to
    another one; where the boxes of a row cannot be read, all of its picture is a box."""
    boat, hare = "A wooden boat on a quiet lake", "A white hare in the snow at dusk"
    said = [
        ("1", boat, "ab", [[0.5, 0.5, 1.0, 1.0]]),
        ("1", boat, "cd", None),
        ("1", None, "ef", [[0.0, 0.0, 0.1, 0.1]]),
        ("2", hare, None, None),
        ("3", hare, None, "[["),
        ("3", boat, None, None),
    ]
    lines = [
        json.dumps(
            {"url": f"http://a.test/{name}.jpg", "caption": text, "sha256": digits and digits * 32, "faces": boxes}
        )
        for name, text, digits, boxes in said
    ]
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    sets = [
        f"extract.inputs={json.dumps([str(tmp_path / 'list.jsonl')])}",
        "extract.sha256_column=sha256",
        "extract.boxes_column=faces",
    ]
    opened = funnel.open_run(str(tmp_path / "run"), load_config(funnel.Config, sets=sets), Reporter(quiet=True))
    extract = funnel.build(opened, until="text")[1]
    assert extract.dropped == {"alt_missing": 1, "row_malformed": 1}
    kept = {row.request_url[-5]: (row.image_sha256s, row.image_boxes) for row in opened.kept("text").collect()}
    assert kept == {
        "1": (["ab" * 32, "cd" * 32, "ef" * 32], [0.0, 0.0, 0.1, 0.1, 0.5, 0.5, 1.0, 1.0]),
        "2": (None, None),
        "3": (None, [0.0, 0.0, 1.0, 1.0]),
    }


def test_boxes_of_pages_are_refused_in_one_line(tmp_path) -> None:
    (tmp_path / "a.html").write_text("<p>")
    sets = [f"extract.inputs={json.dumps([str(tmp_path / 'a.html')])}", "extract.boxes_column=faces"]
    opened = funnel.open_run(str(tmp_path / "run"), load_config(funnel.Config, sets=sets), Reporter(quiet=True))
    with pytest.raises(InputError, match=r"extract\.boxes_column names a column, and html has none; leave it empty"):
        funnel.build(opened, until="text")
