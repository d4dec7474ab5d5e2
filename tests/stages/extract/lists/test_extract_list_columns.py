"""Which columns of a list are read, and what types Parquet may give them."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from url_list import listed, short

from pipeline.core.errors import InputError
from pipeline.stages.extract.config import Columns
from pipeline.stages.extract.lists.list_columns import choices, chosen_columns
from pipeline.stages.extract.sources.inputs import find_inputs

URL = "https://img.example/1.jpg"
URLS = [URL, "https://img.example/2.jpg", None]
TEXTS = ["a cat", "un café", None]
FOUND = [("ok", "a cat"), ("ok", "un café"), ("url_invalid", None)]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ("url,image_url,alt_text", Columns("image_url", "alt_text")),
        ("image_url,url,caption,text", Columns("image_url", "caption")),
        ("URL,Image URL,Alt Text", Columns("Image URL", "Alt Text")),
        ("url,imageUrl,altText", Columns("imageUrl", "altText")),
        ("page_url,IMG-URL,title", Columns("IMG-URL", "title")),
        ("src,url,TEXT", Columns("url", "TEXT")),
        ("url,image_src,text", Columns("image_src", "text")),
        ("photo_url,photo_image_url,photo_description,title", Columns("photo_image_url", "title")),
        ("url,URL,text,caption,description", Columns("url", "caption")),
    ],
)
def test_a_column_named_for_the_image_comes_before_url_x36(names, chosen):
    assert chosen_columns(dict.fromkeys(names.split(","), "string"), Columns(), "a.csv", "csv") == chosen


def test_the_image_url_is_read_and_the_choice_is_said_x36(tmp_path):
    (row,) = listed(tmp_path / "a.csv", f"url,image_url,alt_text\nhttps://blog.example/post,{URL},a cat\n")
    assert row["image_url"] == URL
    one, two = Columns("image_url", "alt_text"), Columns("url", "caption", boxes="faces")
    assert list(choices([("x/a.csv", one), ("x/b.csv", one), ("y.parquet", two), ("z.json", Columns())])) == [
        "a.csv and 1 more: image URL from column 'image_url', text from column 'alt_text'",
        "y.parquet: image URL from column 'url', text from column 'caption', boxes from column 'faces'",
    ]


PAGE = "https://blog.example/post"


@pytest.mark.parametrize(
    ("names", "values", "chosen"),
    [
        ("url,image", [PAGE, URL], "image"),
        ("url,image", [PAGE, "https://cdn.example/9"], "image"),
        ("URL,Img,src", [PAGE, "", URL], "src"),
        ("url,src", [PAGE, URL], "src"),
        ("url,src", [PAGE, "https://source.example/"], "url"),
        ("url,og:image", [PAGE, URL], "og:image"),
        ("url,thumbnail_image", [PAGE, URL], "url"),
        ("url,photo_url", [PAGE, f"{URL}?w=9"], "photo_url"),
        ("page_url,image", [PAGE, URL], "image"),
        ("url,image", [URL, URL], "url"),
        ("url,image", [PAGE, "0001.jpg"], "url"),
        ("url,image", [PAGE, ""], "url"),
        ("url,image,image_src", [PAGE, URL, URL], "image_src"),
    ],
)
def test_a_column_that_may_hold_images_is_read_if_its_values_are_their_urls_x36(tmp_path, names, values, chosen):
    rows = [dict(zip([*names.split(","), "text"], [*values, "a cat"], strict=True))] * 2
    table = pa.Table.from_pylist(rows)
    for container, data in {
        "csv": "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]).encode(),
        "jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "parquet": parquet(table),
    }.items():
        path = tmp_path / f"a.{container}"
        path.write_bytes(data)
        (split,) = find_inputs([str(path)], "auto")
        assert split.columns.url == chosen, container
    (split,) = find_inputs([str(path)], "auto", Columns("text"))
    assert split.columns.url == "text"


def test_a_column_of_images_is_not_held_in_memory_to_be_looked_at_x36(tmp_path):
    path = tmp_path / "a.parquet"
    images = pa.array([b"\xff" * 100_000] * 2000)
    pq.write_table(pa.table({"url": [PAGE] * 2000, "image": images, "caption": ["x"] * 2000}), path)
    usual, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        (split,) = find_inputs([str(path)], "auto")
    finally:
        pa.set_memory_pool(usual)
    assert split.columns.url == "url"
    assert pool.max_memory() < 30 * 2**20


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    "type_",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)
def test_text_in_parquet_is_read_whatever_its_type_x37(tmp_path, type_, keep):
    table = pa.table({"url": array(URLS, type_), "caption": array(TEXTS, type_)})
    assert short(listed(tmp_path / "a.parquet", parquet(table, store_schema=keep))) == FOUND


@pytest.mark.parametrize(
    "type_",
    [
        pa.list_(pa.string()),
        pa.large_list(pa.large_string()),
        pa.list_(pa.string(), 2),
        pa.list_view(pa.string()),
        pa.list_(pa.string_view()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_a_list_of_texts_in_parquet_gives_a_candidate_for_each_x38(tmp_path, type_):
    table = pa.table({"url": URLS[:2], "caption": pa.array([["a cat", "a pet"], None], type_)})
    found = short(listed(tmp_path / "a.parquet", parquet(table)))
    assert found == [("ok", "a cat"), ("ok", "a pet"), ("alt_missing", None)]


@pytest.mark.parametrize("type_", [pa.binary(), pa.list_(pa.binary())], ids=str)
def test_bytes_in_parquet_that_are_not_utf_8_cost_their_row_x37(tmp_path, type_):
    values = [b"caf\xe9", b"fine"]
    captions = pa.array([[b"ok", one] for one in values] if pa.types.is_list(type_) else values, type_)
    found = short(listed(tmp_path / "a.parquet", parquet(pa.table({"url": URLS[:2], "caption": captions}))))
    assert found[0] == ("row_malformed", "line 1")
    assert found[-1] == ("ok", "fine")


def test_columns_of_nulls_and_files_without_rows_are_read_x37(tmp_path):
    nulls = pa.table({"url": URLS[:2], "caption": pa.nulls(2)})
    assert short(listed(tmp_path / "a.parquet", parquet(nulls))) == [("alt_missing", None)] * 2
    for empty in (pa.table({"url": pa.nulls(0), "caption": pa.nulls(0)}), nulls.slice(0, 0).cast(SCHEMA)):
        assert listed(tmp_path / "b.parquet", parquet(empty)) == []
    out = io.BytesIO()
    pq.ParquetWriter(out, SCHEMA).close()
    assert pq.ParquetFile(io.BytesIO(out.getvalue())).num_row_groups == 0
    assert listed(tmp_path / "c.parquet", out.getvalue()) == []


@pytest.mark.parametrize("type_", [pa.float64(), pa.int32(), pa.int64()])
def test_a_column_of_numbers_is_one_of_missing_texts_if_it_has_none_x37(tmp_path, type_):
    """X35: pandas writes such a column as double, DuckDB as int32."""
    for values in ([None, None], [None, 1]):
        data = parquet(pa.table({"url": URLS[:2], "caption": pa.array(values, type_)}), row_group_size=1)
        if values[1] is None:
            assert short(listed(tmp_path / "a.parquet", data)) == [("alt_missing", None)] * 2
        else:
            with pytest.raises(InputError, match=f"column 'caption' is {type_}, wanted string"):
                listed(tmp_path / "a.parquet", data)


SCHEMA = pa.schema([("url", pa.string()), ("caption", pa.string())])


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (pa.table({"url": [5], "caption": ["x"]}), "column 'url' is int64, wanted string"),
        (pa.table({"url": [["u"]], "caption": ["x"]}), "column 'url' is list of strings, wanted string"),
        (pa.table({"url": ["u"], "caption": [{"en": "x"}]}), "column 'caption' is struct<en: string>, wanted"),
        (pa.table({"url": ["u"], "caption": [[["x"]]]}), "column 'caption' is list<.*list<.*string>>, wanted"),
        (pa.table([["u"], ["v"], ["x"]], names=["url", "url", "caption"]), "column 'url' is there twice"),
        (pa.table({"link": ["u"], "caption": ["x"]}), r"no column for the url \(columns: link, caption\)"),
    ],
)
def test_a_column_that_cannot_be_read_is_named_with_its_type_x37(tmp_path, table, match):
    with pytest.raises(InputError, match=match) as caught:
        listed(tmp_path / "a.parquet", parquet(table))
    assert caught.value.code == "input_schema"


def test_a_column_with_a_dot_in_its_name_is_one_column_x37(tmp_path):
    data = parquet(pa.table({"image.url": [URL], "my.caption": ["a cat"]}))
    assert short(listed(tmp_path / "a.parquet", data, Columns("image.url", "my.caption"))) == [("ok", "a cat")]


def test_rows_behind_a_broken_page_are_counted_x37(tmp_path):
    """X2"""
    count = 30_000
    urls = [f"https://img.example/{number}.jpg" for number in range(count)]
    table = pa.table({"url": urls, "caption": [f"caption {number * 7919}" for number in range(count)]})
    data = bytearray(parquet(table, row_group_size=10_000, use_dictionary=False, data_page_size=4096))
    page = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(1).data_page_offset
    data[page : page + 40] = b"\xff" * 40
    *good, end = listed(tmp_path / "a.parquet", bytes(data))
    assert {row["outcome"] for row in good} == {"ok"}
    assert end["outcome"] == "archive_malformed"
    assert len(good) + end["count"] == count
    assert len(good) >= 8192


def array(values: list[str | None], type_: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(type_):
        return pa.array(values).dictionary_encode().cast(type_)
    is_text = pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    return pa.array(values if is_text else [value and value.encode() for value in values], type_)


def parquet(table: pa.Table, **settings: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **settings)
    return out.getvalue()
