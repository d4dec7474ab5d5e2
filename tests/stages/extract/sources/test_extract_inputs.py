"""All inputs are looked at before work starts."""

import bz2
import gzip
import io
import lzma
import os
import random
import re
import tarfile

import brotli
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.core.errors import InputError
from pipeline.stages.extract.config import Columns, Config
from pipeline.stages.extract.sources.inputs import find_inputs
from pipeline.stages.extract.split_rows import extract_split
from schemas.extract import ADDS

HTML = b'<img src="https://i.example/a.jpg" alt="a cat"><img src="b.jpg" alt="a dog">'


def make_tar(members, mode="w:gz"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def refused(patterns, code, match, **more):
    with pytest.raises(InputError, match=match) as caught:
        find_inputs([str(pattern) for pattern in patterns], more.pop("format", "auto"), **more)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_formats_are_told_by_content(tmp_path, record):
    """X21"""
    pages = record(HTML)
    wat = record(b"{}", kind="metadata", http=b"").replace(b"application/warc-fields", b"application/json")
    table = io.BytesIO()
    pq.write_table(pa.table({"URL": ["https://i.example/1.jpg"], "TEXT": ["x"]}), table)
    files = {
        "a.warc.gz": (gzip.compress(pages), "warc"),
        "plain.warc.gz": (pages, "warc"),
        "noname": (pages, "warc"),
        "b.wat.gz": (gzip.compress(wat), "wat"),
        "c.parquet": (table.getvalue(), "parquet"),
        "c2": (table.getvalue(), "parquet"),
        "d.csv": (b"url,caption\n", "csv"),
        "d2": (b"\xef\xbb\xbfcaption\turl\r\n", "tsv"),
        "e.tsv.gz": (gzip.compress(b"url\ttext\n"), "tsv"),
        "f.jsonl": (b'{"url": "u", "alt": "x"}\n', "jsonl"),
        "g.html": (HTML, "html"),
        "h.tar": (make_tar({"x/a.html": HTML}, "w"), "html"),
        "i.tgz": (make_tar({"a.htm": HTML}), "html"),
    }
    for name, (data, expected) in files.items():
        (tmp_path / name).write_bytes(data)
        (split,) = find_inputs([str(tmp_path / name)], "auto")
        assert (split.container or split.format) == expected, name


def test_a_glob_and_a_folder_name_each_file_once(tmp_path, record):
    for name in ("b.warc", "a.warc", ".hidden"):
        (tmp_path / name).write_bytes(record(HTML + name.encode()))
    splits = find_inputs([str(tmp_path), f"{tmp_path}/*.warc", f"{tmp_path}/a.warc"], "auto")
    assert [os.path.basename(split.path) for split in splits] == ["a.warc", "b.warc"]


def test_the_fingerprint_knows_the_content_and_not_the_path(tmp_path):
    def fingerprint(folder, files):
        for name, data in files.items():
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_bytes(data)
        (split,) = find_inputs([str(tmp_path / folder)], "auto")
        return split.fingerprint

    one = fingerprint("one", {"a.html": HTML, "x/b.htm": b"<p>"})
    assert fingerprint("two", {"x/b.htm": b"<p>", "a.html": HTML}) == one
    assert fingerprint("three", {"x/b.htm": b"<p>", "c.html": HTML}) != one
    assert fingerprint("four", {"a.html": HTML, "x/b.htm": b"<p>", "index.tsv": b"name\turl\n"}) != one


@pytest.mark.parametrize("packing", ["folder", "tar"])
def test_pages_of_a_folder_or_tar_have_the_urls_of_the_index(tmp_path, packing):
    members = {
        "index.tsv": b"name\turl\tbytes\nx/a.html\thttps://site.example/p/\t5\nb.htm\t\t7\n",
        "x/a.html": HTML,
        "b.htm": HTML,
        "note.txt": b"no page",
    }
    if packing == "tar":
        path = tmp_path / "pages.tar.gz"
        path.write_bytes(make_tar({f"./{name}": data for name, data in members.items()}))
    else:
        path = tmp_path
        for name, data in members.items():
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_bytes(data)
    (split,) = find_inputs([str(path)], "auto")
    rows = [row for batch in extract_split(split, Config()) for row in batch]
    found = sorted((row["page_url"], row["outcome"], row["image_url"] or "") for row in rows)
    assert found == [
        ("https://site.example/p/", "ok", "https://i.example/a.jpg"),
        ("https://site.example/p/", "ok", "https://site.example/p/b.jpg"),
        ("urn:html:b.htm", "ok", "https://i.example/a.jpg"),
        ("urn:html:b.htm", "url_invalid", ""),
    ]
    pa.RecordBatch.from_pylist(rows, schema=ADDS).validate(full=True)


def test_a_tar_that_is_cut_and_a_page_over_the_cap_are_said(tmp_path):
    """X1, X5"""
    path = tmp_path / "a.tar"
    path.write_bytes(make_tar({"a.html": HTML, "b.html": HTML + b" " * 5000, "c.html": HTML * 30}, "w")[:8000])
    (split,) = find_inputs([str(path)], "auto")
    rows = [row for batch in extract_split(split, Config(max_page_bytes=4000)) for row in batch]
    assert [row["outcome"] for row in rows if row["outcome"] not in ("ok", "url_invalid")] == [
        "body_too_large",
        "archive_truncated",
    ]


def test_archives_lists_and_samples_in_a_tar_of_pages_are_counted_x40(tmp_path, record):
    """X40: only its pages are read."""
    members = {"p/a.html": HTML, "b.warc.gz": gzip.compress(record(HTML)), "c.CSV": b"url,caption\n", "d.tsv": b"x"}
    members |= {"index.tsv": b"name\turl\n", "p/style.css": b"", "p/x.jpg": b"", "wat.html": HTML}
    members |= {"7.jpg": b"", "7.txt": b"a cat", "8.png": b"", "8.json": b"{}"}  # and what was saved with a page:
    members |= {"wat.jpg": b"", "wat.txt": b"x", "robots.txt": b"x"}
    (tmp_path / "a.tar.gz").write_bytes(make_tar(members))
    (split,) = find_inputs([str(tmp_path / "a.tar.gz")], "auto")
    *pages, beside = [row for batch in extract_split(split, Config()) for row in batch]
    assert len(pages) == 4
    assert (beside["outcome"], beside["count"]) == ("record_not_page", 5)
    assert beside["detail"].endswith("such as b.warc.gz")


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, brotli.compress])
def test_a_saved_page_that_is_packed_is_one_row_x73(tmp_path, pack):
    """X73: as wget saves what a server sent packed."""
    packed = pack(HTML + bytes(random.Random(7).choices(range(32, 127), k=2000)))
    for name, data in (("a.html", packed), ("b.tar", make_tar({"a.html": packed}, "w"))):
        (tmp_path / name).write_bytes(data)
        (split,) = find_inputs([str(tmp_path / name)], "auto")
        ((row,),) = extract_split(split, Config())
        assert (row["outcome"], row["page_url"]) == ("bad_encoding", "urn:html:a.html")


def test_missing_inputs_are_named_with_their_number(tmp_path):
    """X21, R3"""
    (tmp_path / "empty").mkdir()
    refused([tmp_path / "no.warc"], "input_missing", r"no\.warc$")
    refused([tmp_path / "no*.warc", tmp_path / "gone", tmp_path / "empty"], "input_missing", r"no\*\.warc \(and 2 more")


def test_unreadable_and_unknown_inputs_are_refused(tmp_path):
    """X21, R3"""
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 10)
    refused([tmp_path / "a.bin"], "input_unreadable", r"a\.bin: no WARC")
    (tmp_path / "a.warc").symlink_to(tmp_path / "a.warc")
    refused([tmp_path / "a.*"], "input_unreadable", r"\(and 1 more")
    if os.geteuid():
        (tmp_path / "b.csv").write_text("url,caption\n")
        (tmp_path / "b.csv").chmod(0)
        refused([tmp_path / "b.csv"], "input_unreadable", "Permission denied")


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("a.csv.bz2", bz2.compress(b"url,caption\n"), "packed with bzip2; unpack it"),
        ("a.csv.xz", lzma.compress(b"url,caption\n"), "packed with xz; unpack it"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "save its table as CSV"),
        ("a.XLSX", b"PK\x03\x04" + bytes(99), "a spreadsheet; save its table as CSV"),
        ("a.parquet.gz", gzip.compress(b"PAR1" + bytes(99) + b"PAR1"), "packed again; unpack it"),
        ("a.csv", "url,caption\n".encode("utf-16-le"), "UTF-16 without a byte order mark.*; save it as UTF-8"),
        ("a.tsv", "url\tcaption\n".encode("utf-32"), "UTF-32; save it as UTF-8"),
        ("a.html.gz", gzip.compress(b"<html>"), r"let it end in \.html, not packed"),
        ("a.tar", make_tar({"a.csv": b"url,caption\n"}, "w"), "a tar without pages or images"),
        ("a.tgz", make_tar({"a.csv": b"url,caption\n"}), "a tar without pages or images"),
        ("a.avro", b"Obj\x01\x04\x16avro.schema, a text", "an Avro file; write its table as Parquet"),
        ("a.arrow", b"ARROW1\0\0" + bytes(99), "write its table as Parquet"),
    ],
)
def test_files_of_other_formats_say_what_to_do_x21(tmp_path, name, data, match):
    (tmp_path / name).write_bytes(data)
    refused([tmp_path / name], "input_unreadable", match)
    refused([tmp_path], "input_unreadable", "move the file out of the folder")


def test_a_list_named_for_the_table_it_came_from_is_what_it_is(tmp_path):
    (tmp_path / "a.parquet.csv").write_text("url,caption\n")
    (split,) = find_inputs([str(tmp_path / "a.parquet.csv")], "auto")
    assert split.container == "csv"


def test_a_broken_parquet_is_unreadable(tmp_path):
    """R4"""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"url": ["u"], "caption": ["x"]}), path)
    path.write_bytes(path.read_bytes()[:-10])
    refused([path], "input_unreadable", r"a\.parquet")


def test_a_list_without_the_columns_names_those_that_exist(tmp_path):
    """X20, R4"""
    (tmp_path / "a.csv").write_text("link,words\n")
    refused(
        [tmp_path / "a.csv"],
        "input_schema",
        re.escape("no column for the url (columns: link, words); set extract.url_column"),
    )
    refused([tmp_path / "a.csv"], "input_schema", "no column 'href'", columns=Columns("href"))
    (split,) = find_inputs([str(tmp_path / "a.csv")], "auto", Columns("link", "words"))
    assert split.columns == Columns("link", "words")
    pq.write_table(pa.table({"url": [5], "caption": ["x"]}), tmp_path / "b.parquet")
    refused([tmp_path / "b.parquet"], "input_schema", "column 'url' is int64, wanted string")


def test_a_list_of_paths_without_a_prefix_says_what_to_set_x45(tmp_path):
    """X20, X45: it is not read as a list of images."""
    path = tmp_path / "wat.paths"
    path.write_text("crawl-data/a.warc.wat.gz\ncrawl-data/b.warc.wat.gz\n")
    for format in ("auto", "wat"):
        refused([path], "config_invalid", r"lists 2 relative paths.*; set extract\.paths_prefix to", format=format)
    (tmp_path / "names.txt").write_text(path.read_text())
    refused([tmp_path / "names.txt"], "input_schema", r"a list of paths, not of images; name it .*names\.txt\.paths")


def test_the_shared_pages_give_what_their_index_says(shared_data):
    """The index counts every ``<img`` in the source (3,624, 2,508 with alt); ours are without comments and scripts."""
    (split,) = find_inputs([str(shared_data / "html_pages.tar.gz")], "auto")
    rows = [row for batch in extract_split(split, Config()) for row in batch]
    n_images = sum(row["count"] for row in rows)
    n_with_alt = sum(row["count"] for row in rows if (row["alt_text"] or "").strip())
    assert (n_images, n_with_alt) == (3325, 2426)
    assert {row["outcome"] for row in rows} == {"ok", "alt_empty", "alt_missing", "data_uri", "url_invalid"}
    assert len({row["page_id"] for row in rows}) == 100


def test_equal_pages_under_two_names_are_two_inputs_each_with_its_url(tmp_path):
    for name in ("one/a.html", "one/b.html", "two/a.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(HTML)
    a, b = find_inputs([f"{tmp_path}/one/*.html"], "auto")
    (moved,) = find_inputs([f"{tmp_path}/two/a.html"], "auto")
    assert a.fingerprint != b.fingerprint
    assert a.fingerprint == moved.fingerprint
    urls = [{row["page_url"] for batch in extract_split(split, Config()) for row in batch} for split in (a, b)]
    assert urls == [{"urn:html:a.html"}, {"urn:html:b.html"}]


def test_copies_of_an_input_are_counted_and_read_once(tmp_path, record):
    for name, page in {"b.warc": HTML, "a.warc": HTML, "c.warc": HTML * 2, "x/d.warc.gz": HTML}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(record(page))
    splits = find_inputs([f"{tmp_path}/x/*", f"{tmp_path}/*.warc"], "auto")
    assert [(os.path.basename(split.path), split.copies) for split in splits] == [("a.warc", 2), ("c.warc", 0)]


def test_equal_bytes_read_in_another_way_are_another_input(tmp_path, record):
    (tmp_path / "a.csv").write_text("url\n")
    (tmp_path / "a.tsv").write_text("url\n")
    assert len(find_inputs([f"{tmp_path}/a.*"], "auto", Columns("url", "url"))) == 2
    (tmp_path / "a.warc").write_bytes(record(HTML))
    keys = {find_inputs([f"{tmp_path}/a.warc"], format)[0].fingerprint for format in ("warc", "wat")}
    assert len(keys) == 2
