"""The members of a tar by its headers, whoever wrote it: ustar, GNU or pax, of which any header may be hostile.

Python's tarfile holds every member it has met, reads a header of any length at once, follows headers of headers by
recursion, and stops without an error at a broken one. Here memory is one header, which has a limit, and every end but
the right one raises. Only blocks of 512 bytes are left to tarfile.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

BLOCK_BYTES = tarfile.BLOCKSIZE
MAX_HEADER_BYTES = 2**20  # of pax headers and long names, and of the map of a sparse file
MAX_HEADERS = 100  # of one member: a global one, a pax header, two long names are usual
MAX_NAME_BYTES = 4096  # PATH_MAX of Linux
MAX_MEMBER_BYTES = 2**60

_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
_RECORD = re.compile(rb"([0-9]{1,9}) ([^=]{1,255})=")
_IS_EXTENDED = 482  # place in an old header of a sparse file: whether a block of its map follows
_IS_CONTINUED = 504  # the same in such a block


class TarMember(NamedTuple):
    """Where a member is: ``offset`` of its first header, ``start`` and ``size`` of its bytes. ``is_file`` is false for
    links, folders and sparse files, which have no bytes of their own."""

    name: str
    offset: int
    start: int
    size: int
    is_file: bool


NO_MEMBER = TarMember("", 0, 0, 0, False)


class BrokenTar(ValueError):
    """Where a tar cannot be read further, and why; ``member``: the name of the one that was begun, if it is known."""

    def __init__(self, offset: int, why: str, is_cut: bool = False, member: str | None = None) -> None:
        super().__init__(offset, why, is_cut, member)
        self.offset, self.why, self.is_cut, self.member = offset, why, is_cut, member

    def __str__(self) -> str:
        return f"byte {self.offset:,}: {self.why}"


def tar_members(file: BinaryIO, needs_end: bool = True) -> Iterator[TarMember]:
    """Every member of a tar that ``file`` is at the start of; its bytes may be read before the next is asked for.

    Raises BrokenTar. ``needs_end``: a tar without the zeros that end one is cut off.
    """
    common: dict[bytes, bytes] = {}  # what global headers say of all members behind them
    offset = 0
    while (member := _next_member(file, offset, common, needs_end)) is not None:
        yield member
        end = member.start + member.size
        if member.size:
            file.seek(end - 1)
            if not file.read(1):
                raise BrokenTar(member.offset, "the file ends in this member", True, member.name)
        offset = end + -end % BLOCK_BYTES
        file.seek(offset)


def _next_member(file: BinaryIO, offset: int, common: dict[bytes, bytes], needs_end: bool) -> TarMember | None:
    """The member whose first header is at ``offset``; None at the end."""
    at, own, is_named = offset, dict[bytes, bytes](), False
    for _ in range(MAX_HEADERS):
        block = file.read(BLOCK_BYTES)
        if not any(block) and (len(block) == BLOCK_BYTES or not (block or needs_end or is_named)):
            return None
        info = _header(block, at)
        at += BLOCK_BYTES
        if info.type not in _LONG and info.type not in _PAX:
            return _member(file, info, block, offset, at, common | own)
        data = _extended(file, info, at - BLOCK_BYTES)
        at += len(data)
        is_named = True
        if info.type == tarfile.GNUTYPE_LONGNAME:
            own[b"path"] = data.partition(b"\0")[0]
        elif info.type == tarfile.XGLTYPE:
            common |= _known(data, at)
            offset = at
        elif info.type in _PAX:
            own |= _known(data, at)
    raise BrokenTar(offset, f"a member with more than {MAX_HEADERS} headers")


def _header(block: bytes, at: int) -> tarfile.TarInfo:
    """The header in a block. Raises BrokenTar."""
    if len(block) < BLOCK_BYTES:
        raise BrokenTar(
            at, "the file ends in a header" if block else "the file ends without the mark of a tar's end", True
        )
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        raise BrokenTar(at, "no header of a member") from None


def _extended(file: BinaryIO, info: tarfile.TarInfo, at: int) -> bytes:
    """The bytes of a header of a header, up to the next block."""
    if not 0 <= info.size <= MAX_HEADER_BYTES:
        raise BrokenTar(at, f"a header of {info.size:,} bytes (limit {MAX_HEADER_BYTES:,})")
    size = info.size + -info.size % BLOCK_BYTES
    data = file.read(size)
    if len(data) < size:
        raise BrokenTar(at, "the file ends in a header", True)
    return data


def _member(
    file: BinaryIO, info: tarfile.TarInfo, block: bytes, offset: int, start: int, said: dict[bytes, bytes]
) -> TarMember:
    """The member of a header, with what the headers before it say of it."""
    name = said[b"path"].decode("utf-8", "surrogateescape").rstrip("/") if b"path" in said else info.name
    size = info.size
    if size_said := said.get(b"size"):
        size = int(size_said) if size_said.isdigit() and len(size_said) < 20 else -1
    if len(name) > MAX_NAME_BYTES:
        raise BrokenTar(offset, f"a name of {len(name):,} characters (limit {MAX_NAME_BYTES:,})")
    is_sparse = info.type == tarfile.GNUTYPE_SPARSE
    if is_sparse:
        start += _skip_map(file, block, offset)
    if not (info.isreg() or info.type not in tarfile.SUPPORTED_TYPES):
        size = 0
    if not 0 <= size <= MAX_MEMBER_BYTES:
        raise BrokenTar(offset, "a member of negative size" if size < 0 else f"a member of {size:,} bytes")
    is_sparse |= any(key.startswith(b"GNU.sparse.") for key in said)
    return TarMember(name, offset, start, size, info.isreg() and not is_sparse)


def _skip_map(file: BinaryIO, block: bytes, offset: int) -> int:
    """Passes over the blocks that go on with the map of a sparse file; returns their size."""
    size, more = 0, block[_IS_EXTENDED]
    while more:
        block = file.read(BLOCK_BYTES)
        size += BLOCK_BYTES
        if len(block) < BLOCK_BYTES or size > MAX_HEADER_BYTES:
            raise BrokenTar(offset, "the map of a sparse file has no end", len(block) < BLOCK_BYTES)
        more = block[_IS_CONTINUED]
    return size


def _known(data: bytes, at: int) -> dict[bytes, bytes]:
    """What a pax header says of name, size and holes: records of ``LENGTH KEY=VALUE`` and a line end."""
    found, begin = {}, 0
    while match := _RECORD.match(data, begin):
        end = begin + int(match[1])
        if not match.end() < end <= len(data):
            break
        if match[2] in (b"path", b"size") or match[2].startswith(b"GNU.sparse."):
            found[match[2]] = data[match.end() : end - 1]
        begin = end
    if any(data[begin:]):
        raise BrokenTar(at - len(data), "a pax header that cannot be read")
    return found
