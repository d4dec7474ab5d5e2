"""Inputs in a bucket: the rows of the same files on a disk; what cannot be read there is one line before any work."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline import funnel
from pipeline.core.config_files import load_config
from pipeline.core.errors import InputError
from pipeline.core.progress import Reporter
from pipeline.core.storage import ObjectStorage
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.sources import digests
from pipeline.stages.extract.sources.inputs import find_inputs, look_at
from pipeline.stages.extract.split_rows import extract_split

PAGE = b'<img src="https://i.example/a.jpg" alt="a cat">'


def record(number: int) -> bytes:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE + str(number).encode()
    head = (
        "WARC/1.0\r\nWARC-Type: response\r\n"
        f"WARC-Target-URI: https://site.example/{number}\r\nWARC-Date: 2024-05-06T07:08:09Z\r\n"
        f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{number:012d}>\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def tar(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as members:
        info = tarfile.TarInfo(name)
        info.size = len(PAGE)
        members.addfile(info, io.BytesIO(PAGE))
    return out.getvalue()


def parquet(rows: int) -> bytes:
    """The URLs of the images are behind as many bytes as are looked at, in a column that only its values show."""
    out = io.BytesIO()
    pages = [f"https://site.example/{row * 7919}" for row in range(rows)]
    urls = [f"https://i.example/{row * 7919}.jpg" for row in range(rows)]
    table = pa.table({"url": pages, "image": urls, "caption": ["x"] * rows})
    pq.write_table(table, out, compression="none", use_dictionary=False)
    return out.getvalue()


def packed_csv(rows: int) -> bytes:
    draw = random.Random(7)
    lines = (f"https://i.example/{draw.getrandbits(128):x}.jpg,x\n" for _ in range(rows))
    return zstandard.compress(f"url,caption\n{''.join(lines)}".encode())


FILES = {
    "archives/a.warc.gz": gzip.compress(record(1)) + gzip.compress(record(2)),
    "archives/b.warc": record(3),
    "archives/README.html": PAGE,
    "lists/lang=en/part 0.csv": b"url,caption\nhttps://i.example/0.jpg,a dog\n",
    "lists/lang=no/p[0]#%20.tsv.gz": gzip.compress(b"url\tcaption\nhttps://i.example/1.jpg\ta dog\n"),
    "lists/big.parquet": parquet(20_000),
    "lists/more.csv.zst": packed_csv(20_000),
    "lists/_SUCCESS": b"",
    "pages/index.tsv": b"name\turl\nx/a.html\thttps://a.example/\n",
    "pages/x/a.html": PAGE,
    "pages/style.css": b"a {}",
    "pages/.x/a.html": PAGE,
    "pages/run/run.json": b"{}",
    "pages/run/config.yaml": b"",
    "pages/run/audit/report.html": PAGE,
    "pages.tar": tar("b.html"),
}


@pytest.fixture
def twins(bucket: str, tmp_path: Path) -> tuple[str, str]:
    """The same files in a bucket and in a folder."""
    store = ObjectStorage.at(bucket)
    for name, data in FILES.items():
        store.replace(f"in/{name}", data)
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    return f"{bucket}/in", str(tmp_path / "in")


def test_objects_give_the_rows_and_fingerprints_of_files_x44(twins) -> None:
    """X44: every format, names of any kind; the footer of a large Parquet file is enough to see its columns."""
    found = []
    for place in twins:
        splits = find_inputs([place], "auto")
        names = [split.path.removeprefix(place) for split in splits]
        rows = [row for split in splits for batch in extract_split(split, Config()) for row in batch]
        found.append((names, [(split.format, split.container, split.fingerprint) for split in splits], rows))
    assert found[0] == found[1]
    assert len(found[0][2]) == 2 + 1 + 1 + 1 + 1 + 2 * 20_000 + 1 + 1


@pytest.mark.parametrize(
    "pattern",
    ["lists/", "lists", "lists/*/*", "lists/**/*.csv", "*/a*", "**", "lists/lang=no/p[0]#%20.tsv.gz", "arch*"],
)
def test_prefixes_and_wildcards_name_the_same_as_on_a_disk_x44(twins, pattern: str) -> None:
    """X44"""
    in_bucket, on_disk = (look_at([f"{place}/{pattern}"], "auto") for place in twins)
    assert [one.path.removeprefix(twins[0]) for one in in_bucket.seen] == [
        one.path.removeprefix(twins[1]) for one in on_disk.seen
    ]
    assert in_bucket.seen
    assert list(in_bucket.left_out.values()) == list(on_disk.left_out.values())


@pytest.mark.parametrize("name", ["my run [v1]", "{a,b}", "a%20b", "%zz", "ü", "a*b", "a+b", "~", "a:b", "back\\slash"])
def test_a_run_in_a_bucket_has_the_name_that_it_was_given_x43(bucket, name: str) -> None:
    """X43: the names in the bucket are those of the URL, and other runs are other runs."""
    run = ObjectStorage.at(f"{bucket}/runs/{name}")
    run.replace("x/f.json", b"1")
    assert [one.path for one in ObjectStorage.at(bucket).listed("runs")] == [f"runs/{name}/x/f.json"]
    assert (run.names("x"), run.entries(), run.read("x/f.json")) == (["f.json"], ["x"], b"1")


def test_a_list_of_paths_in_a_bucket_names_objects_x44_x45(bucket, twins) -> None:
    """X44, X45: as `s3://commoncrawl/.../warc.paths.gz` with `extract.paths_prefix=s3://commoncrawl`."""
    ObjectStorage.at(bucket).replace("warc.paths.gz", gzip.compress(b"archives/a.warc.gz\narchives/b.warc\n"))
    for prefix in (twins[0], f"{twins[0]}/"):
        seen = look_at([f"{bucket}/warc.paths.gz"], "auto", prefix=prefix).seen
        assert [one.path for one in seen] == [f"{twins[0]}/archives/a.warc.gz", f"{twins[0]}/archives/b.warc"]


def test_what_cannot_be_read_in_a_bucket_is_one_line_x44(bucket) -> None:
    """X44"""
    ObjectStorage.at(bucket).replace("t/0.tar", tar("0.jpg"))
    lines = {
        f"{bucket}/t": "a tar of images is read in place, from a disk; mount the store or copy the tar",
        f"{bucket}/gone": f"input_missing: no file at {bucket}/gone",
        "s3://no-such-bucket-here/x": "the bucket does not exist; create it or name another",
    }
    for place, line in lines.items():
        with pytest.raises(InputError, match=line):
            look_at([place], "auto")


def test_a_build_reads_a_bucket_and_hashes_its_objects_once_x44_x46(spark, server, bucket, twins, tmp_path) -> None:
    """X44, X46: an object of unchanged time and etag is not read again; its new content is new input."""

    def build() -> tuple[int, int]:
        digests.forget()
        config = load_config(funnel.Config, sets=[f"extract.inputs={json.dumps([f'{twins[0]}/lists'])}"])
        run = funnel.open_run(str(tmp_path / "run"), config, Reporter(quiet=True))
        (*_, found) = funnel.build(run, "extract")
        return found.rows_in, found.measured

    assert build() == (40_002, 40_002)
    before = server.asked("GET /")
    assert build() == (40_002, 0)
    assert server.asked("GET /") - before < 12  # a listing, heads and a footer
    ObjectStorage.at(twins[0]).replace("lists/lang=en/part 0.csv", b"url,caption\nhttps://i.example/0.jpg,a fox\n")
    assert build() == (40_002, 1)
