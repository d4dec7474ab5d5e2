"""Lists in JSON: by line, in one array, spread over lines."""

from __future__ import annotations

import gzip
import json

import pytest
from url_list import listed, short

from pipeline.core.errors import InputError

URL = "https://img.example/{}.jpg"
OK = [("ok", f"caption {number}") for number in range(4)]


def objects(count: int) -> list[dict[str, str]]:
    return [{"url": URL.format(number), "caption": f"caption {number}"} for number in range(count)]


TEXTS = [json.dumps(one) for one in objects(4)]
BROKEN = '{"url" "b"}'


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("name", ["list.json", "list.jsonl", "list", "list.json.gz"])
def test_an_array_of_objects_is_read_x34(tmp_path, indent, name):
    data = json.dumps(objects(4), indent=indent).encode()
    assert short(listed(tmp_path / name, gzip.compress(data) if name.endswith("gz") else data)) == OK


@pytest.mark.parametrize("between", ["", "\n", "\n\n  "])
def test_arrays_behind_one_another_are_all_read_x34(tmp_path, between):
    """As files put together with cat have them, and lines that are arrays."""
    text = between.join(json.dumps(objects(4)[start : start + 2]) for start in (0, 2)) + "\n[]\n"
    assert short(listed(tmp_path / "a.jsonl", text)) == OK


def test_objects_over_several_lines_are_read_x34(tmp_path):
    text = "\n".join(json.dumps(one, indent=2) for one in objects(4))
    assert short(listed(tmp_path / "a.json", text)) == OK
    assert short(listed(tmp_path / "b.json", json.dumps(objects(1)[0], indent=1))) == OK[:1]


@pytest.mark.parametrize("between", [",", ",\n", "\n,\n  "])
@pytest.mark.parametrize(
    "broken",
    [
        BROKEN,
        '{"url": "https://x.example/", "caption": "open}',
        '{"a": 1',
        "foo",
        "5",
        "null",
        '["a"]',
        '"x"',
        "[" * 5000,
    ],
)
def test_a_broken_element_of_an_array_costs_itself_x34(tmp_path, between, broken):
    text = "[" + between.join([TEXTS[0], broken, *TEXTS[1:]]) + "]"
    first, lost, *rest = listed(tmp_path / "a.json", text)
    assert short([first, *rest]) == OK
    assert lost["outcome"] == "row_malformed"
    line = 1 + between.count("\n")
    assert lost["detail"].startswith(f"a.json, line {line}, element 2: ")


def test_elements_broken_in_the_same_way_are_two_rows_x34(tmp_path):
    rows = listed(tmp_path / "a.json", f"[{TEXTS[0]},{BROKEN},{BROKEN}]")
    assert [row["outcome"] for row in rows] == ["ok", "row_malformed", "row_malformed"]
    assert len({row["candidate_id"] for row in rows}) == 3


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_an_array_that_is_cut_off_gives_what_is_before_the_cut_x34(tmp_path, cut):
    data = json.dumps(objects(4))[:-cut]
    *before, end = listed(tmp_path / "a.json", data)
    assert short(before) == OK[: 4 if cut == 1 else 3]
    assert end["outcome"] == "archive_truncated"
    many = gzip.compress(json.dumps(objects(30_000)).encode())[:-5]
    rows = listed(tmp_path / "b.json.gz", many)
    assert [row["outcome"] for row in rows] == ["ok"] * 30_000 + ["archive_truncated"]


def test_an_array_streams_across_its_buffers_x34(tmp_path):
    many = objects(60_000)
    rows = listed(tmp_path / "a.json", json.dumps(many))
    assert [row["alt_text"] for row in rows] == [one["caption"] for one in many]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (json.dumps({"data": objects(2)}), "one JSON object .data., wanted one object per row, or an array of them"),
        (json.dumps({"url": {"0": "u"}, "caption": {"0": "x"}}, indent=1), "one JSON object .url, caption."),
        (json.dumps([["u", "x"]]), "no JSON object in its first rows: line 1: Expected `object`"),
        ('["a", "b"]', "no JSON object in its first rows"),
        ('{"url": "u", "capt', "no JSON object in its first rows: line 1"),
    ],
)
def test_json_that_is_no_list_of_objects_says_what_is_wanted_x34(tmp_path, text, match):
    with pytest.raises(InputError, match=match) as caught:
        listed(tmp_path / "a.json", text)
    assert caught.value.code == "input_unreadable"
    assert "\n" not in str(caught.value)


def test_an_array_without_elements_has_no_rows_x34(tmp_path):
    assert listed(tmp_path / "a.json", "[]") == []
    assert listed(tmp_path / "b.json", " [\n ]\n") == []


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ({"url": URL.format(9)}, ("alt_missing", None)),
        ({"url": URL.format(9), "caption": None}, ("alt_missing", None)),
        ({"url": URL.format(9), "caption": []}, ("alt_missing", None)),
        ({"url": URL.format(9), "caption": 5}, ("row_malformed", "line 1")),
        ({"url": URL.format(9), "caption": {"en": "x"}}, ("row_malformed", "line 1")),
        ({"caption": "no url"}, ("url_invalid", None)),
        ({}, ("url_invalid", None)),
        ([URL.format(9), "x"], ("row_malformed", "line 1")),
        ("x", ("row_malformed", "line 1")),
        (None, ("row_malformed", "line 1")),
        (float("nan"), ("row_malformed", "line 1")),
        ({"url": URL.format(9), "caption": float("nan")}, ("alt_missing", None)),
        ({"url": URL.format(9), "caption": "a", "width": float("nan")}, ("ok", "a")),
    ],
)
def test_the_first_row_of_json_lines_costs_no_more_than_any_other_x35(tmp_path, first, expected):
    found = short(listed(tmp_path / "a.jsonl", "\n".join([json.dumps(first), *TEXTS, json.dumps(first)])))
    again = ("row_malformed", "line 6") if expected[0] == "row_malformed" else expected
    assert [(outcome, text if outcome in ("ok", "row_malformed") else None) for outcome, text in found] == [
        expected,
        *OK,
        again,
    ]


def test_a_field_that_thousands_of_first_rows_lack_is_found_x35(tmp_path):
    without = json.dumps({"url": URL.format(9)}) + "\n"
    rows = listed(tmp_path / "a.jsonl", without * 3000 + "\n".join(TEXTS))
    assert [row["outcome"] for row in rows] == ["alt_missing"] * 3000 + ["ok"] * 4


@pytest.mark.parametrize("word", ["NaN", "nan", "None", "null", "NULL", "<NA>", "\\N", " nan "])
def test_what_pandas_and_databases_write_for_no_text_is_no_text_x35(tmp_path, word):
    rows = listed(tmp_path / "a.csv", f"url,caption\n{URL.format(1)},{word}\n{URL.format(1)},{word}cy\n")
    assert [row["outcome"] for row in rows] == ["alt_missing", "ok"]
    (row,) = listed(tmp_path / "a.jsonl", json.dumps({"url": URL.format(1), "caption": word}))
    assert (row["outcome"], row["alt_text"]) == ("alt_missing", None)


def test_a_list_of_texts_gives_a_candidate_for_each_x38(tmp_path):
    values = [["first text", "second text"], [], [None], ["only", None], "plain", ["x", 5]]
    lines = [json.dumps({"url": URL.format(number), "caption": texts}) for number, texts in enumerate(values)]
    for name, text in {"a.jsonl": "\n".join(lines), "b.json": "[" + ",".join(lines) + "]"}.items():
        rows = listed(tmp_path / name, text)
        assert [row["outcome"] for row in rows] == [
            "ok",
            "ok",
            "alt_missing",
            "alt_missing",
            "ok",
            "ok",
            "row_malformed",
        ]
        texts = [row["alt_text"] for row in rows if row["outcome"] == "ok"]
        assert texts == ["first text", "second text", "only", "plain"]
        assert len({row["candidate_id"] for row in rows}) == len({row["pair_id"] for row in rows[:2]}) + 5
        assert rows[0]["url_id"] == rows[1]["url_id"]
