"""The operations a run is built from, on a folder and on an object store."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import InputError
from pipeline.core.parts import Part, commit, committed, swept
from pipeline.core.storage import FileRecord, ObjectStorage, Storage, open_storage, read_pictures
from pipeline.core.tables import read_file, read_table, scan, write_file, write_table

MANY_BYTES = 12 << 20  # more than one piece of a multipart upload


def written(storage: Storage, folder: str, data: bytes, suffix: str = ".bin") -> FileRecord:
    with storage.writing(folder, suffix) as file:
        file.write(data)
    return file.record(1)


def test_a_file_is_created_once_and_the_first_stays(storage: Storage) -> None:
    assert storage.create("stage/parts/a.json", b"first")
    assert not storage.create("stage/parts/a.json", b"second")
    assert storage.read("stage/parts/a.json") == b"first"
    assert storage.names("stage/parts") == ["a.json"]


def test_of_writers_at_the_same_moment_one_creates_the_record_r12(storage: Storage) -> None:
    """R12: the record decides, whoever comes first."""
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: storage.create("parts/a.json", b"%d" % number), range(8)))
    assert won.count(True) == 1
    assert storage.read("parts/a.json") == b"%d" % won.index(True)


def test_a_record_whose_answer_was_lost_on_the_way_is_still_ours(store: ObjectStorage) -> None:
    """A client that tries again after a broken connection meets what it wrote itself."""
    assert store.create("parts/a.json", b"names files that no other attempt has")
    assert store.create("parts/a.json", b"names files that no other attempt has")


def test_files_are_replaced_listed_and_deleted(storage: Storage) -> None:
    assert (storage.entries(), storage.names("text"), storage.size("text/a")) == ([], [], None)
    for relative in ("run.json", "text/b", "text/a", "text/rows/c"):
        storage.replace(relative, relative.encode())
    storage.replace("text/a", b"newer")
    assert storage.entries() == ["run.json", "text"]
    assert storage.names("text") == ["a", "b"]
    assert (storage.read("text/a"), storage.size("text/a"), storage.exists("text/c")) == (b"newer", 5, False)
    storage.delete("text/a")
    storage.delete("text/a")
    assert storage.names("text") == ["b"]
    with pytest.raises(FileNotFoundError):
        storage.read("text/a")


def test_a_folder_is_not_another_whose_name_begins_alike(storage: Storage) -> None:
    storage.replace("corpus.next/manifest.json", b"{}")
    assert storage.names("corpus") == []
    assert storage.entries() == ["corpus.next"]


@pytest.mark.parametrize("size", [0, 100, MANY_BYTES])
def test_a_new_file_appears_whole_and_is_recorded_as_it_was_written(storage: Storage, size: int) -> None:
    data = os.urandom(size)
    with storage.writing("crawl/warc", ".warc.gz") as file:
        for start in range(0, size, 1 << 20):
            file.write(data[start : start + (1 << 20)])
        assert file.tell() == size
        if isinstance(storage, ObjectStorage):
            assert storage.names("crawl/warc") == []
    record = file.record(3)
    assert storage.names("crawl/warc") == [file.path.rpartition("/")[2]]
    assert record == FileRecord(file.path, 3, size, hashlib.sha256(data).hexdigest())
    assert storage.record(file.path, 3) == record
    assert storage.intact(record)


@pytest.mark.parametrize("size", [100, MANY_BYTES])
def test_a_file_that_fails_is_not_there_and_leaves_no_upload_behind(storage: Storage, server, size: int) -> None:
    def fail() -> None:
        with storage.writing("corpus", ".tar") as file:
            file.write(bytes(size))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        fail()
    assert storage.names("corpus") == []
    if isinstance(storage, ObjectStorage):
        assert server.unfinished_uploads(storage.root.rpartition("/runs")[0]) == 0


def test_a_stream_reads_and_seeks_like_a_file(storage: Storage) -> None:
    data = os.urandom(100_000)
    storage.replace("a", data)
    with storage.open("a", read_ahead=4096) as stream:
        plain = io.BytesIO(data)
        for offset, size in [(0, 10), (50_000, 20_000), (49_990, 30), (99_990, 100), (0, -1)]:
            stream.seek(offset)
            plain.seek(offset)
            assert stream.read(size) == plain.read(size)
        assert stream.seek(-5, io.SEEK_END) == 99_995
        assert stream.read() == data[-5:]
    with pytest.raises(FileNotFoundError):
        storage.open("b")


def test_ranges_that_are_not_there_in_full_are_none_and_cost_no_other(storage: Storage) -> None:
    data = os.urandom(1000)
    storage.replace("a", data)
    ranges = [(0, 10), (990, 20), (500, 100), (5000, 1), (990, 10)]
    assert storage.read_ranges("a", ranges) == [data[:10], None, data[500:600], None, data[990:]]
    assert storage.read_ranges("gone", ranges) == [None] * 5
    assert storage.read_ranges("a", []) == []


def test_pictures_come_in_the_order_asked_whatever_file_they_lie_in(storage: Storage) -> None:
    files = [written(storage, "fetch/store", bytes([number]) * 1000, ".images").path for number in range(3)]
    places = [(files[number % 3], 10 * (number // 3), 10) for number in range(270)]
    holes = [(None, None, None), (files[0], 995, 10), ("fetch/store/gone", 0, 10)]
    found = list(read_pictures(storage, [*places, *holes, *places]))
    pictures = [bytes([number % 3]) * 10 for number in range(270)]
    assert found == [*pictures, None, None, None, *pictures]


def test_pictures_that_lie_together_share_a_request(store: ObjectStorage, server) -> None:
    path = written(store, "fetch/store", bytes(400 * 1000), ".images").path
    before = server.asked(path)
    assert len(list(read_pictures(store, [(path, 1000 * number, 1000) for number in range(400)]))) == 400
    assert server.asked(path) - before == 2  # 256 pictures at once


def test_a_tar_is_written_and_read_through_the_streams(storage: Storage) -> None:
    with storage.writing("corpus", ".tar") as file, tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo("a.txt")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    with storage.open(file.path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        assert [(entry.name, tar.extractfile(entry).read()) for entry in tar] == [("a.txt", b"hello")]


SCHEMA = pa.schema([("key", pa.string()), ("number", pa.int64()), ("texts", pa.list_(pa.string()))])


def test_a_table_goes_to_disk_and_back_unchanged(storage: Storage, spark) -> None:
    """By tasks that know of the store what travelled to them: the session is older than its address."""
    rows = [
        {"key": str(number), "number": number if number % 3 else None, "texts": ["é"] * (number % 4)}
        for number in range(50)
    ]
    frame = spark.createDataFrame(rows, "key string, number long, texts array<string>").repartition(3)
    records = write_table(frame, storage, "text/rows", SCHEMA)
    assert sum(record.rows for record in records) == 50
    found = read_table(spark, storage, records, SCHEMA)
    assert sorted((row.asDict() for row in found.collect()), key=lambda row: int(row["key"])) == rows
    assert read_table(spark, storage, write_table(frame.limit(0), storage, "text/rows", SCHEMA), SCHEMA).count() == 0


def test_a_column_that_an_older_file_lacks_is_null(storage: Storage, spark) -> None:
    older = pa.table({"key": ["a"], "number": [1]})
    record = write_file(storage, "text/rows", older.schema, [older])
    assert [row.asDict() for row in read_table(spark, storage, [record], SCHEMA).collect()] == [
        {"key": "a", "number": 1, "texts": None}
    ]


def test_one_file_is_read_by_columns_and_condition(storage: Storage) -> None:
    table = pa.table({"key": ["a", "b"], "number": [1, 2], "texts": [["x"], []]}, schema=SCHEMA)
    record = write_file(storage, "text/rows", SCHEMA, [table])
    assert read_file(storage, record, ["number"]).to_pylist() == [{"number": 1}, {"number": 2}]
    with storage.open(record.path) as stream:
        assert scan(stream, SCHEMA, ["key"], pa.compute.field("number") > 1).to_table().to_pylist() == [{"key": "b"}]
    with storage.open(record.path) as stream:
        assert pq.read_table(stream).equals(table)


def test_of_two_attempts_at_a_part_the_first_counts_and_orphans_go_r12(storage: Storage) -> None:
    """R12: the record is the commit; what no record names is swept."""
    first, second, orphan = (written(storage, "fetch/store", data) for data in (b"one", b"two", b"three"))
    assert commit(storage, "fetch", Part("p", "key", "input", {"rows": first}, {"rows": 1}))
    assert not commit(storage, "fetch", Part("p", "key", "input", {"rows": second}, {"rows": 1}))
    assert storage.exists(orphan.path)
    assert [part.files["rows"] for part in swept(storage, "fetch", ["fetch/store"])] == [first]
    assert storage.names("fetch/store") == [first.path.rpartition("/")[2]]


def test_a_part_whose_file_changed_is_forgotten_r15(storage: Storage) -> None:
    """R15: by size, before use."""
    whole, cut = (written(storage, "fetch/store", data) for data in (b"whole", b"to be cut"))
    for name, record in (("whole", whole), ("cut", cut)):
        assert commit(storage, "fetch", Part(name, "key", "input", {"rows": record}))
    storage.replace(cut.path, b"cut")
    assert [part.name for part in committed(storage, "fetch")] == ["whole"]
    assert storage.names("fetch/parts") == ["whole.json"]


WITH_NOTHING_BUT_THE_OBJECT = """
import pickle, sys
print(pickle.loads(bytes.fromhex(sys.argv[1])).read("secret").decode())
"""


def test_the_credentials_of_the_driver_travel_with_the_storage_and_are_never_shown(store: ObjectStorage) -> None:
    """A worker's environment has none."""
    store.replace("secret", b"found")
    assert "only-for-loopback" not in repr(store) + str(store)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-c", WITH_NOTHING_BUT_THE_OBJECT, pickle.dumps(store).hex()]
    done = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("found\n", "")


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("hdfs://name/run", r"run hdfs://: unknown scheme; give a local path or s3://, gs://, az://"),
        ("s3://key:secret@bucket/run", r"credentials and options are not allowed in a URL"),
        ("s3://", r"s3://"),
        ("s3://no bucket/run", r"s3://no bucket/run"),
        ("s3://no-such-bucket/run", r"the bucket does not exist"),
    ],
)
def test_a_location_that_cannot_be_is_refused_in_one_line_r5(server, location: str, says: str) -> None:
    """R5: found before any work; what may be secret is not repeated."""
    with pytest.raises(InputError, match=says) as caught:
        open_storage(location)
    assert caught.value.code == "output_unwritable"
    assert "\n" not in caught.value.text
    assert "secret" not in caught.value.text.replace("secret_", "")


def test_a_store_that_cannot_be_reached_is_told_within_seconds_r5(server, bucket: str, monkeypatch) -> None:
    """R5"""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"http://127.0.0.1:9 cannot be reached"):
        open_storage(f"{bucket}/run")
    assert time.monotonic() - begun < 10


def test_missing_credentials_are_named_within_seconds_r5(server, bucket: str, monkeypatch) -> None:
    """R5: the last place that is looked at is the machine's own role, here one that nobody answers for."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"no credentials found; set .* AWS_ACCESS_KEY_ID"):
        open_storage(f"{bucket}/run")
    assert time.monotonic() - begun < 10


def test_the_command_line_says_so_in_one_line_with_exit_code_2_r5(server) -> None:
    """R5"""
    command = [
        sys.executable,
        "-m",
        "jobs.cli",
        "build",
        "--run",
        "s3://no-such-bucket/run",
        "--set",
        'extract.inputs=["x"]',
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "pairmill: error: output_unwritable: run s3://no-such-bucket/run: the bucket does not exist; create it or name another\n"
    )


def test_near_ranges_share_a_request_of_bounded_size(store: ObjectStorage, server) -> None:
    """Overlapping, repeated and out of order, as well."""
    data = os.urandom(20 << 20)
    path = written(store, "fetch/store", data).path
    near = [(1000 * number, 900) for number in range(100)]
    ranges = [*near[::-1], *near, (50, 2000), (19 << 20, 100), (0, 9 << 20), (8 << 20, 9 << 20)]
    before = server.asked(path)
    assert store.read_ranges(path, ranges) == [data[offset : offset + length] for offset, length in ranges]
    assert server.asked(path) - before == 4
