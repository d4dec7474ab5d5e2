"""The stage on a folder of everything: counted from the outside, told line by line, hashed once."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reports import Lines

from pipeline import funnel
from pipeline.core.config_files import load_config
from pipeline.core.manifest import Manifest
from pipeline.stages.extract.raw.places import File, file_at
from pipeline.stages.extract.sources import digests
from pipeline.stages.extract.sources.digests import MEMORY, sha256s_of
from pipeline.stages.extract.sources.input_accounts import tell_after


def build(run: Path, inputs: Path, **more: bool) -> tuple[Manifest, list[str]]:
    """Extract alone, as a new process would: nothing is known but what the run remembers."""
    digests.forget()
    config = load_config(funnel.Config, sets=[f"extract.inputs={json.dumps([str(inputs)])}", "spark.partitions=2"])
    reporter = Lines()
    manifests = funnel.build(funnel.open_run(str(run), config, reporter, **more), "extract")
    return manifests[-1], reporter.lines


@pytest.fixture
def inputs(tmp_path: Path, record) -> Path:
    """Lists, an archive and a page in nested folders, some beside what is no data; all written an hour ago."""
    top = tmp_path / "in [1]"
    for number in range(3):
        path = top / f"lang={number}" / "part.csv"
        path.parent.mkdir(parents=True)
        rows = [[f"https://i.example/{number}-{row}.jpg", f"picture {row}"] for row in range(5 + number)]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["url", "caption"], *rows])
    (top / "none.csv").write_text("url,caption\n")
    (top / "_SUCCESS").touch()
    (top / "pages.warc.gz").write_bytes(gzip.compress(record(b'<img src="/w.jpg" alt="of an archive">')))
    (top / "README.html").write_text('<img src="https://i.example/h.jpg" alt="of a page">')
    pq.write_table(pa.table({"url": ["https://i.example/p.jpg", "bad"], "caption": ["x", "y"]}), top / "p.parquet")
    for path in top.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return top


def test_every_row_of_a_mixed_folder_is_counted_and_told_x40_x41(spark, tmp_path, inputs) -> None:
    """X40, X41: what other readers count is what enters; each input has its rows; one without rows is warned of."""
    lists = [row for path in inputs.rglob("*.csv") for row in csv.DictReader(path.open(newline=""))]
    n_rows = len(lists) + pq.read_metadata(inputs / "p.parquet").num_rows + 2  # and a picture on each of two pages
    found, lines = build(tmp_path / "run {a,b} [v1]", inputs)
    assert found.rows_in == n_rows == found.kept + found.dropped["url_invalid"]
    accounts = {os.path.relpath(one["path"], inputs): (one["format"], one["rows"]) for one in found.facts["inputs"]}
    assert accounts == {
        ".": ("html", 1),
        "lang=0/part.csv": ("csv", 5),
        "lang=1/part.csv": ("csv", 6),
        "lang=2/part.csv": ("csv", 7),
        "none.csv": ("csv", 0),
        "p.parquet": ("parquet", 2),
        "pages.warc.gz": ("warc", 1),
    }
    assert f"extract: not read, beside the inputs: 1 hidden ({inputs}/_SUCCESS)" in lines
    assert f"extract: warning: 1 of 7 inputs gave 0 rows: {inputs}/none.csv" in lines


def test_unchanged_inputs_are_not_hashed_again_unless_asked_x46(spark, tmp_path, inputs) -> None:
    """X46: a change that leaves size and time alone is found by --verify-inputs only; any other always."""
    run = tmp_path / "run"
    first, _ = build(run, inputs)
    remembered = {path: sha256 for path, _, _, sha256 in json.loads((run / MEMORY).read_text())}
    assert len(remembered) == 7
    assert build(run, inputs)[1][-1].startswith(" extract: up to date")

    changed = inputs / "lang=0" / "part.csv"
    changed.write_bytes(changed.read_bytes().replace(b"picture 4", b"drawing 4"))
    os.utime(changed, (1e9, 1e9))
    assert build(run, inputs)[1][-1].startswith(" extract: up to date")
    found, lines = build(run, inputs, verify_inputs=True)
    assert "[input changed: inputs has other content]" in lines[-1]
    assert (found.rows_in, found.measured) == (first.rows_in, 5)  # the other parts are used again

    os.utime(changed, (1e9, 1e9 + 5))
    assert build(run, inputs)[1][-1].startswith(" extract: up to date")  # hashed, and equal
    changed.write_bytes(changed.read_bytes().replace(b"drawing 4", b"etching 4"))
    assert "input changed" in build(run, inputs)[1][-1]


def test_a_file_that_was_just_written_is_not_remembered_x46(tmp_path: Path) -> None:
    """X46: it may change again in the same tick of its clock."""
    digests.forget()
    (tmp_path / "a").write_bytes(b"one")
    assert file_at(str(tmp_path / "a")) is not None
    for data in (b"one", b"two"):
        (tmp_path / "a").write_bytes(data)
        os.utime(tmp_path / "a", ns=(0, 2**62))
        fresh = file_at(str(tmp_path / "a"))
        assert isinstance(fresh, File)
        assert sha256s_of([fresh])[fresh] == hashlib.sha256(data).hexdigest()
        assert digests.unknown([fresh]) == [fresh]
    os.utime(tmp_path / "a", (1e9, 1e9))
    old = file_at(str(tmp_path / "a"))
    assert isinstance(old, File)
    sha256s_of([old])
    assert digests.unknown([old]) == []


def test_pages_without_rows_are_not_confused_with_the_other_inputs_of_their_folder_x41():
    accounts = [
        {"path": "in", "format": "html", "rows": 0, "candidates": 0},
        {"path": "in/a.csv", "format": "csv", "rows": 2, "candidates": 0},
        {"path": "in/b.csv", "format": "csv", "rows": 2, "candidates": 2},
    ]
    reporter = Lines()
    tell_after(reporter, accounts)
    assert reporter.lines == [
        "extract: warning: 1 of 3 inputs gave 0 rows: in (html)",
        "extract: warning: 1 of 3 inputs gave no candidate, only dropped rows: in/a.csv",
    ]
