"""CSV and TSV lists: their bytes, delimiters and first lines."""

from __future__ import annotations

import gzip

import pytest
import zstandard
from url_list import listed, short

from pipeline.core.errors import InputError
from pipeline.stages.extract.config import Columns

URL = "https://img.example/1.jpg"
CSV = f"url,caption\n{URL},café\n{URL},b\n{URL},c\n".encode()


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(b"", "utf-8"), (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_delimiter_and_line_end_gives_the_same_rows_x32(tmp_path, delimiter, mark, encoding, end):
    texts = ["café au lait", f"one{delimiter} two", "an emoji 😀 and\N{NO-BREAK SPACE}more"]
    lines = ["url" + delimiter + "caption", *(f'{URL}{delimiter}"{text}"' for text in texts)]
    data = mark + (end.join(lines) + end).encode(encoding)
    assert short(listed(tmp_path / "list.txt", data)) == [("ok", text) for text in texts]
    assert short(listed(tmp_path / "list.csv.gz", gzip.compress(data))) == [("ok", text) for text in texts]


@pytest.mark.parametrize("size", [10**6, 9])
def test_a_list_packed_with_zstd_is_read_x32(tmp_path, size):
    """In one frame, in many, and behind a frame that is to be skipped."""
    pieces = [CSV[start : start + size] for start in range(0, len(CSV), size)]
    packed = b"\x50\x2a\x4d\x18\x03\0\0\0abc" + b"".join(map(zstandard.compress, pieces))
    assert short(listed(tmp_path / "a.csv.zst", packed)) == [("ok", "café"), ("ok", "b"), ("ok", "c")]
    assert short(listed(tmp_path / "a", packed + bytes(9))) == [("ok", "café"), ("ok", "b"), ("ok", "c")]


def test_a_zstd_list_that_is_cut_or_broken_gives_what_is_before_x1(tmp_path):
    """X1, X2"""
    first, second = zstandard.compress(CSV), zstandard.compress(f"{URL},d\n{URL},e\n".encode() * 9)
    cut = listed(tmp_path / "a.csv.zst", first + second[:-5])
    assert [row["outcome"] for row in cut] == ["ok"] * (len(cut) - 1) + ["archive_truncated"]
    assert len(cut) > 3
    broken = listed(tmp_path / "b.csv.zst", first + b"no frame")
    assert [row["outcome"] for row in broken] == ["ok"] * 3 + ["archive_malformed"]


def test_json_lines_in_utf_16_are_read_x32(tmp_path):
    data = b"\xff\xfe" + f'{{"url": "{URL}", "caption": "café"}}\r\n'.encode("utf-16-le")
    assert short(listed(tmp_path / "a.jsonl", data)) == [("ok", "café")]


def test_utf_16_that_is_cut_or_broken_costs_what_is_broken_x32(tmp_path):
    broken = f"url,caption\n{URL},a\ud800b\n{URL},good\n".encode("utf-16-le", "surrogatepass")
    assert short(listed(tmp_path / "a.csv", b"\xff\xfe" + broken)) == [("row_malformed", "line 2"), ("ok", "good")]
    rows = listed(tmp_path / "b.csv", b"\xff\xfe" + broken[:-1])
    assert [row["outcome"] for row in rows] == ["row_malformed", "archive_truncated"]


@pytest.mark.parametrize(
    "before",
    [
        "\n",
        "\r\n \r\n",
        "sep=;\n",
        '"sep=;"\r\n\n',
        "# made by hand\n# in May\n",
        "#\n",
    ],
)
def test_blank_lines_comments_and_excels_line_before_the_header_are_skipped_x32(tmp_path, before):
    assert short(listed(tmp_path / "a.csv", f"{before}url;caption\n{URL};a, b\n\n{URL};c\n   \n")) == [
        ("ok", "a, b"),
        ("ok", "c"),
    ]


def test_lines_are_numbered_from_the_first_line_of_the_file_x32(tmp_path):
    text = f"# made by hand\n\nurl,caption\n\n{URL}\n{URL},a\n"
    assert short(listed(tmp_path / "a.csv", text)) == [("row_malformed", "line 5"), ("ok", "a")]


def test_a_header_in_a_comment_or_with_spaces_quotes_or_lines_is_one_x32(tmp_path):
    for header in (
        "# url\tcaption",
        '"url"\t"caption"',
        " url \t caption ",
        '"Image\nURL"\t"Alt\nText"',
        "URL\tAlt-Text",
    ):
        assert short(listed(tmp_path / "a.tsv", f'{header}\n{URL}\t"x ""y"""\n')) == [("ok", 'x "y"')], header


@pytest.mark.parametrize("delimiter", ["^", "~", ":", "\x01"])
def test_a_delimiter_that_is_not_known_is_told_which_are_x32(tmp_path, delimiter):
    with pytest.raises(
        InputError, match=r"columns: url.caption\).*, or separate the columns by commas, semicolons, bars"
    ):
        listed(tmp_path / "a.csv", f"url{delimiter}caption\n{URL}{delimiter}a\n")


def test_a_hash_in_a_row_is_text_x32(tmp_path):
    assert short(listed(tmp_path / "a.csv", f"caption,url\n#sunset,{URL}\n")) == [("ok", "#sunset")]


def test_a_list_without_a_header_says_what_to_set_and_is_read_with_it_x33(tmp_path):
    path = tmp_path / "cc3m.tsv"
    path.write_text(f"a dog, on grass\t{URL}\na cat\t{URL}\n")
    with pytest.raises(InputError, match="no header, its first line is a row") as caught:
        listed(path)
    assert caught.value.code == "input_schema"
    assert "set extract.url_column and extract.caption_column to the numbers" in str(caught.value)
    assert short(listed(path, columns=Columns("2", "1"))) == [("ok", "a dog, on grass"), ("ok", "a cat")]
    with pytest.raises(InputError, match="no column '3'"):
        listed(path, columns=Columns("3", "1"))


def test_a_first_row_in_quotes_is_read_like_the_others_x33(tmp_path):
    text = f'{URL},"a dog\non grass"\n{URL},a cat\n'
    assert short(listed(tmp_path / "a.csv", text, Columns("1", "2"))) == [("ok", "a dog\non grass"), ("ok", "a cat")]


def test_columns_whose_names_are_numbers_are_named_x33(tmp_path):
    assert short(listed(tmp_path / "a.csv", f"2,1\n{URL},a cat\n", Columns("2", "1"))) == [("ok", "a cat")]


def test_a_name_that_is_empty_or_there_twice_does_not_hide_the_others_x33(tmp_path):
    text = f",url,caption,url\n7,{URL},a cat,https://other.example/\n"
    (row,) = listed(tmp_path / "a.csv", text)
    assert (row["image_url"], row["alt_text"]) == (URL, "a cat")
    (row,) = listed(tmp_path / "a.csv", text, Columns("column 4"))
    assert row["image_url"] == "https://other.example/"
