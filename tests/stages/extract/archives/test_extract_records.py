"""Framing: what a broken archive still gives."""

import gzip
import random

import pytest
from warcio.archiveiterator import ArchiveIterator

from pipeline.stages.extract.archives.records import Lost, Record, read_records
from pipeline.stages.extract.raw.members import CHUNK_BYTES

MAX_BLOCK_BYTES = 2**20


def read(path, max_block_bytes=MAX_BLOCK_BYTES):
    return list(read_records(path, max_block_bytes))


def kept(items):
    return [item.data for item in items if isinstance(item, Record)]


def reasons(items):
    return [item.reason.value for item in items if isinstance(item, Lost)]


def write(path, data):
    path.write_bytes(data)
    return path


def without_end(records):
    return [record.removesuffix(b"\r\n\r\n") for record in records]


@pytest.mark.parametrize("cut", [1, 9, 40, 200])
def test_whole_records_before_a_cut_are_used_and_the_cut_is_said(numbered, packed, cut):
    """X1"""
    records = numbered(6)
    path = packed(records)
    last_offset = read(path)[-1].offset
    write(path, path.read_bytes()[:-cut])
    items = read(path)
    assert kept(items) == without_end(records[:5])
    assert items[-1] == Lost(last_offset, str(last_offset), items[-1].reason)
    assert reasons(items) == ["archive_truncated"]


@pytest.mark.parametrize("cut", [30, 200, 500])
def test_a_plain_archive_that_is_cut_says_so(numbered, tmp_path, cut):
    """X1"""
    records = numbered(6)
    items = read(write(tmp_path / "a.warc", b"".join(records)[:-cut]))
    assert kept(items) == without_end(records[:5])
    assert reasons(items) == ["archive_truncated"]


def test_every_way_of_packing_gives_the_same_records(numbered, tmp_path):
    """X2"""
    records = numbered(50)
    text = b"".join(records)
    ways = {
        "one member a record": b"".join(map(gzip.compress, records)),
        "one member for all": gzip.compress(text),
        "plain under a .gz name": text,
        "members cut anywhere": b"".join(gzip.compress(text[i : i + 333]) for i in range(0, len(text), 333)),
        "with padding": b"".join(map(gzip.compress, records)) + bytes(100_000),
    }
    for way, data in ways.items():
        items = read(write(tmp_path / "a.warc.gz", data))
        assert kept(items) == without_end(records), way


def test_an_unreadable_archive_is_one_row(tmp_path):
    """X2"""
    assert reasons(read(write(tmp_path / "a.warc.gz", b"no archive at all " * 1000))) == ["archive_malformed"]
    assert reasons(read(write(tmp_path / "b.warc.gz", b"\x1f\x8b" + b"no archive at all " * 1000))) == [
        "archive_malformed"
    ]


def test_an_empty_archive_has_no_rows(tmp_path):
    """R19"""
    assert read(write(tmp_path / "a.warc.gz", b"")) == []


@pytest.mark.parametrize("is_packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("max_block_bytes", [MAX_BLOCK_BYTES, 64], ids=["whole", "cut"])
@pytest.mark.parametrize("length", [3, 60, 999, 99_999_999_999, "-5", "many", ""])
def test_a_record_with_a_wrong_length_costs_itself_alone(
    record, numbered, tmp_path, is_packed, max_block_bytes, length
):
    """X3"""
    records = numbered(8)
    broken = record(b"<p>broken</p>" * 20 + b"\n", length=length)
    parts = [*records[:4], broken, *records[4:]]
    path = write(tmp_path / "a.warc", b"".join(gzip.compress(part) if is_packed else part for part in parts))
    items = read(path, max_block_bytes)
    assert reasons(items) == ["record_malformed"]
    assert len(kept(items)) == 8


def test_a_missing_blank_line_costs_one_record(record, numbered, tmp_path):
    """X3"""
    records = numbered(6)
    for end in (b"", b"\r\n"):
        items = read(write(tmp_path / "a.warc", b"".join([*records[:3], record(b"<p>x", end=end), *records[3:]])))
        assert kept(items) == without_end(records)
        assert reasons(items) == ["record_malformed"]


def test_a_header_without_an_end_costs_one_record(record, numbered, tmp_path):
    """X3"""
    records = numbered(4)
    broken = record(b"x").replace(b"\r\n\r\n", b"\r\n")
    items = read(write(tmp_path / "a.warc", b"".join([*records[:2], broken, *records[2:]])))
    assert kept(items) == without_end(records)
    assert reasons(items) == ["record_malformed"]


@pytest.mark.parametrize("damage", ["header", "data", "crc", "random"])
def test_a_broken_member_costs_one_record_of_a_thousand(numbered, tmp_path, damage):
    """X4"""
    records = numbered(1000)
    members = [gzip.compress(record) for record in records]
    member = bytearray(members[500])
    if damage == "random":
        member = random.Random(4).randbytes(3 * CHUNK_BYTES)
    else:
        member[{"header": 1, "data": 60, "crc": -7}[damage]] ^= 0xFF
    members[500] = bytes(member)
    items = read(write(tmp_path / "a.warc.gz", b"".join(members)))
    assert kept(items) == without_end(records[:500] + records[501:])
    assert reasons(items) == ["record_malformed"]


def test_a_fault_in_a_single_member_leaves_the_records_before_it(numbered, tmp_path):
    """X2, X4"""
    records = numbered(1000)
    data = bytearray(gzip.compress(b"".join(records)))
    data[len(data) // 2] ^= 0xFF
    items = read(write(tmp_path / "a.warc.gz", bytes(data)))
    assert reasons(items)[-1] == "archive_malformed"
    assert 300 < len(kept(items)) < 1000
    assert kept(items)[:300] == without_end(records[:300])


def test_a_member_begins_at_every_place_in_a_chunk(numbered, tmp_path):
    """X4: the search for the next member, across the ends of chunks."""
    good = [gzip.compress(record) for record in numbered(3)]
    for shift in range(-5, 6):
        garbage = b"\x07" * (CHUNK_BYTES - len(good[0]) + shift)
        items = read(write(tmp_path / "a.warc.gz", good[0] + garbage + good[1] + good[2]))
        assert (len(kept(items)), reasons(items)) == (3, ["record_malformed"]), shift


def test_a_large_record_is_passed_over_and_keeps_its_first_bytes(record, numbered, tmp_path):
    records = numbered(2)
    large = record(b"x" * 3_000_000)
    for pack in (gzip.compress, bytes):
        path = write(tmp_path / "a.warc", b"".join(map(pack, [records[0], large, records[1]])))
        items = read(path, 1000)
        assert [item.is_cut for item in items] == [False, True, False]
        assert items[1].data == large[: len(items[1].data)]
        assert len(items[1].data) < 2000


@pytest.mark.parametrize(
    "name",
    [
        "aut-example.warc.gz",
        "cc-link-extraction-test.warc",
        "cc-whirlwind.warc.gz",
        "pywb-iana.warc.gz",
        "resiliparse-clueweb-quirk.warc.gz",
        "resiliparse-warcfile.warc.gz",
        "cc-2019-22-excerpt.warc.wat.gz",
    ],
)
def test_real_archives_are_read_as_warcio_reads_them(shared_data, name):
    path = shared_data / "warc" / name
    items = read(path, 2**24)
    assert reasons(items) == []
    with path.open("rb") as file:
        iterator = ArchiveIterator(file, no_record_parse=True)
        expected = [(iterator.get_record_offset(), record.content_stream().read()) for record in iterator]
    assert [item.offset for item in items] == [offset for offset, _ in expected]
    assert all(item.data.endswith(block) for item, (_, block) in zip(items, expected, strict=True))
