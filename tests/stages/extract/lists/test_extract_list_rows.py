"""Rows of URL lists: the short way of plain URLs against the way of any image, and the tables of a stage."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from url_list import listed

from pipeline.stages.extract.candidates import NO_PAGE, candidate
from pipeline.stages.extract.config import Columns, Config
from pipeline.stages.extract.lists import url_lists
from pipeline.stages.extract.lists.url_lists import LIST_COLUMNS
from pipeline.stages.extract.sources.inputs import find_inputs
from pipeline.stages.extract.split_rows import extract_split, extract_tables
from pipeline.stages.extract.stage import _each_candidate_once, _merged
from schemas.extract import ADDS

CONFIG = Config(max_url_bytes=200)
COLUMNS = Columns("url", "caption")
PIECES = [
    *"aZ09-_.~/?#&=%+ |'\"<>[]{}^`\\;:@!$()*,\u00e9\u4e2d\U0001f600",
    *("%41", "%2F", "%2f", "%7E", "%20", "%zz", "%E4%B8", "..", "/./", "/../", "/.", "//", "xn--", "www.", ".com/"),
    *("?utm_source=x", "&utm_source=x", "&fbclid=1", "?a=b", ":80", ":8080", "@", "1.2.3.4", "0x7f", "a" * 64, "-."),
]
URLS = st.builds(
    lambda scheme, host, rest: f"{scheme}{host}{''.join(rest)}",
    st.sampled_from(["http://", "https://", "https://", "http://", "HTTP://", "ftp://", "//", "", "http:", "data:"]),
    st.sampled_from(
        [
            "i.example/",
            "a.example/",
            "b.example/",
            "a-b.i.example/",
            "I.example/",
            "i.example",
            "i..example/",
            "1.2.3/",
            "xn--a.b/",
            "a_b.c/",
        ]
    ),
    st.lists(st.one_of(st.sampled_from(["a", "/b", "?c=d", "%20", ".jpg"]), st.sampled_from(PIECES)), max_size=6),
)
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", " ", "nan", " None", "\ufffd", "a\ufffd", "e\u0301", "\u1e9b\u0323"]),
    st.sampled_from(["caf\u00c3\u00a9", "\u00ca\u00f0\u00e0\u00f1\u00ed\u00e0\u00ff", "caf\u00c3&copy;"]),
)


@settings(max_examples=1000, deadline=None)
@given(URLS, TEXTS)
def test_a_plain_url_has_the_row_of_any_image(url, text):
    quick = url_lists._plain({"url": url, "caption": text}, COLUMNS, CONFIG.max_url_bytes)
    if quick is not None:
        slow = candidate(NO_PAGE, None, url, text, CONFIG)
        assert dict(zip(LIST_COLUMNS, quick, strict=True)) == {name: slow[name] for name in LIST_COLUMNS} | {
            "page_optouts": ()
        }
        assert all(slow[name] is None for name in ADDS.names if name not in LIST_COLUMNS)


def test_a_text_in_the_wrong_charset_is_none_in_a_list_too_x51(tmp_path):
    texts = [
        "caf\u00c3\u00a9 au lait",
        "\u00ca\u00f0\u00e0\u00f1\u00ed\u00e0\u00ff",
        "caf\u00c3&copy; au lait",
        "caf\u00e9",
    ]
    found = listed(tmp_path / "a.csv", "url,caption\n" + "".join(f"https://i.example/1.jpg,{text}\n" for text in texts))
    assert [row["outcome"] for row in found] == ["text_undecodable"] * 3 + ["ok"]


def test_nearly_all_real_rows_are_plain_and_have_the_row_of_any_image(shared_data):
    rows = pq.read_table(shared_data / "laion_urls_10k.parquet", columns=["url", "caption"]).to_pylist()
    found = listed(shared_data / "laion_urls_10k.parquet")
    assert found == [candidate(NO_PAGE, None, row["url"], row["caption"], Config()) for row in rows]
    plain = [url_lists._plain(row, COLUMNS, 4096) for row in rows]
    assert sum(row is not None for row in plain) > 0.98 * len(rows)


def test_tables_have_the_rows_of_every_kind(tmp_path):
    values = [
        {"url": f"https://i.example/{number}.jpg", "caption": caption, "sha256": "ab" * 32, "faces": [[0, 0, 1, 1]]}
        for number in range(3000)
        for caption in ("a cat", None, "", ["one text", "another"], 5)
    ]
    values += [
        {"url": "https://i.example/é.jpg", "caption": "x", "sha256": sha, "faces": []} for sha in (None, "cd", 5)
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([*map(json.dumps, values), "{"]))
    (split,) = find_inputs([str(path)], "auto", Columns(sha256="sha256", boxes="faces"))
    rows = [row for some in extract_split(split, Config()) for row in some]
    tables = list(extract_tables(split, Config()))
    assert len(rows) == 3000 * 6 + 4
    assert {table.schema for table in tables} == {ADDS}
    assert pa.concat_tables(tables).to_pylist() == rows
    pa.concat_tables(tables).validate(full=True)


@pytest.mark.parametrize("most", [0, 100_000])
def test_candidates_that_are_there_once_are_not_merged_and_the_others_are_as_before(spark, tmp_path, monkeypatch, most):
    lines = [
        {"url": f"https://i.example/{n % 40}.jpg", "caption": f"text {n % 30}", "sha256": f"{n % 7:064x}"}
        for n in range(150)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (split,) = find_inputs([str(tmp_path / "a.jsonl")], "auto", Columns(sha256="sha256"))
    pq.write_table(pa.concat_tables(extract_tables(split, Config())), tmp_path / "rows.parquet")
    rows = spark.read.parquet(str(tmp_path / "rows.parquet"))
    monkeypatch.setattr("pipeline.stages.extract.stage.MOST_REPEATED", most)
    found, expected = (sorted(map(str, frame.collect())) for frame in (_each_candidate_once(rows), _merged(rows)))
    assert found == expected
    assert len(found) == 120
    assert sum(row["count"] for row in _each_candidate_once(rows).collect()) == 150
