"""Lists against other readers and writers: pandas, DuckDB, Polars, pyarrow, Spark and Python's csv.

Where they differ the test says so: an unquoted empty field is null for DuckDB, and a quoted one is not.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from url_list import listed

from pipeline.stages.extract.lists.delimited import Delimited
from pipeline.stages.extract.lists.json_lists import json_rows
from pipeline.stages.extract.lists.parquet_lists import parquet_rows

NAMES = ["url", "caption"]
TEXT = st.text(alphabet=st.sampled_from('"",;|\t\n\' \\ab{[é中😀#'), max_size=12)
ROWS = st.lists(TEXT, min_size=1, max_size=30)
LONG = settings(max_examples=300, deadline=None)
SHORT = settings(max_examples=12, deadline=None)


def frame_of(texts: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"url": [f"https://i.example/{number}.jpg" for number in range(len(texts))], "caption": texts})


def values_of(data: bytes, container: str) -> list[tuple[str, str]]:
    rows = [values for _, values in Delimited(io.BufferedReader(io.BytesIO(data)), container).rows(NAMES)]
    assert all(isinstance(values, dict) for values in rows), rows
    return [(values["url"], values["caption"]) for values in rows]


def by_pandas(data: bytes, delimiter: str, quoting: int = csv.QUOTE_MINIMAL) -> list[tuple[str, str]]:
    frame = pd.read_csv(io.BytesIO(data), sep=delimiter, dtype=str, keep_default_na=False, quoting=quoting)
    return list(frame.itertuples(index=False, name=None))


def by_duckdb(path: Path, delimiter: str) -> list[tuple[str, str]]:
    query = (
        "select url, coalesce(caption, '') from read_csv(?, header=true, all_varchar=true, delim=?, quote='\"',"
        " escape='\"', auto_detect=false, columns={'url': 'varchar', 'caption': 'varchar'}, strict_mode=true)"
    )
    with duckdb.connect() as connection:
        return connection.execute(query, [str(path), delimiter]).fetchall()


def compare_delimited(texts: list[str], folder: Path) -> None:
    frame = frame_of(texts)
    wanted = list(frame.itertuples(index=False, name=None))
    for delimiter in (",", ";", "|", "\t"):
        container = "tsv" if delimiter == "\t" else "csv"
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
            data = frame.to_csv(index=False, sep=delimiter, quoting=quoting).encode()
            assert values_of(data, container) == wanted == by_pandas(data, delimiter)
            path = folder / "a.csv"
            path.write_bytes(data)
            assert by_duckdb(path, delimiter) == wanted


@SHORT
@given(ROWS)
def test_csv_and_tsv_are_read_as_pandas_and_duckdb_read_them(tmp_path_factory, texts):
    compare_delimited(texts, tmp_path_factory.getbasetemp())


@pytest.mark.long
@LONG
@given(ROWS)
def test_csv_and_tsv_are_read_as_pandas_and_duckdb_read_them_long(tmp_path_factory, texts):
    compare_delimited(texts, tmp_path_factory.getbasetemp())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet=st.sampled_from("\",;|' ab1é"), max_size=12), min_size=1, max_size=8))
def test_a_tsv_without_quotes_is_read_as_pandas_reads_it_without_quotes(texts):
    lines = [f"https://i.example/{number}.jpg\t{text}" for number, text in enumerate(texts)]
    data = "\n".join(["url\tcaption", *lines, ""]).encode()
    for ours, (url, text) in zip(values_of(data, "tsv"), by_pandas(data, "\t", csv.QUOTE_NONE), strict=True):
        is_quoted = len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1].replace('""', "")
        assert ours == (url, text[1:-1].replace('""', '"') if is_quoted else text)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(TEXT.filter(lambda text: "\n" not in text), st.booleans()), min_size=1, max_size=10))
def test_rows_beside_open_quotes_are_all_read_and_every_line_is_counted_x30(rows):
    """X30"""
    out = io.StringIO("url,caption\n")
    out.seek(0, io.SEEK_END)
    writer = csv.writer(out, lineterminator="\n")
    for number, (text, is_broken) in enumerate(rows):
        if is_broken:
            out.write(f'https://i.example/{number}.jpg,"open {text.replace(chr(34), "")}\n')
        else:
            writer.writerow([f"https://i.example/{number}.jpg", text])
    found = list(Delimited(io.BufferedReader(io.BytesIO(out.getvalue().encode())), "csv").rows(NAMES))
    assert [number for number, _ in found] == list(range(2, len(rows) + 2))
    for (_, values), (text, is_broken) in zip(found, rows, strict=True):
        assert isinstance(values, ValueError) if is_broken else values["caption"] == text


@SHORT
@given(st.lists(st.one_of(st.none(), TEXT, st.text(max_size=8)), min_size=1, max_size=30))
def test_json_lines_and_arrays_are_read_as_duckdb_reads_them(tmp_path_factory, texts):
    rows = [{"url": f"https://i.example/{number}.jpg", "caption": text} for number, text in enumerate(texts)]
    path = tmp_path_factory.getbasetemp() / "a.json"
    for data in ("\n".join(map(json.dumps, rows)), json.dumps(rows), json.dumps(rows, indent=1, ensure_ascii=False)):
        path.write_text(data)
        with duckdb.connect() as connection:
            query = "select url, caption from read_json(?, columns={'url': 'varchar', 'caption': 'varchar'})"
            theirs = connection.execute(query, [str(path)]).fetchall()
        assert [(values["url"], values["caption"]) for _, values in json_rows(path)] == theirs


def to_duckdb(frame: pd.DataFrame, path: Path) -> None:
    with duckdb.connect() as connection:
        connection.register("frame", frame)
        connection.execute(f"copy (select * from frame) to '{path}' (format parquet)")


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "pandas": lambda frame, path: frame.to_parquet(path, index=False),
    "pandas, with its index": lambda frame, path: frame.iloc[::-1].iloc[::-1].to_parquet(path),
    "pandas, categories": lambda frame, path: frame.astype("category").to_parquet(path),
    "pandas, pyarrow strings": lambda frame, path: frame.astype("string[pyarrow]").to_parquet(path),
    "polars": lambda frame, path: pl.from_pandas(frame).write_parquet(path),
    "polars, categories": lambda frame, path: pl.from_pandas(frame).cast(pl.Categorical).write_parquet(path),
    "duckdb": to_duckdb,
    "pyarrow": lambda frame, path: pq.write_table(pa.Table.from_pandas(frame), path, version="1.0", compression="none"),
    "pyarrow, views": lambda frame, path: pq.write_table(
        pa.Table.from_pandas(frame, preserve_index=False).cast(pa.schema([(name, pa.string_view()) for name in NAMES])),
        path,
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_parquet_is_read_whoever_wrote_it_x37(tmp_path, writer):
    frame = frame_of(["a cat", None, "", "é\n中", "a cat", *map(str, range(200))])
    WRITERS[writer](frame, tmp_path / "a.parquet")
    rows = [(values["url"], values["caption"]) for _, values in parquet_rows(tmp_path / "a.parquet", NAMES)]
    assert rows == list(frame.itertuples(index=False, name=None))
    assert len(listed(tmp_path / "a.parquet")) == len(frame)


def test_lists_that_spark_writes_are_read_x37(spark, tmp_path):
    """X31"""
    texts = [
        'The sign says "open"',
        "tab\there, and comma",
        "back\\slash",
        'back\\slash "q"',
        "two\nlines",
        '"',
        "é 中",
    ]
    frame = spark.createDataFrame(frame_of(texts)).coalesce(1)
    frame.write.parquet(str(tmp_path / "parquet"))
    frame.write.option("header", True).csv(str(tmp_path / "csv"))
    frame.write.option("header", True).option("sep", "\t").csv(str(tmp_path / "tsv"))
    frame.write.json(str(tmp_path / "json"))
    for name in ("parquet", "csv", "tsv", "json"):
        (path,) = (tmp_path / name).glob("part-*")
        assert [row["alt_text"] for row in listed(path)] == texts, name


def test_the_real_list_gives_equal_rows_from_every_format(shared_data, tmp_path):
    frame = pd.read_parquet(shared_data / "laion_urls_10k.parquet")[NAMES]
    expected = listed(shared_data / "laion_urls_10k.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(
        tmp_path / "b.csv.gz", index=False, sep=";", quoting=csv.QUOTE_ALL, encoding="utf-16", lineterminator="\r\n"
    )
    frame.to_csv(tmp_path / "c.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "d.txt", index=False, sep="|", encoding="utf-8-sig")
    frame.to_json(tmp_path / "e.jsonl", orient="records", lines=True)
    frame.to_json(tmp_path / "f.json", orient="records")
    frame.to_json(tmp_path / "g.json", orient="records", indent=2)
    pl.from_pandas(frame).write_parquet(tmp_path / "h.parquet")
    with duckdb.connect() as connection:
        query = "select count(*) from read_csv(?, header=true, all_varchar=true, quote='\"', escape='\"', delim=',')"
        counted = connection.execute(query, [str(tmp_path / "a.csv")]).fetchone()
    assert counted == (len(expected),)
    for path in sorted(tmp_path.iterdir()):
        assert listed(path) == expected, path.name
