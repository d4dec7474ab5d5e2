"""Lists of queries: what is read, what is refused, and how one is built of WordNet, texts, titles and numbers."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkout import ROOT

from pipeline.balance.build import Origin, Thresholds, build_queries, by_origin, counted_ngrams, read_titles
from pipeline.balance.entries import read_queries, write_queries
from pipeline.balance.wordnet import read_lemmas
from pipeline.core.errors import InputError
from schemas.queries import QUERIES

PAIRMILL = [sys.executable, "-m", "jobs.cli", "queries", "build"]

LICENCE = "  1 This software and database is being provided to you, the LICENSEE, by  \n  2 Princeton University  \n"
INDEX = {
    "noun": "dog n 7 5 @ ~ #m #p %p 7 1 02084071 10114209\nred_fox n 1 3 @ ~ #m 1 0 02119789\nu.s. n 1 1 @ 1 1 09044862\n",
    "verb": "dog v 1 2 @ > 1 0 02001858\nrun v 2 1 @ 2 1 01926311 02075462\n",
    "adj": "red a 1 1 & 1 1 00381097\n.22-caliber a 1 1 \\ 1 0 03146311\n",
    "adv": "at_first r 1 0 1 1 00063277\n",
}
TEXTS = ["A red fox in New York", "red fox, red dog; New York 2024", "new york new  york", "赤い狐と赤い犬", ""]


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    """A folder in WordNet's format, with seven lemmas."""
    folder = tmp_path / "dict"
    folder.mkdir()
    for part, lines in INDEX.items():
        (folder / f"index.{part}").write_text(LICENCE + lines)
    return folder


def parquet(entries: pa.Array) -> bytes:
    """A Parquet file with this column ``entry``."""
    stream = io.BytesIO()
    pq.write_table(pa.table({"entry": entries}), stream)
    return stream.getvalue()


def entries_of(table: pa.Table) -> dict[str, dict]:
    return {row["entry"]: row for row in table.to_pylist()}


def test_lemmas_are_read_without_the_licence(wordnet: Path) -> None:
    assert read_lemmas(wordnet) == [".22-caliber", "at first", "dog", "red", "red fox", "run", "u.s."]
    (wordnet / "index.adv").unlink()
    with pytest.raises(InputError, match=r"resource_missing: --wordnet: .*index\.adv: No such file"):
        read_lemmas(wordnet)


def test_words_and_neighbours_are_counted_as_captions_are_cut() -> None:
    counted = {(row["kind"], row["entry"]): row["count"] for row in counted_ngrams(TEXTS).to_pylist()}
    assert counted["word", "red"] == 3
    assert counted["pair", "red fox"] == 2
    assert counted["pair", "new york"] == 4
    assert counted["pair", "york 2024"] == 1
    assert ("pair", "fox red") not in counted  # a comma stands between them
    assert counted["pair", "赤い"] == 2
    assert counted["letter", "赤"] == 2
    assert counted["all", ""] == 6 + 7 + 4 + 7


def test_an_entry_names_all_its_origins_and_its_counts(spark, wordnet: Path, tmp_path: Path) -> None:
    texts = spark.createDataFrame([(text,) for text in TEXTS], "text string").repartition(3)
    table = build_queries(read_lemmas(wordnet), True, texts, ["Red Fox", "Grand Canyon"], Thresholds(2, 1.0))
    found = entries_of(table)
    assert list(found) == sorted(found)
    assert found["red fox"]["origin"] == ["wordnet", "bigram", "title"]
    assert found["red fox"]["pmi"] == round(math.log2(2 * 24 / (3 * 2)), 4)
    assert found["red"] == {"entry": "red", "origin": ["wordnet", "unigram"], "count": 3, "pmi": None}
    assert found["new york"]["origin"] == ["bigram"]
    assert (found["new york"]["count"], found["grand canyon"]["origin"]) == (4, ["title"])
    assert found["赤い"]["origin"] == ["bigram"]
    assert "in" not in found  # once
    assert found["7"]["origin"] == ["number"]
    assert dict(by_origin(table)) == {"wordnet": 7, "number": 100, "unigram": 4, "bigram": 3, "title": 2}
    for name in ("list.parquet", "again.parquet", "list.tsv"):
        write_queries(tmp_path / name, table)
    assert (tmp_path / "list.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    assert read_queries(str(tmp_path / "list.tsv")) == read_queries(str(tmp_path / "list.parquet"))


def test_the_limit_cuts_by_order_of_origins_and_by_rank(wordnet: Path) -> None:
    table = build_queries(["owl", "red fox"], True, None, ["a title", "red fox"], Thresholds(limit=50))
    found = entries_of(table)
    assert len(found) == 50
    assert {"owl", "0", "47"} <= found.keys()
    assert not {"48", "a title"} & found.keys()
    assert found["red fox"]["origin"] == [Origin.WORDNET, Origin.TITLE]  # what is in the list learns of further origins


def test_titles_are_taken_by_views(tmp_path: Path) -> None:
    path = tmp_path / "titles.tsv"
    path.write_text("Eiffel_Tower\t900\nSeldom Seen\t69\nGrand Canyon\t70\nNo views\n")
    assert read_titles(path, 70) == ["No views", "Eiffel Tower", "Grand Canyon"]
    path.write_text("Eiffel Tower\tmany\n")
    with pytest.raises(InputError, match="line 1: 'many' is not a number of views"):
        read_titles(path, 70)


def test_titles_begin_after_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "titles.tsv"
    path.write_bytes(b"\xef\xbb\xbfEiffel Tower\n")
    assert read_titles(path, 70) == ["Eiffel Tower"]


@pytest.mark.parametrize("views", ["9" * 5000, "-1", "1_000", "1.5", ""])
def test_views_that_are_no_number_are_named_by_line(tmp_path: Path, views: str) -> None:
    path = tmp_path / "titles.tsv"
    path.write_text(f"Grand Canyon\t70\nEiffel Tower\t{views}\n")
    with pytest.raises(InputError, match=r"resource_missing: --titles .*, line 2: '.{0,40}' is not a number of views$"):
        read_titles(path, 70)


@pytest.mark.parametrize("name", ["list.parquet", "list.tsv", "list.json"])
def test_a_list_is_its_folded_entries_in_any_format_and_order(tmp_path: Path, name: str) -> None:
    path, entries = tmp_path / name, ["Red  Fox", "owl", "red-fox", "", "Ünïcode", '"quoted"', "null"]
    if name.endswith("parquet"):
        pq.write_table(pa.table({"other": range(8), "entry": [*entries, None]}), path)
    else:
        path.write_text(json.dumps(entries[::-1]) if name.endswith("json") else "\n".join(["entry", *entries]) + "\n")
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as editors on Windows do
    read = read_queries(str(path))
    assert read.entries == ('"quoted"', "null", "owl", "red fox", "ünïcode")
    twin = tmp_path / "twin.json"
    twin.write_text(json.dumps(sorted(read.entries, reverse=True)))
    assert read_queries(str(twin)).digest == read.digest


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("absent.tsv", None, "No such file"),
        ("latin1.tsv", "entry\ncafé\n".encode("latin-1"), "cannot be read"),
        ("latin1.json", '["café"]'.encode("latin-1"), "cannot be read"),
        ("header.tsv", b"entry\n", "has no entries"),
        ("empty.tsv", b"", "cannot be read"),
        ("spaces.json", b'[" "]', "has no entries"),
        ("other.tsv", b"word\nfox\n", "cannot be read"),
        ("object.json", b'{"fox": 1}', "is not a JSON list of texts"),
        ("cut.parquet", b"PAR1", "cannot be read"),
        ("lists.parquet", parquet(pa.array([["fox"]])), "cannot be read"),
        ("structs.parquet", parquet(pa.array([{"fox": 1}])), "cannot be read"),
        ("latin1.parquet", parquet(pa.array(["café".encode("latin-1")])), "cannot be read"),
        ("deep.json", b"[" * 100_000, "cannot be read"),
        ("surrogate.json", b'["\\ud800 a"]', "surrogates not allowed"),
        ("list.txt", b"fox\n", r"ends in \.txt"),
    ],
)
def test_a_list_that_cannot_be_used_is_named_t16(tmp_path: Path, name: str, data: bytes | None, what: str) -> None:
    """T16: missing, not UTF-8, empty, of another form: one line, exit code 2."""
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=what) as caught:
        read_queries(str(path))
    assert caught.value.code == "resource_missing"
    assert "\n" not in str(caught.value)


def test_the_command_builds_a_list_without_spark_where_nothing_is_counted(wordnet: Path, tmp_path: Path) -> None:
    output = tmp_path / "list.parquet"
    command = [*PAIRMILL, "--wordnet", str(wordnet), "--numbers", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"107 entries in {output}"
    assert pq.read_schema(output).equals(QUERIES)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--numbers", "--output", "list.txt"],
            "config_invalid: --output list.txt: the name must end in .parquet or .tsv",
        ),
        (["--output", "list.tsv"], "config_invalid: no source: give --wordnet, --texts, --run, --titles or --numbers"),
        (["--texts", "nosuch", "--output", "list.tsv"], "resource_missing: --texts nosuch does not exist"),
        (
            ["--numbers", "--output", "nosuch/list.tsv"],
            "output_unwritable: --output nosuch/list.tsv: the folder nosuch does not exist",
        ),
    ],
)
def test_a_command_that_cannot_work_is_one_line(tmp_path: Path, arguments: list[str], line: str) -> None:
    done = subprocess.run(
        [*PAIRMILL, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (2, f"pairmill: error: {line}\n")
