"""Members of tars: as Python's tarfile finds them in sound ones, and within limits in hostile ones."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from pipeline.core.boundary import UpToFault
from pipeline.core.tars import MAX_HEADER_BYTES, BrokenTar, tar_members

END = bytes(1024)


def header(name: str, kind: bytes, data: bytes) -> bytes:
    """One header and its bytes, unlike tarfile of any kind."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


FILE = header("a.html", b"0", b"a page")


def names(data: bytes) -> list[str]:
    return [member.name for member in tar_members(io.BytesIO(data))]


def broken(data: bytes) -> tuple[list[str], BrokenTar]:
    """The members before the fault, and the fault."""
    found = UpToFault(tar_members(io.BytesIO(data)))
    members = [member.name for member in found]
    with pytest.raises(BrokenTar) as caught:
        found.end()
    return members, caught.value


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("packed", [False, True])
def test_sound_tars_have_the_members_that_tarfile_finds(form: int, packed: bool) -> None:
    written = io.BytesIO()
    kinds = [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE]
    lengths = [5, 60, 99] if form == tarfile.USTAR_FORMAT else [5, 60, 99, 100, 150, 300, 3000]
    with tarfile.open(fileobj=written, mode="w", format=form, pax_headers={"comment": "of all"}) as tar:
        for number, length in enumerate(lengths * 7):
            stem = "n" if form == tarfile.USTAR_FORMAT else "ñ€"
            info = tarfile.TarInfo((stem * length)[: length - 2] + f"{number:02}")
            info.type = kinds[number % len(kinds)]
            info.linkname = "x" * length if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.size = number * 100 if info.isreg() else 0
            tar.addfile(info, io.BytesIO(bytes([number]) * info.size))
    data = written.getvalue()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        wanted = [(m.name, m.offset, m.offset_data, m.size, m.isfile()) for m in tar]
    file = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data))) if packed else io.BytesIO(data)
    assert [tuple(member) for member in tar_members(file)] == wanted
    assert len(wanted) == len(lengths) * 7


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K", b"X"])
def test_headers_of_headers_are_counted_not_followed_by_recursion_x81(kind: bytes) -> None:
    """X81: tarfile ends with a RecursionError."""
    found, fault = broken(FILE + header("h", kind, b"12 path=abc\n") * 3000 + FILE + END)
    assert found == ["a.html"]
    assert fault.offset == (1024 if kind != b"g" else 1024 * 101)  # a global header belongs to no member
    assert "more than 100 headers" in fault.why


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_above_the_limit_is_not_read_x81(kind: bytes) -> None:
    """X81: tarfile reads a header of 600 MiB at once."""
    info = tarfile.TarInfo("h")
    info.type, info.size = kind, MAX_HEADER_BYTES + 1
    found, fault = broken(FILE + info.tobuf(tarfile.USTAR_FORMAT) + FILE + END)
    assert (found, fault.offset) == (["a.html"], 1024)
    assert "a header of 1,048,577 bytes" in fault.why


@pytest.mark.parametrize(
    "pax",
    [
        b"1" * 60_000,  # tarfile looks at each digit anew: 14 s
        b"999999999 path=abc\n",
        b"0 path=abc\n",
        b"5 path=abc\n",
        b"18 size=1234567890123456789012\n",
        b"12 size=-10\n",
        b"12 size=ten\n",
        b"no record",
    ],
)
def test_a_pax_header_that_says_nonsense_is_a_fault_x81(pax: bytes) -> None:
    """X81: and never an exception of another kind."""
    found, fault = broken(FILE + header("p", b"x", pax) + FILE + END)
    assert found == ["a.html"]
    assert not fault.is_cut


def test_sparse_files_are_met_and_have_no_bytes_x81() -> None:
    """X81: of a size that is no number, tarfile raises ValueError; a map without end is a fault."""
    said = header("p", b"x", b"24 GNU.sparse.size=many\n")
    members = list(tar_members(io.BytesIO(said + FILE + FILE + END)))
    assert [member.is_file for member in members] == [False, True]
    old = tarfile.TarInfo("s")
    old.type, old.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(old.tobuf(tarfile.GNU_FORMAT))
    block[482] = 1
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
    more = bytes(504) + b"\1" + bytes(7)
    members = list(tar_members(io.BytesIO(bytes(block) + more + bytes(512) + bytes(512) + FILE + END)))
    assert [(member.name, member.is_file) for member in members] == [("s", False), ("a.html", True)]
    _, fault = broken(FILE + bytes(block) + more * 3000)
    assert "no end" in fault.why


def test_every_cut_is_a_fault_but_the_one_behind_a_member_if_no_end_is_wanted() -> None:
    data = header("p", b"x", b"12 path=abc\n") + FILE + END
    for size in range(0, len(data) - 1024, 64):
        found, fault = broken(data[:size])
        assert fault.is_cut
        assert found in ([], ["abc"])
    whole = tar_members(io.BytesIO(data[:-1024]), needs_end=False)
    assert [member.name for member in whole] == ["abc"]


def test_a_name_longer_than_any_system_takes_is_a_fault() -> None:
    assert len(names(header("l", b"L", b"n" * 4096) + FILE + END)[0]) == 4096
    _, fault = broken(header("l", b"L", b"n" * 4097) + FILE + END)
    assert "4,097 characters" in fault.why
