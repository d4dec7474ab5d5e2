"""CSV and TSV lists: quotes that are broken, doubled, escaped or absent, and what they cost."""

from __future__ import annotations

import io
import time

import pytest
from url_list import listed, short

from pipeline.stages.extract.config import Config
from pipeline.stages.extract.lists.delimited import Delimited
from pipeline.stages.extract.sources.inputs import find_inputs
from pipeline.stages.extract.split_rows import extract_split

URL = "https://img.example/{}.jpg"


def row(number: int, text: str, delimiter: str = ",") -> str:
    return f"{URL.format(number)}{delimiter}{text}"


def read(tmp_path, name: str, *lines: str, end: str = "\n") -> list[tuple[str, str | None]]:
    return short(listed(tmp_path / name, end.join(lines) + end))


LOST = "row_malformed"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (('"Nail of 6 inches', "Red kite", "Glass of milk"), [(LOST, "line 3"), "Red kite", "Glass of milk"]),
        (('"Nail of 6 inches', "Red kite", 'Nail of 5"'), [(LOST, "line 3"), "Red kite", 'Nail of 5"']),
        (('"Nail of 6 inches', '"Red, kite"', "Milk"), [(LOST, "line 3"), "Red, kite", "Milk"]),
        (('"Nail of 6 inches', '"two\nlines"', "Milk"), [(LOST, "line 3"), "two\nlines", "Milk"]),
        (('"Nail of 6" and more"', "Red kite", "Milk"), [(LOST, "line 3"), "Red kite", "Milk"]),
        (('"A dog" on grass', "Red kite", "Milk"), [(LOST, "line 3"), "Red kite", "Milk"]),
        (("Red kite", "Milk", '"Nail of 6 inches'), ["Red kite", "Milk", (LOST, "line 5")]),
        (('"', "Red kite", '"'), [(LOST, "line 3"), "Red kite", (LOST, "line 5")]),
        (('Nail 6" long', '"Nail 6"" long"', '"a ""b"" c"'), ['Nail 6" long', 'Nail 6" long', 'a "b" c']),
        (
            ('"see\nhttps://source.example/page"', "x, y", "Milk"),
            ["see\nhttps://source.example/page", (LOST, "line 5"), "Milk"],
        ),
    ],
)
def test_a_broken_quote_costs_its_row_and_no_other_x30(tmp_path, lines, expected):
    rows = [row(number, text) for number, text in enumerate(("before", *lines))]
    wanted = [one if isinstance(one, tuple) else ("ok", one) for one in ("before", *expected)]
    assert read(tmp_path, "a.csv", "url,caption", *rows) == wanted
    assert read(tmp_path, "crlf.csv", "url,caption", *rows, end="\r\n") == wanted


def test_a_quote_that_a_later_row_closes_hides_no_rows_wherever_the_url_stands_x30(tmp_path):
    lines = [
        f'"Nail of 6 inches,{URL.format(1)}',
        f'Old man 5",{URL.format(2)}',
        f'"line one\nline two",{URL.format(3)}',
    ]
    assert read(tmp_path, "a.csv", "caption,url", *lines) == [
        (LOST, "line 2"),
        ("ok", 'Old man 5"'),
        ("ok", "line one\nline two"),
    ]
    lines = [row(1, '"Nail,3,4'), row(2, 'Old man 5",3,4'), row(3, '"see\nhttps://source.example/",3,4')]
    assert read(tmp_path, "b.csv", "url,caption,width,height", *lines) == [
        (LOST, "line 2"),
        ("ok", 'Old man 5"'),
        ("ok", "see\nhttps://source.example/"),
    ]


def test_a_quote_that_a_quote_of_the_next_row_closes_hides_no_row_x30(tmp_path):
    assert read(tmp_path, "a.csv", "url,caption", row(1, '"open'), row(2, '",;"')) == [(LOST, "line 2"), ("ok", ",;")]
    lines = [row(1, '"open,alt,title'), row(2, 'caption,", x",title')]
    assert read(tmp_path, "b.csv", "url,caption,alt,title", *lines) == [(LOST, "line 2"), ("ok", "caption")]


def test_a_list_of_rows_all_in_quotes_loses_only_the_row_with_the_open_one_x30(tmp_path):
    rows = [f'"{URL.format(number)}","{text}"' for number, text in enumerate(("one", "two", "three\nlines", "four"))]
    rows[1] = rows[1].removesuffix('"')
    found = read(tmp_path, "a.csv", '"url","caption"', *rows)
    assert found == [("ok", "one"), (LOST, "line 3"), ("ok", "three\nlines"), ("ok", "four")]


def test_lines_behind_an_open_quote_are_counted_one_by_one_if_they_are_no_rows_x30(tmp_path):
    found = read(tmp_path, "a.csv", "url,caption", row(1, '"never closed'), *["word"] * 200_000, row(2, "last"))
    assert found[0] == (LOST, "line 2")
    assert found[-1] == ("ok", "last")
    assert len(found) == 200_002


def test_a_line_is_looked_at_a_fixed_number_of_times_x30():
    """Each line opens a quote: what was looked at in vain must not be looked at again for every line."""
    text = "url,caption\n" + "\n".join(row(number, '"open') for number in range(40_000))
    begun = time.process_time()
    found = list(Delimited(io.BufferedReader(io.BytesIO(text.encode())), "csv").rows(["url", "caption"]))
    assert len(found) == 40_000
    assert all(isinstance(values, ValueError) for _, values in found)
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"The sign says ""open"" above the door"', 'The sign says "open" above the door'),
        ('"tab\tin a caption"', "tab\tin a caption"),
        ('"two\nlines"', "two\nlines"),
        ('"two\n\n""quoted"" lines"', 'two\n\n"quoted" lines'),
        ("Plain caption of a fox", "Plain caption of a fox"),
        ('"A dog" on grass', '"A dog" on grass'),
        ('5" nail', '5" nail'),
        ('"unclosed', '"unclosed'),
        ('unopened"', 'unopened"'),
        ('"open" and "close"', '"open" and "close"'),
        ('"She said ""no"" twice" he said', '"She said ""no"" twice" he said'),
        ('"The sign says \\"open\\" above"', 'The sign says "open" above'),
        ('"back\\\\slash \\"q\\" x"', 'back\\slash "q" x'),
        ('"\\""', '"'),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_tsv_is_read_with_quotes_where_a_whole_field_is_quoted_and_else_without_x31(tmp_path, written, text, place):
    fields = [("url", URL.format(1)), ("caption", written)]
    names, values = zip(*(fields if place else fields[::-1]), strict=True)
    rows = listed(tmp_path / "a.tsv", "\t".join(names) + "\n" + "\t".join(values) + "\n")
    assert [one["alt_text"] for one in rows] == [text]
    assert [one["image_url"] for one in rows] == [URL.format(1)]


def test_rows_behind_a_tsv_field_that_begins_with_a_quote_are_read_x31(tmp_path):
    found = read(
        tmp_path,
        "a.tsv",
        "caption\turl",
        f'"unclosed\t{URL.format(1)}',
        f'6" nail\t{URL.format(2)}',
        f'"x" and "y"\t{URL.format(3)}',
        f'"quoted ""well"""\t{URL.format(4)}',
        "too\tmany\tcolumns",
    )
    assert found == [
        ("ok", '"unclosed'),
        ("ok", '6" nail'),
        ("ok", '"x" and "y"'),
        ("ok", 'quoted "well"'),
        (LOST, "line 6"),
    ]


def test_a_csv_as_spark_writes_it_has_backslashes_before_quotes_x31(tmp_path):
    found = read(
        tmp_path,
        "a.csv",
        "url,caption",
        row(1, r'"The sign says \"open\" above"'),
        row(2, r"back\slash"),
        row(3, r'"\"q\", said \\\"he\\\""'),
        row(4, '"two \\"short\\"\nlines"'),
        row(5, r'"ends with a \"quote\""'),
    )
    texts = [
        'The sign says "open" above',
        r"back\slash",
        r'"q", said \"he\"',
        'two "short"\nlines',
        'ends with a "quote"',
    ]
    assert found == [("ok", text) for text in texts]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("url,caption", 'a","b'),  # each line may go on with the row before it, and begin one
        ("url,caption", '"a'),
        ("url,caption", 'a,"b\\"'),
        (",".join(f"{number:x}" for number in range(100_000)) + ",url,caption", "a,b"),
    ],
)
def test_lines_made_to_be_read_again_and_again_take_linear_time_x82(tmp_path, header, row):
    """X82: the first took 39 s for 3,000 lines, and four times that for twice as many; the last, 160 s in the driver."""
    (tmp_path / "x.csv").write_text(f"{header}\n" + f"{row}\n" * 6000)
    start = time.thread_time()
    (split,) = find_inputs([str(tmp_path / "x.csv")], "auto")
    assert sum(map(len, extract_split(split, Config()))) == 6000
    assert time.thread_time() - start < 20
