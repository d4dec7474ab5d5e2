"""The index of queries of a run in a bucket: a machine fetches one copy, and trusts no other bytes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from checkout import ROOT

from pipeline.balance.index import open_index, write_index
from pipeline.core.storage import open_storage

WORKER = """
import sys
import pyarrow as pa
from pipeline.balance.index import open_index
from pipeline.core.storage import FileRecord, Storage, open_storage
place, path, rows, size, sha256 = sys.argv[1:]
index = open_index(open_storage(place), FileRecord(path, int(rows), int(size), sha256))
print(index.match(pa.array(["the red fox"])).to_pylist())
"""


def test_workers_of_a_machine_fetch_one_copy_of_the_index(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = server.bucket() + "/runs/one"
    file = write_index(open_storage(place), "text/queries", ["fox", "red fox"])
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    arguments = [place, file.path, str(file.rows), str(file.bytes), file.sha256]
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(3)
    ]
    assert [worker.communicate(timeout=60)[0] for worker in workers] == ["[['fox', 'red fox']]\n"] * 3
    assert server.asked(f"GET /{place.split('/')[2]}/runs/one/{file.path}") == 1
    assert len(list(tmp_path.glob("*/*.index"))) == 1


def test_a_copy_with_other_bytes_is_fetched_again(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(server.bucket() + "/runs/one")
    file = write_index(storage, "text/queries", ["fox", "red fox"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    open_index.cache_clear()
    open_index(storage, file)
    (copy,) = tmp_path.glob("*/*.index")
    copy.write_bytes(copy.read_bytes().replace(b"foxred fox", b"fixred fix"))
    open_index.cache_clear()
    assert open_index(storage, file).match(pa.array(["the red fox"])).to_pylist() == [["fox", "red fox"]]
