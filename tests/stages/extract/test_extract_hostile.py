"""Files made to end a build: each costs what is hostile in it, and nothing before, behind or beside it."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import InputError
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.lists import parquet_lists
from pipeline.stages.extract.sources.inputs import find_inputs
from pipeline.stages.extract.split_rows import extract_split, extract_tables

Rows = list[tuple[str, str | None]]
END = bytes(1024)


def rows_of(path: Path, data: bytes) -> Rows:
    """Outcome and text of each row of a file, by both ways to read it."""
    path.write_bytes(data)
    (split,) = find_inputs([str(path)], "auto")
    found = [row for table in extract_tables(split, Config()) for row in table.to_pylist()]
    assert found == [row for batch in extract_split(split, Config()) for row in batch]
    assert all(path.name in row["detail"] for row in found if row["outcome"] != "ok")
    return [(row["outcome"], row["alt_text"]) for row in found]


def in_tar(name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def page(name: str) -> bytes:
    return in_tar(f"{name}.html", b'<img src="https://i.example/%b.jpg" alt="%b">' % ((name.encode(),) * 2))


def sample(name: str) -> bytes:
    return in_tar(f"{name}.jpg", b"picture") + in_tar(f"{name}.txt", name.encode())


HEADERS = {
    "3,000 pax headers": in_tar("p", b"12 path=abc\n", b"x") * 3000,
    "3,000 long names": in_tar("l", b"name\0", b"L") * 3000,
    "a pax header of digits": in_tar("p", b"1" * 60_000, b"x"),
    "a size that is no number": in_tar("p", b"12 size=ten\n", b"x"),
}


@pytest.mark.parametrize("hostile", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_hostile_header_in_a_tar_of_pages_is_one_row_x80_x81(
    tmp_path: Path, hostile: bytes, pack: Callable[[bytes], bytes]
) -> None:
    """X80, X81: the pages before it stay, in the same order."""
    found = rows_of(tmp_path / "x.tar", pack(page("a") + page("b") + hostile + page("c") + END))
    assert found == [("ok", "a"), ("ok", "b"), ("archive_malformed", None)]


@pytest.mark.parametrize("hostile", HEADERS.values(), ids=HEADERS)
def test_a_hostile_header_in_a_tar_of_samples_is_one_row_x80_x81(tmp_path: Path, hostile: bytes) -> None:
    """X80, X81: the sample right before it may go on behind it, so it is lost too, as at a cut."""
    found = rows_of(tmp_path / "x.tar", sample("a") + sample("b") + hostile + sample("c") + END)
    assert found == [("ok", "a"), ("archive_malformed", None)]


def test_a_sparse_file_whose_size_is_no_number_costs_its_sample_x80(tmp_path: Path) -> None:
    """X80: tarfile raises ValueError."""
    sparse = in_tar("p", b"24 GNU.sparse.size=many\n", b"x")
    found = rows_of(tmp_path / "x.tar", sample("a") + sparse + sample("b") + sample("c") + END)
    assert sorted(found) == [("ok", "a"), ("ok", "c"), ("record_malformed", None)]


def wat_record(text: str, more: str = "") -> bytes:
    link = {"path": "IMG@/src", "url": "/x.jpg", "alt": text}
    response = {"Response-Message": {"Status": "200"}, "HTML-Metadata": {"Links": [link, "more"]}}
    page = {"WARC-Header-Metadata": {"WARC-Target-URI": "http://a.example/"}}
    envelope = {"Envelope": page | {"Payload-Metadata": {"HTTP-Response-Metadata": response}}}
    value = json.dumps(envelope).replace(', "more"', more).encode()
    head = "WARC/1.0\r\nWARC-Type: metadata\r\nWARC-Date: 2024-05-06T07:08:09Z\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(value)}\r\n\r\n".encode() + value + b"\r\n\r\n"


@pytest.mark.parametrize("more", [', {"path": "IMG@/src", "z": ' + "[" * 200_000, ', {"path": ' + "[" * 200_000])
def test_a_record_of_a_wat_that_is_nested_too_deep_costs_itself_x80(tmp_path: Path, more: str) -> None:
    """X80: not the records before and behind it."""
    found = rows_of(tmp_path / "x.wat", wat_record("a") + wat_record("b", more) + wat_record("c"))
    assert found == [("ok", "a"), ("record_malformed", None), ("ok", "c")]


@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
@pytest.mark.parametrize("depth", [500, 2000, 200_000])
@pytest.mark.parametrize("odd", ["", '"y": NaN, '])
def test_a_row_of_a_list_that_is_nested_too_deep_costs_itself_x80(
    tmp_path: Path, name: str, depth: int, odd: str
) -> None:
    """X80: in the first row too, where the driver looks at it."""
    url = '"url": "https://i.example/a.jpg"'
    rows = [
        f'{{{url}, "caption": "{text}", {odd}"z": {"[" * deep}{"]" * deep}}}' for text, deep in (("a", depth), ("b", 1))
    ]
    text = "[" + ",\n".join(rows) + "]" if name == "x.json" else "\n".join(rows)
    first, second = rows_of(tmp_path / name, text.encode())
    assert first in (("ok", "a"), ("row_malformed", None))
    assert second == ("ok", "b")


def test_a_long_field_in_the_index_of_pages_costs_nothing_x80(tmp_path: Path) -> None:
    """X80: the csv module raises above 1 MiB."""
    index = b"name\turl\na.html\thttp://a.example/\nb.html\t" + b"x" * 1_100_000 + b"\nc.html\thttp://c.example/\n"
    found = rows_of(tmp_path / "x.tar", in_tar("index.tsv", index) + page("a") + page("b") + page("c") + END)
    assert found == [("ok", "a"), ("ok", "b"), ("ok", "c")]


def test_a_list_of_paths_with_a_zero_byte_is_one_line_x80(tmp_path: Path) -> None:
    """X80: the system takes no such name, and Python raises ValueError."""
    (tmp_path / "x.paths").write_bytes(b"/a\0b.warc.gz\n")
    with pytest.raises(InputError, match=r"input_unreadable: \S*x\.paths: embedded null byte"):
        find_inputs([str(tmp_path / "x.paths")], "auto")


@pytest.mark.parametrize("name", ["x.parquet", "x.warc.gz", "x.csv.gz", "x.tar", "x.html.tar.gz", "x.jsonl", "x.zst"])
def test_nonsense_under_any_name_is_one_line_or_rows_x80(tmp_path: Path, name: str) -> None:
    """X80: never another exception."""
    begins = [
        b"PAR1",
        b"\x1f\x8b\x08\0",
        b"\x28\xb5\x2f\xfd",
        b"PK\3\4",
        b"{",
        b"[[",
        b"WARC/1.0\r\n",
        bytes(512),
        b"url,caption\n",
    ]
    for number, begin in enumerate(begins):
        noise = Random(number).randbytes(3000) if number % 2 else b"\xff" * 700 + b"PAR1"
        (tmp_path / name).write_bytes(begin + noise)
        with suppress(InputError):
            splits = find_inputs([str(tmp_path / name)], "auto")
            assert all(isinstance(row["outcome"], str) for batch in extract_split(splits[0], Config()) for row in batch)


def test_a_value_that_a_dictionary_repeats_is_never_held_for_all_rows_x83(tmp_path: Path) -> None:
    """X83: 694 bytes became 2.2 GiB; what is held at a time does not grow with the rows."""
    most = {}
    for rows in (1024, 4096):
        path = tmp_path / f"{rows}.parquet"
        texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * 100_000])
        urls = pa.array(["https://i.example/a.jpg"] * rows)
        pq.write_table(pa.table({"url": urls, "caption": texts}), path, compression="zstd")
        assert path.stat().st_size < 4000
        (split,) = find_inputs([str(path)], "auto")
        sizes = [(table.num_rows, table.nbytes) for table in extract_tables(split, Config())]
        assert sum(found for found, _ in sizes) == rows
        most[rows] = max(size for _, size in sizes)
    assert most[4096] <= most[1024] < 2**26


def test_a_row_group_that_declares_billions_of_values_is_not_read_x83(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X83: its rows are counted, and those of the group before it stay. A value above 1 MiB costs its row."""
    monkeypatch.setattr(parquet_lists, "MAX_VALUES", 10)
    urls = [f"https://i.example/{number}.jpg" for number in range(30)]
    texts = ["a", "x" * (2**20 + 1), *"bcdefgh"]
    with pq.ParquetWriter(tmp_path / "x.parquet", pa.schema({"url": pa.string(), "caption": pa.string()})) as out:
        out.write_table(pa.table({"url": urls[:9], "caption": texts}))
        out.write_table(pa.table({"url": urls, "caption": urls}))
    (split,) = find_inputs([str(tmp_path / "x.parquet")], "auto")
    rows = [(row["outcome"], row["count"]) for batch in extract_split(split, Config()) for row in batch]
    assert rows == [("ok", 1), ("row_malformed", 1), *[("ok", 1)] * 7, ("archive_malformed", 30)]
