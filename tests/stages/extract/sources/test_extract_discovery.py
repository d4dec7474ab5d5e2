"""What folders, wildcards and lists of paths name: every file is read, or left out and counted, or refused."""

from __future__ import annotations

import glob
import gzip
import os
import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.core.errors import InputError
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages.html_files import html_files_in
from pipeline.stages.extract.sources.inputs import find_inputs, look_at
from pipeline.stages.extract.sources.wildcards import as_regex, matches
from pipeline.stages.extract.split_rows import extract_split

PAGE = b'<img src="https://i.example/a.jpg" alt="a cat">'
LIST = b"url,caption\nhttps://i.example/%d.jpg,a cat\n"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Writes files; their folder is the current one."""
    monkeypatch.chdir(tmp_path)

    def make(files: dict[str, bytes]) -> None:
        for name, data in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(data)

    return make


def read(*patterns: str, format: str = "auto", prefix: str = "") -> list[str]:
    return [one.path for one in look_at(patterns, format, prefix=prefix).seen]


def refused(*patterns: str, prefix: str = "") -> str:
    with pytest.raises(InputError) as caught:
        look_at(patterns, "auto", prefix=prefix)
    assert "\n" not in caught.value.text
    return str(caught.value)


def lists(*names: str) -> dict[str, bytes]:
    return {name: LIST % number for number, name in enumerate(names)}


def test_archives_lists_and_pages_of_one_folder_are_all_read_x40(tree, record):
    """X40: a README.html does not turn a folder of archives into one of pages; several formats may be together."""
    pq.write_table(pa.table({"url": ["https://i.example/p.jpg"], "caption": ["x"]}), "p.parquet")
    tree(
        {
            "top/README.html": PAGE,
            "top/a.warc.gz": gzip.compress(record(PAGE)),
            "top/b.csv": LIST % 1,
            "top/more/c.tsv": b"url\tcaption\nhttps://i.example/c.jpg\tx\n",
            "top/more/d.jsonl": b'{"url": "https://i.example/d.jpg", "caption": "x"}\n',
            "top/p.parquet": Path("p.parquet").read_bytes(),
        }
    )
    seen = {one.path: one.container or one.format for one in look_at(["top"], "auto").seen}
    assert seen == {
        "top": "html",
        "top/a.warc.gz": "warc",
        "top/b.csv": "csv",
        "top/more/c.tsv": "tsv",
        "top/more/d.jsonl": "jsonl",
        "top/p.parquet": "parquet",
    }
    rows = [row for split in find_inputs(["top"], "auto") for batch in extract_split(split, Config()) for row in batch]
    assert len(rows) == 6
    with pytest.raises(InputError, match=r"top: has 1 HTML files \(top/README.html\), but extract.format is warc$"):
        look_at(["top"], "warc")


@pytest.mark.parametrize("pattern", ["top", "top/", "./top", "top/**", "top/*", "top/**/*.csv", "**/*.csv", "~/top"])
def test_folders_below_a_folder_are_read_x40(tree, pattern, monkeypatch, tmp_path):
    """X40"""
    monkeypatch.setenv("HOME", str(tmp_path))
    tree(lists("top/a.csv", "top/more/b.csv", "top/more/deep/c.csv", "top/lang=en/part-0.csv"))
    assert [os.path.relpath(path) for path in read(pattern)] == sorted(glob.glob("top/**/*.csv", recursive=True))


def test_what_spark_and_others_write_beside_data_is_left_out_and_counted_x40(tree):
    """X40: by its name, whether found in a folder or by a wildcard; _lang=en is a partition."""
    data = lists("out/lang=en/part-0.csv", "out/lang=no/part-0.csv", "out/_lang=x/part-0.csv")
    beside = {
        "out/_SUCCESS": "hidden",
        "out/.part-0.csv.crc": "hidden",
        "out/_temporary/0/part-0.csv": "hidden",
        "out/.git/config": "hidden",
        "out/lang=en/part-1.csv": "empty",
        "out/lang=en/part-2.csv.gz": "empty",
        "out/lang=en/part-3.csv.zst": "empty",
        "out/README.md": "about other files",
        "out/LICENSE": "about other files",
        "out/SHA256SUMS": "about other files",
        "out/lang=no/part-0.csv.md5": "about other files",
    }
    tree(data | dict.fromkeys(beside, b"x") | {"out/lang=en/part-1.csv": b""})
    tree({"out/lang=en/part-2.csv.gz": gzip.compress(b""), "out/lang=en/part-3.csv.zst": zstandard.compress(b"")})
    found = look_at(["out"], "auto")
    assert ([one.path for one in found.seen], found.left_out) == (sorted(data), beside)
    wild = look_at(["out/*", "out/*/*"], "auto")
    assert [one.path for one in wild.seen] == sorted(data)
    assert set(wild.left_out) == {name for name in beside if "/." not in name}  # * does not match a dot


def test_a_crawl_of_browsertrix_is_its_archives_x40(tree, record):
    """X40: the layout of WACZ, unpacked."""
    beside = ["pages/pages.jsonl", "pages/extraPages.jsonl", "indexes/index.cdx.gz", "indexes/index.idx", "logs/a.log"]
    beside += ["datapackage.json", "datapackage-digest.json"]
    tree({f"crawl/{name}": b'{"format": "json-pages-1.0"}\n' for name in beside})
    tree({"crawl/archive/a.warc.gz": gzip.compress(record(PAGE))})
    found = look_at(["crawl"], "auto")
    assert [one.path for one in found.seen] == ["crawl/archive/a.warc.gz"]
    assert found.left_out == {f"crawl/{name}": "about other files" for name in beside}


def test_a_file_that_is_named_is_read_whatever_its_name(tree):
    tree(lists("a/_x.csv", "a/.y.csv", "a/README", "a/b.csv"))
    assert read("a/_x.csv", "a/.y.csv", "a/README") == ["a/.y.csv", "a/README", "a/_x.csv"]
    assert read("a/_*.csv", "a/.*.csv") == ["a/.y.csv", "a/_x.csv"]
    both = look_at(["a", "a/_x.csv"], "auto")
    assert look_at(["a/_x.csv", "a"], "auto") == both
    assert ([one.path for one in both.seen], sorted(both.left_out)) == (
        ["a/_x.csv", "a/b.csv"],
        ["a/.y.csv", "a/README"],
    )


def test_a_saved_site_is_its_pages_and_the_lists_in_it_x40(tree):
    """X40: styles and images beside pages are counted; text that is a list is read."""
    beside = ["site/style.css", "site/js/x.js", "site/a.png", "site/data.json", "site/note.txt"]
    tree({"site/index.html": PAGE, "site/_posts/b.HTM": PAGE, "site/empty.html": b"", **dict.fromkeys(beside, b"x y")})
    tree(lists("site/urls.txt", "site/urls.csv"))
    found = look_at(["site"], "auto")
    assert [(one.path, len(one.files)) for one in found.seen] == [
        ("site", 3),
        ("site/urls.csv", 1),
        ("site/urls.txt", 1),
    ]
    assert found.left_out == dict.fromkeys(beside, "beside pages")


def test_pages_below_an_index_are_one_input_each_with_its_urls_x40(tree):
    """X40: an index in a folder below the input counts for the pages there."""
    for site in ("a", "b"):
        tree({f"top/{site}/index.tsv": b"name\turl\nx/p.html\thttps://%s.example/\n" % site.encode()})
        tree({f"top/{site}/x/p.html": PAGE})
    tree({"top/p.html": PAGE})
    splits = find_inputs(["top"], "auto")
    urls = [row["page_url"] for split in splits for batch in extract_split(split, Config()) for row in batch]
    assert urls == ["urn:html:p.html", "https://a.example/", "https://b.example/"]


def test_what_is_no_data_is_refused_with_the_number_x40(tree):
    """X40: nothing else in a folder is passed over."""
    tree({"top/a.csv": LIST % 1, "top/b.jpg": b"\xff\xd8\xff" * 50, "top/c.zip": b"PK\3\4" + bytes(range(256))})
    line = refused("top")
    assert line.startswith("input_unreadable: top/b.jpg: an image; put images with their texts into tars")
    Path("top/b.jpg").rename("top/b.bin")
    line = refused("top")
    assert line.startswith("input_unreadable: top/b.bin: no WARC")
    assert line.endswith("; move the file out of the folder, or name the files to read (and 1 more inputs at fault)")
    tree({"mirror/a.html": PAGE, "mirror/wiki/Fox": b"\n<!doctype html><p>", "notes/a.csv": b"todo,done\n"})
    assert "mirror/wiki/Fox: looks like HTML or XML; pages are told by their names" in refused("mirror")
    assert refused("notes").endswith("; set extract.url_column, or move the file out of the folder")
    tree({"only/_SUCCESS": b"", "only/README.md": b"x"})
    assert (
        refused("only") == "input_missing: no input at only: all files there are left out (about other files, hidden)"
    )


@pytest.mark.parametrize("pattern", ["top", "top/**", "top/*", "top/**/a*", "top/*/**", "top/**/*.html", "*/more/*"])
def test_the_pages_that_are_hashed_are_those_that_are_read_x40(tree, pattern):
    """X40: whether they are one input or several."""
    names = ["top/a.html", "top/b.html", "top/more/a.html", "top/more/deep/c.html", "top/_x/a.html", "top/.y/a.html"]
    tree({name: b'<img src="https://i.example/%d.jpg" alt="x">' % number for number, name in enumerate(names)})
    hashed = {os.path.relpath(file.path) for one in look_at([pattern], "auto").seen for file in one.files}
    splits = find_inputs([pattern], "auto")
    rows = [row for split in splits for batch in extract_split(split, Config()) for row in batch]
    numbers = [int(row["image_url"].rpartition("/")[2].removesuffix(".jpg")) for row in rows]
    assert sorted(names[number] for number in numbers) == sorted(hashed)


def test_a_run_below_its_own_inputs_is_left_out_x40(tree):
    """X40: its tables have URLs and texts, and would be read at the second build."""
    tree(lists("top/a.csv", "top/runs/one/extract/rows/x.csv", "top/runs/b.csv"))
    tree(
        {
            "top/runs/one/run.json": b"{}",
            "top/runs/one/config.yaml": b"{}",
            "top/run.json": b'{"url": "u", "text": "x"}',
        }
    )
    tree({"top/p.html": PAGE, "top/runs/one/audit/report.html": PAGE})
    found = look_at(["top", "top"], "auto")
    assert [one.path for one in found.seen] == ["top", "top/a.csv", "top/run.json", "top/runs/b.csv"]
    assert [path.name for path in html_files_in(Path("top"))] == ["p.html"]
    assert set(found.left_out.values()) == {"of a run"}
    assert read("top/runs/one/extract") == ["top/runs/one/extract/rows/x.csv"]
    assert refused("top/runs/one") == "input_missing: no input at top/runs/one: all files there are left out (of a run)"


def test_links_are_followed_once_and_dangling_ones_are_named_x40(tree):
    """X40: a loop ends; a link to nothing is data that is missing, unless it is hidden."""
    tree(lists("data/x.csv", "far/y.csv"))
    Path("data/up").symlink_to("..")
    Path("data/far").symlink_to("../far")
    Path("data/.#x.csv").symlink_to("someone@host")
    assert len(find_inputs(["data"], "auto")) == len(find_inputs(["data/**/*.csv"], "auto")) == 2
    Path("data/z.csv").symlink_to("gone.csv")
    assert refused("data") == "input_unreadable: data/z.csv: a link to a file that does not exist"
    os.mkfifo("pipe")
    assert "pipe: a device or pipe, not a file" in refused("pipe")


@pytest.mark.parametrize(
    "name",
    [
        "a[1].csv",
        "a b.csv",
        "a#1.csv",
        "%20.csv",
        "{a,b}.csv",
        "ü.csv",
        "[x].csv",
        "a[!b].csv",
        "a&b;.csv",
        "~.csv",
        "'\".csv",
    ],
)
def test_a_name_is_a_name_before_it_is_a_pattern_x43(tree, name):
    """X43: alone, in a folder, below a folder with brackets, and beside what it would match."""
    tree(lists(name, f"d[1] {{x}}/{name}", "a1.csv", "d1 {x}/b.csv"))
    assert read(name) == [name]
    assert read("d[1] {x}") == read("d[1] {x}/*") == [f"d[1] {{x}}/{name}"]


def test_a_name_that_no_table_can_have_is_refused_x43(tree):
    """X43: of a list and of a page; a hidden one is left out."""
    odd = "\udce9"
    tree({f"a/b{odd}.html": PAGE, f"a/.{odd}.html": PAGE, "a/c.html": PAGE} | lists(f"b/{odd}.csv"))
    assert refused("a") == "input_unreadable: a/b\udce9.html: its name is not UTF-8; rename it"
    assert refused("b") == refused("b/*.csv") == "input_unreadable: b/\udce9.csv: its name is not UTF-8; rename it"
    assert refused("") == 'config_invalid: extract.inputs has an empty path; for this folder write "."'


def test_a_pattern_that_matches_nothing_says_what_to_write_x43(tree):
    """X43"""
    assert refused("a[1].csv") == "input_missing: no file at a[1].csv; for a name with brackets write a[[]1].csv"
    assert refused("{a,b}.csv") == "input_missing: no file at {a,b}.csv; { } are not expanded: give each path"
    assert refused("s3a://b/x").startswith("config_invalid: extract.inputs: s3a://b/x: write s3://b/x")
    assert "files are not read from the web" in refused("https://a.example/x.csv")
    assert "write the path without file://" in refused("file:///data/x.csv")
    assert "name a bucket" in refused("s3://")
    assert "credentials are not allowed" in refused("s3://me:secret@bucket/x")


@pytest.mark.parametrize("seed", range(3))
def test_wildcards_match_what_the_library_matches(tree, seed):
    """glob of the standard library is the oracle for what matches; a file once, whatever matches it."""
    rng = random.Random(seed)
    names = {
        "/".join(rng.choice(["a", "b1", "c[2]", "d e", "x.csv", "y.tsv"]) for _ in range(rng.randint(1, 4)))
        for _ in range(60)
    }
    files = sorted(name for name in names if not any(other.startswith(f"{name}/") for other in names))
    tree(dict.fromkeys(files, b"x"))
    for pattern in ["*", "*/*", "**/*.csv", "a/**/x.csv", "[ab]*/*", "c[[]2]/*", "?1/**/*", "*/**/y.tsv", "**/[!a]*"]:
        found = {
            os.path.normpath(f"{group.base}/{file.relative}") for group in matches(pattern) for file in group.files
        }
        expected = {
            file for path in glob.glob(pattern, recursive=True) for file in files if f"{file}/".startswith(f"{path}/")
        }
        assert found == expected, pattern
        wanted = re.compile(as_regex(pattern.split("/")))  # as names in a listing of a store are matched
        assert {file for file in files if wanted.match(file)} == expected, pattern


def test_a_list_of_paths_names_the_files_below_its_prefix_x45(tree, record, tmp_path):
    """X45: as Common Crawl publishes it, packed or plain; a path once; absolute paths need no prefix."""
    for name in ("seg/a.warc.gz", "seg/b.warc.gz"):
        tree({name: gzip.compress(record(PAGE + name.encode()))})
    text = b"seg/a.warc.gz\r\n\nseg/b.warc.gz\nseg/a.warc.gz"
    tree(
        {
            "warc.paths": text,
            "warc.paths.gz": gzip.compress(text[:9]) + gzip.compress(text[9:]),
            "in/wat.paths.gz": gzip.compress(text),
        }
    )
    for given in ("warc.paths", "warc.paths.gz", "in"):
        assert read(given, prefix=".") == ["./seg/a.warc.gz", "./seg/b.warc.gz"]
        assert read(given, prefix=f"{tmp_path}/") == [f"{tmp_path}/seg/a.warc.gz", f"{tmp_path}/seg/b.warc.gz"]
    tree({"abs.paths": f"{tmp_path}/seg/b.warc.gz\n".encode()})
    assert read("abs.paths") == [f"{tmp_path}/seg/b.warc.gz"]


def test_a_list_of_paths_that_cannot_be_followed_is_one_line_x45(tree):
    """X45: nothing is requested over http, and no path leads out of the prefix."""
    tree({"a.paths": b"x/a.warc.gz\n", "up.paths": b"../a.warc.gz\n", "no.paths": b"\n# none\n"})
    tree(
        {
            "web.paths": b"https://a.example/a.warc.gz\n",
            "cut.paths.gz": gzip.compress(os.urandom(99).hex().encode())[:-9],
        }
    )
    assert "set extract.paths_prefix to the folder or URL that they are below" in refused("a.paths")
    assert "archives are not read over http; use s3://commoncrawl" in refused("a.paths", prefix="https://data.example/")
    assert refused("a.paths", prefix="gone") == "input_missing: no file at gone/x/a.warc.gz, which a.paths lists"
    assert "leads out of the folder" in refused("up.paths", prefix=".")
    assert refused("no.paths", prefix=".") == "input_unreadable: no.paths lists no path"
    assert "files are not read from the web" in refused("web.paths")
    assert refused("cut.paths.gz", prefix=".").startswith("input_unreadable: cut.paths.gz: Compressed file ended")
