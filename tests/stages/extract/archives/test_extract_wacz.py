"""WACZ and ARC: archives in a zip, and those of the format before WARC."""

import gzip
import re
import zipfile
import zlib

import pytest

from pipeline.core.errors import InputError
from pipeline.stages.extract.archives.warc import read_warc
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.sources.inputs import find_inputs


def wacz(tmp_path, members, method=zipfile.ZIP_STORED):
    path = tmp_path / "site.wacz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("datapackage.json", "{}")
        archive.writestr("indexes/index.cdx.gz", gzip.compress(b"com,example)/ 2024"))
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def rows_of(path):
    return list(read_warc(path, "f", Config()))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_all_archives_of_a_wacz_are_read_x76(numbered, tmp_path, method):
    """X76"""
    records = numbered(9)
    members = {
        "archive/a.warc.gz": b"".join(map(gzip.compress, records[:3])),
        "archive/b.warc": b"".join(records[3:6]),
        "archive/deep/c.warc.gz": gzip.compress(b"".join(records[6:])),
        "archive/readme.txt": b"no archive",
        "pages/pages.jsonl": b"{}",
    }
    path = wacz(tmp_path, members, method)
    assert [split.format for split in find_inputs([str(path)], "auto")] == ["warc"]
    assert [row["alt_text"] for row in rows_of(path)] == [f"picture {n}" for n in range(9)]


def test_what_is_lost_in_a_wacz_names_its_archive_x76(numbered, record, tmp_path):
    """X76, X1, X4"""
    records = [gzip.compress(data, mtime=0) for data in numbered(4)]
    broken = bytearray(records[1])
    broken[60] ^= 0xFF
    members = {
        "archive/a.warc.gz": records[0] + bytes(broken) + records[2],
        "archive/b.warc.gz": records[0] + bytes(broken) + records[3][:-9],
        "archive/c.warc.gz": gzip.compress(record(b"GIF89a", http=b"HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\n")),
    }
    rows = rows_of(wacz(tmp_path, members))
    found = [(row["outcome"], row["detail"]) for row in rows if row["outcome"] != "ok"]
    second, third = len(records[0]), len(records[0] + broken)
    assert found == [
        ("record_malformed", f"site.wacz at byte {second} of archive/a.warc.gz"),
        ("record_malformed", f"site.wacz at byte {second} of archive/b.warc.gz"),
        ("archive_truncated", f"site.wacz at byte {third} of archive/b.warc.gz"),
        ("record_not_page", "site.wacz"),
    ]
    assert len({row["candidate_id"] for row in rows if row["outcome"] != "ok"}) == len(found)


def test_a_member_that_does_not_unpack_costs_itself_alone_x76(numbered, tmp_path):
    """X76: of a plain archive the zip's own deflate and CRC are all there is."""
    plain = b"".join(numbered(400))
    path = wacz(tmp_path, {"archive/a.warc": plain, "archive/b.warc": plain}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    packed = zlib.compressobj(wbits=-15)
    start = data.index((packed.compress(plain) + packed.flush())[:200])
    data[start + 5000 : start + 5040] = b"\xff" * 40
    path.write_bytes(data)
    rows = rows_of(path)
    outcomes = [row["outcome"] for row in rows]
    (lost,) = (row for row in rows if row["outcome"] == "archive_malformed")
    assert re.fullmatch(r"site\.wacz at byte \d+\+? of archive/a\.warc", lost["detail"])
    assert outcomes[-400:] == ["ok"] * 400


def test_a_member_with_a_password_or_an_unknown_method_is_one_row_x76(numbered, tmp_path):
    """X76"""
    data = wacz(tmp_path, {"archive/a.warc": numbered(1)[0]}).read_bytes()
    local, central = data.rindex(b"PK\x03\x04"), data.rindex(b"PK\x01\x02")
    for at, value in ((6, 1), (8, 99)):  # the flag of encryption; the method
        broken = bytearray(data)
        broken[local + at] = broken[central + at + 2] = value
        (tmp_path / "site.wacz").write_bytes(broken)
        assert [row["outcome"] for row in rows_of(tmp_path / "site.wacz")] == ["archive_malformed"]


@pytest.mark.parametrize("kind", ["other zip", "cut", "arc", "packed arc"])
def test_what_cannot_be_read_is_one_line_that_says_what_to_do_x79(numbered, tmp_path, kind):
    """X79, X21"""
    arc = b"filedesc://IAH-2006.arc 0.0.0.0 20060101000000 text/plain 76\n1 0 InternetArchive\nURL IP-address\n\n"
    path = wacz(tmp_path, {} if kind == "other zip" else {"archive/a.warc": b"".join(numbered(99))})
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    elif kind != "other zip":
        path.write_bytes(gzip.compress(arc) if kind == "packed arc" else arc)
    wanted = "an ARC file, .* warcio recompress" if "arc" in kind else "a zip without archive/.*warc.*cut off"
    with pytest.raises(InputError) as caught:
        find_inputs([str(path)], "auto")
    assert re.search(wanted, str(caught.value))
    assert "\n" not in str(caught.value)
