"""URL lists."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import InputError
from pipeline.stages.extract.config import Columns, Config
from pipeline.stages.extract.lists.list_columns import chosen_columns, columns_of
from pipeline.stages.extract.lists.url_lists import read_url_list

ROWS = [("https://i.example/1.jpg", "a cat"), ("https://i.example/2.jpg", 'a, "dog"\nin two lines'), ("bad", "x")]

USUAL = Columns("url", "caption")


def read(path, container, columns=USUAL):
    return list(read_url_list(path, container, columns, "f", Config()))


def short(rows):
    return [(row["outcome"], row["alt_text"] if row["outcome"] == "ok" else row["detail"]) for row in rows]


def test_every_container_gives_the_same_rows(tmp_path):
    table = pa.table({"caption": [caption for _, caption in ROWS], "url": [url for url, _ in ROWS]})
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(
        table.cast(pa.schema([("caption", pa.large_string()), ("url", pa.string())])), tmp_path / "b.parquet"
    )
    lines = [json.dumps({"url": url, "caption": caption}) for url, caption in ROWS]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress("\r\n".join(lines).encode()))
    quoted = [[f'"{value.replace(chr(34), 2 * chr(34))}"' for value in row] for row in ROWS]
    text = "url,caption\r\n" + "".join(",".join(row) + "\r\n" for row in quoted)
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    expected = read(tmp_path / "a.parquet", "parquet")
    assert [row["outcome"] for row in expected] == ["ok", "ok", "url_invalid"]
    assert expected[1]["alt_text"] == ROWS[1][1]
    assert expected[0]["page_url"] is None
    assert read(tmp_path / "b.parquet", "parquet") == expected
    assert read(tmp_path / "a.jsonl", "jsonl") == expected
    assert read(tmp_path / "b.jsonl.gz", "jsonl") == expected
    assert read(tmp_path / "a.csv", "csv") == expected


def test_bad_rows_of_a_csv_are_written_with_their_line(tmp_path):
    """X19"""
    path = tmp_path / "a.csv"
    path.write_bytes(
        b"\xef\xbb\xbfurl,caption,extra\r\n"
        b'https://i.example/1.jpg,"line one\r\nline two",x\r\n'
        b"https://i.example/2.jpg\r\n"
        b"https://i.example/3.jpg,nul\0here,x\r\n"
        b"https://i.example/4.jpg,caf\xe9,x\r\n"
        b"\r\n"
        b"https://i.example/5.jpg,good,x,too many\r\n"
        b"https://i.example/6.jpg,caf\xc3\xa9,\xff"
    )
    assert short(read(path, "csv")) == [
        ("ok", "line one\r\nline two"),
        ("row_malformed", "a.csv, line 4: 1 columns, the header has 3"),
        ("row_malformed", "a.csv, line 5: NUL"),
        ("row_malformed", "a.csv, line 6: invalid UTF-8"),
        ("row_malformed", "a.csv, line 8: 4 columns, the header has 3"),
        ("ok", "café"),
    ]


def test_quotes_in_a_tsv_are_text(tmp_path):
    """X19"""
    path = tmp_path / "a.tsv"
    path.write_text('caption\turl\n"unclosed\thttps://i.example/1.jpg\n6" nail\thttps://i.example/2.jpg\n')
    assert short(read(path, "tsv")) == [("ok", '"unclosed'), ("ok", '6" nail')]


def test_bad_lines_of_a_jsonl_are_written_with_their_line(tmp_path):
    """X19"""
    path = tmp_path / "a.jsonl"
    good = b'{"url": "https://i.example/1.jpg", "caption": "one"}\n'
    path.write_bytes(
        b"\xef\xbb\xbf"
        + good
        + b'{"url": \n\n{"url": 5, "caption": "x"}\n["a"]\n{"url": "\xff"}\n'
        + b"x" * 3_000_000
        + b"\n"
        b'{"url": "https://i.example/2.jpg", "caption": "\\ud800"}\n{"url": "https://i.example/2.jpg"}\n' + good
    )
    rows = read(path, "jsonl")
    assert [row["outcome"] for row in rows] == ["ok", *["row_malformed"] * 6, "alt_missing", "ok"]
    lines = [int(row["detail"].split("line ")[1].split(":")[0]) for row in rows if row["outcome"] == "row_malformed"]
    assert lines == [2, 4, 5, 6, 7, 8]


def test_text_of_a_parquet_that_is_no_utf_8_costs_its_row(tmp_path):
    """X19"""
    captions = pa.array([b"one", b"caf\xe9", None, b"two"], pa.binary()).view(pa.string())
    urls = pa.array([f"https://i.example/{i}.jpg" for i in range(4)])
    pq.write_table(pa.table({"url": urls, "caption": captions}), tmp_path / "a.parquet")
    assert short(read(tmp_path / "a.parquet", "parquet")) == [
        ("ok", "one"),
        ("row_malformed", "a.parquet, line 2: invalid UTF-8"),
        ("alt_missing", None),
        ("ok", "two"),
    ]


@pytest.mark.parametrize("cut", [1, 20])
def test_a_list_that_is_cut_off_says_so(tmp_path, cut):
    """X1"""
    path = tmp_path / "a.csv.gz"
    lines = "".join(f"https://i.example/{i}.jpg,caption {i * i}\n" for i in range(5000))
    path.write_bytes(gzip.compress(f"url,caption\n{lines}".encode())[:-cut])
    rows = read(path, "csv")
    assert rows[-1]["outcome"] == "archive_truncated"
    assert len(rows) > 1000


def test_equal_rows_of_a_list_have_one_key(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("url,caption\nhttps://i.example/1.jpg,x\nhttps://i.example/1.jpg,x\nhttps://i.example/1.jpg,y\n")
    keys = [row["candidate_id"] for row in read(path, "csv")]
    assert keys[0] == keys[1] != keys[2]


SHA256 = "ab" * 32
BOXES = [[0.25, 0.5, 0.75, 1.5], [0, 0, 0.1, 0.1]]
OF_PICTURE = Columns("url", "caption", "sha256", "face_bboxes")


def test_sha256_and_boxes_are_read_from_every_container_f42(tmp_path):
    """F42"""
    values = {"url": "https://i.example/1.jpg", "caption": "x", "sha256": SHA256.upper(), "face_bboxes": BOXES}
    pq.write_table(pa.Table.from_pylist([values, values | {"sha256": None, "face_bboxes": []}]), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text(
        json.dumps(values) + "\n" + json.dumps(values | {"sha256": None, "face_bboxes": None})
    )
    (tmp_path / "a.tsv").write_text(
        "\t".join(values) + f"\n{values['url']}\tx\t{SHA256}\t{json.dumps(BOXES)}\n{values['url']}\tx\t\t\n"
    )
    for name in ("a.parquet", "a.jsonl", "a.tsv"):
        full, empty = read(tmp_path / name, name[2:], OF_PICTURE)
        assert (full["listed_sha256s"], full["boxes"]) == ([SHA256], [0.25, 0.5, 0.75, 1.0, 0, 0, 0.1, 0.1])
        assert (empty["listed_sha256s"], empty["boxes"], empty["outcome"]) == (None, None, "ok")


@pytest.mark.parametrize(
    ("sha256", "boxes", "why"),
    [
        ("ab", None, "no sha256 in 64 hex digits"),
        (5, None, "no sha256 in 64 hex digits"),
        (None, "[[0, 0, 1", "no list of boxes"),
        (None, [[0, 0, 1]], "no list of boxes"),
        (None, [0, 0, 1, 1], "no list of boxes"),
        (None, [[0.5, 0, 0.1, 1]], "no box"),
        (None, [[10, 20, 50, 60]], "no box"),
        (None, [[1.2, 0, 1.5, 1]], "no box"),
        (None, "[" * 3000, "no list of boxes"),
    ],
)
def test_a_sha256_or_a_box_that_cannot_be_read_costs_its_row_f42(tmp_path, sha256, boxes, why):
    """F42"""
    path = tmp_path / "a.jsonl"
    path.write_text(
        json.dumps({"url": "https://i.example/1.jpg", "caption": "x", "sha256": sha256, "face_bboxes": boxes})
    )
    (row,) = read(path, "jsonl", OF_PICTURE)
    assert (row["outcome"], row["pair_id"]) == ("row_malformed", None)
    assert row["detail"].startswith("a.jsonl, line 1: ")
    assert why in row["detail"]
    assert row["boxes"] == (None if boxes is None else [0.0, 0.0, 1.0, 1.0])


def test_a_line_without_the_field_that_a_setting_names_is_lost_and_null_is_none(tmp_path):
    path = tmp_path / "a.jsonl"
    values = {"url": "https://i.example/1.jpg", "caption": "x", "sha256": None}
    path.write_text(
        "\n".join(json.dumps(line) for line in (values | {"face_bboxes": "null"}, values, values | {"face_bboxes": []}))
    )
    rows = read(path, "jsonl", OF_PICTURE)
    assert [row["outcome"] for row in rows] == ["ok", "row_malformed", "ok"]
    assert rows[1]["boxes"] == [0.0, 0.0, 1.0, 1.0]
    assert rows[1]["candidate_id"] != rows[0]["candidate_id"] == rows[2]["candidate_id"]


@pytest.mark.parametrize(
    ("type_", "fits"),
    [
        (pa.list_(pa.list_(pa.float32())), True),
        (pa.large_list(pa.list_(pa.float64(), 4)), True),
        (pa.null(), True),
        (pa.string(), True),
        (pa.list_(pa.list_(pa.int64())), True),
        (pa.list_(pa.float64()), False),
        (pa.list_(pa.string()), False),
        (pa.struct([("list", pa.string())]), False),
    ],
)
def test_a_column_of_boxes_has_a_type_that_can_hold_them(tmp_path, type_, fits):
    table = pa.table({"url": ["https://i.example/1.jpg"], "caption": ["x"], "faces": pa.nulls(1, type_)})
    pq.write_table(table, tmp_path / "a.parquet")
    columns = columns_of(tmp_path / "a.parquet", "parquet")
    if fits:
        chosen = chosen_columns(columns, Columns(boxes="faces"), "a.parquet")
        assert [row["outcome"] for row in read(tmp_path / "a.parquet", "parquet", chosen)] == ["ok"]
    else:
        with pytest.raises(InputError, match="wanted string or list of lists of numbers"):
            chosen_columns(columns, Columns(boxes="faces"), "a.parquet")


def test_the_real_list_is_read(shared_data):
    rows = read(shared_data / "laion_urls_10k.parquet", "parquet")
    assert len(rows) == 9970
    assert sum(row["outcome"] == "ok" for row in rows) >= 9960
