"""Archives packed with zstd, with a dictionary of their own or without."""

import random

import pytest
import zstandard

from pipeline.stages.extract.archives.records import Lost, Record, read_records
from pipeline.stages.extract.archives.warc import read_warc
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.raw.members import CHUNK_BYTES
from pipeline.stages.extract.sources.inputs import find_inputs


def skipped(data, magic=0x5D):
    return bytes((magic, 0x2A, 0x4D, 0x18)) + len(data).to_bytes(4, "little") + data


def dictionary_of(records):
    return zstandard.train_dictionary(2**12, records)


def frames(records, dictionary=None):
    compressor = zstandard.ZstdCompressor(dict_data=dictionary, write_checksum=True)
    return [compressor.compress(record) for record in records]


def read(tmp_path, data):
    path = tmp_path / "a.warc.zst"
    path.write_bytes(data)
    return list(read_records(path, 2**20))


def kept(items):
    return [item.data for item in items if isinstance(item, Record)]


def reasons(items):
    return [item.reason.value for item in items if isinstance(item, Lost)]


def without_end(records):
    return [record.removesuffix(b"\r\n\r\n") for record in records]


def test_every_way_of_packing_gives_the_same_records_x75(numbered, tmp_path):
    """X75, X2"""
    records = numbered(60)
    text, dictionary = b"".join(records), dictionary_of(records)
    raw = dictionary.as_bytes()
    with_dictionary = b"".join(frames(records, dictionary))
    ways = {
        "one frame a record": b"".join(frames(records)),
        "one frame for all": frames([text])[0],
        "frames cut anywhere": b"".join(frames([text[i : i + 333] for i in range(0, len(text), 333)])),
        "other frames to skip": skipped(b"index", 0x50) + b"".join(f + skipped(b"x", 0x51) for f in frames(records)),
        "a dictionary": skipped(raw) + with_dictionary,
        "a packed dictionary": skipped(zstandard.compress(raw)) + with_dictionary,
        "padding": b"".join(frames(records)) + bytes(70_000),
    }
    for way, data in ways.items():
        items = read(tmp_path, data)
        assert (kept(items), reasons(items)) == (without_end(records), []), way


def test_an_offset_is_that_of_the_frame_x75(numbered, tmp_path):
    """X75: as an index of the archive has it."""
    records = numbered(20)
    dictionary = dictionary_of(records * 3)
    parts = [skipped(dictionary.as_bytes()), *frames(records, dictionary)]
    offsets = [sum(map(len, parts[: n + 1])) for n in range(20)]
    assert [item.offset for item in read(tmp_path, b"".join(parts))] == offsets
    rows = list(read_warc(tmp_path / "a.warc.zst", "f", Config(), {offsets[3], offsets[7]}))
    assert [row["alt_text"] for row in rows] == ["picture 3", "picture 7"]


def test_it_is_a_warc_by_its_content_x75(numbered, record, tmp_path):
    """X75"""
    records = numbered(20)
    dictionary = dictionary_of(records * 3)
    for name, data in (
        ("plain", b"".join(frames(records))),
        ("own", skipped(dictionary.as_bytes()) + b"".join(frames(records, dictionary))),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        assert [split.format for split in find_inputs([str(path)], "auto")] == ["warc"]


@pytest.mark.parametrize("cut", [1, 9, 100])
def test_a_cut_is_said_x75(numbered, tmp_path, cut):
    """X75, X1"""
    records = numbered(6)
    items = read(tmp_path, b"".join(frames(records))[:-cut])
    assert (kept(items), reasons(items)) == (without_end(records[:5]), ["archive_truncated"])


@pytest.mark.parametrize("damage", ["magic", "data", "checksum", "random"])
def test_a_broken_frame_costs_one_record_x75(numbered, tmp_path, damage):
    """X75, X4"""
    records = numbered(100)
    members = frames(records)
    member = bytearray(members[50])
    if damage == "random":
        member = random.Random(4).randbytes(3 * CHUNK_BYTES)
    else:
        member[{"magic": 1, "data": 30, "checksum": -2}[damage]] ^= 0xFF
    members[50] = bytes(member)
    items = read(tmp_path, b"".join(members))
    assert (kept(items), reasons(items)) == (without_end(records[:50] + records[51:]), ["record_malformed"])


def test_a_dictionary_that_is_missing_or_broken_is_one_row_x75(numbered, tmp_path):
    """X75"""
    records = numbered(60)
    dictionary = dictionary_of(records)
    data = b"".join(frames(records, dictionary))
    huge = b"\x5d\x2a\x4d\x18\xff\xff\xff\xff"
    for start in (b"", skipped(b""), skipped(b"\x37\xa4\x30\xec broken"), huge):
        items = read(tmp_path, start + data)
        assert kept(items) == []
        assert reasons(items) in (["archive_malformed"], ["record_malformed"]), start[:20]
