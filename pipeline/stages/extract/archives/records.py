"""Records of a WARC file, whatever its packing and its faults.

fastwarc reads whole archives faster, but stops without an error at a cut, stops at the first broken member and returns
half a record as if it were whole. So we find the records ourselves, and report what was lost.

    packed   one gzip member or zstd frame per record, one member for all, members cut anywhere (bgzip), or plain under
             any name
    broken   a member that does not unpack loses its record: reading continues at the next member that begins a record
             a record of wrong length is lost: reading continues at the next ``WARC/`` line

Every byte is read from disk once. A record counts only if what follows it is valid too, because the CRC of a gzip
member is at its end. In an archive that is one single member, records between a flipped byte and the place where
zlib fails are used, and may contain that byte: only their own digests could show it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pipeline.stages.extract.raw.heads import MAX_HEADER_BYTES
from pipeline.stages.extract.raw.members import CHUNK_BYTES, Broken, Member, Members, packing_of
from pipeline.stages.extract.raw.places import open_place
from pipeline.stages.extract.reasons import Reason

_START = b"WARC/"
_RECORD = re.compile(rb"^WARC/[01]\.\d", re.MULTILINE)
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_TERMINATOR = re.compile(rb"\r?\n\r?\n")
_NEXT_RECORD = re.compile(rb"[\r\n]*+(?=WARC/)")
_BLANK_LINE_AT_END = re.compile(rb"\n\r?\n\Z")
_BLANK = b"\r\n"


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record: its header and block, the block cut to ``max_block_bytes`` if it is longer."""

    offset: int  # of its member, or of itself in a plain file, as in an index of the archive
    data: bytes
    is_cut: bool
    place: int | str  # its name in keys and messages: its offset, in a WACZ after the name of the archive


@dataclass(frozen=True, slots=True)
class Lost:
    """A stretch that gave no record. ``place`` (``offset+n``) distinguishes the records of one member."""

    offset: int
    place: str
    reason: Reason


def open_file(path: str | Path) -> BinaryIO:
    """An input file of the user, on a disk or a store."""
    return open_place(str(path))


def read_records(
    path: str | Path, max_block_bytes: int, opened: Callable[[str], BinaryIO] = open_file
) -> Iterator[Record | Lost]:
    """All records in their order, and what was lost between them. Needs one block and a MiB of memory."""
    with opened(str(path)) as file:
        try:
            packing = packing_of(file)
        except Broken:
            yield Lost(0, "0", Reason.ARCHIVE_MALFORMED)
            return
        for run in _packed_runs(Members(file, packing)) if packing else iter([_PlainRun(file)]):
            yield from _framed(run, max_block_bytes)


@dataclass(slots=True)
class _Run:
    """Valid bytes that begin with a record, up to the next place where one certainly begins, a fault or the end.

    ``fault`` says, once the run has ended, why it ended early. ``buffer`` holds what was not skipped yet.
    """

    offset: int
    pieces: Iterator[bytes]
    passed: int = 0
    buffer: bytearray = field(default_factory=bytearray)
    fault: Reason | None = None

    def has(self, n_bytes: int) -> bool:
        """Reads on until ``n_bytes`` are in the buffer; False if the run ends before."""
        while len(self.buffer) < n_bytes:
            piece = next(self.pieces, None)
            if piece is None:
                return False
            self.buffer += piece
        return True

    def skip(self, n_bytes: int) -> bool:
        """Skips bytes without holding them; False if the run ends before."""
        while n_bytes > len(self.buffer):
            n_bytes -= len(self.buffer)
            self.passed += len(self.buffer)
            self.buffer.clear()
            if not self.has(1):
                return False
        del self.buffer[:n_bytes]
        self.passed += n_bytes
        return True

    def skip_blank(self) -> None:
        """Skips the line ends between records."""
        while self.has(1) and self.buffer[0] in _BLANK:
            self.skip(len(self.buffer) - len(self.buffer.lstrip(_BLANK)))

    def record_offset(self) -> int:
        """Offset that an index gives for a record at this point."""
        return self.offset

    def may_end_at(self, n_bytes: int) -> bool:
        """Whether a record may end ``n_bytes`` ahead, as far as that can be known without reading up to there."""
        return True

    def reason_of_rest(self, offset: int, is_cut_record: bool) -> Reason:
        """Why the last bytes of the run, from a record's offset on, are not a record."""
        return self.fault or Reason.RECORD_MALFORMED


class _PlainRun(_Run):
    """A file that is not packed is one run; what is ahead can be looked at."""

    __slots__ = ("_file",)

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(0, iter(lambda: file.read(CHUNK_BYTES), b""))
        self._file = file

    def record_offset(self) -> int:
        return self.passed

    def may_end_at(self, n_bytes: int) -> bool:
        try:
            number = self._file.fileno()
        except OSError:  # a member of a zip
            return True
        ahead = os.pread(number, 4, self.passed + n_bytes)
        is_in_file = self.passed + n_bytes <= os.fstat(number).st_size
        return is_in_file and (not ahead or _TERMINATOR.match(ahead) is not None)

    def reason_of_rest(self, offset: int, is_cut_record: bool) -> Reason:
        if is_cut_record:
            return Reason.ARCHIVE_TRUNCATED
        return Reason.RECORD_MALFORMED if offset else Reason.ARCHIVE_MALFORMED


def _framed(run: _Run, max_block_bytes: int) -> Iterator[Record | Lost]:
    while True:
        run.skip_blank()
        offset = run.record_offset()
        place = str(offset) if offset == run.passed or not run.passed else f"{offset}+{run.passed}"
        if not run.has(1):
            if run.fault:
                yield Lost(offset, place, run.fault)
            return
        record, is_record_start, search_from = _next_record(run, offset, max_block_bytes)
        if record:
            yield record
        elif _skip_to_record(run, search_from):
            yield Lost(offset, place, Reason.RECORD_MALFORMED)
        else:
            yield Lost(offset, place, run.reason_of_rest(offset, is_record_start))
            return


def _next_record(run: _Run, offset: int, max_block_bytes: int) -> tuple[Record | None, bool, int]:
    """The record at this point, then skipped. Else whether one begins here, and where to search the next."""
    if not (run.has(len(_START)) and run.buffer.startswith(_START)):
        return None, _START.startswith(run.buffer), 0
    header_end = _header_end(run)
    length = _LENGTH.search(run.buffer, 0, header_end)
    if length is None or _RECORD.search(run.buffer, len(_START), header_end):
        return None, not header_end and not run.has(MAX_HEADER_BYTES), len(_START)
    end = header_end + int(length[1])
    kept = min(end, header_end + max_block_bytes)
    is_cut = kept < end
    if is_cut and not run.may_end_at(end):
        return None, True, header_end
    if not run.has(kept):
        return None, True, header_end
    data = bytes(run.buffer[:kept]) if is_cut else b""
    if is_cut:
        if not run.skip(end):
            return None, True, 0
        end = 0
    if not _is_sound_end(run, end):
        following = _NEXT_RECORD.match(run.buffer, end)
        return None, False, following.end() if following else 0 if is_cut else header_end
    record = Record(offset, data or bytes(run.buffer[:kept]), is_cut, offset)
    run.skip(end)
    return record, True, 0


def _header_end(run: _Run) -> int:
    """Where the block begins; 0 if the header has no end."""
    wanted = 1024
    while True:
        is_all = not run.has(wanted)
        match = _HEADER_END.search(run.buffer, 0, MAX_HEADER_BYTES)
        if match:
            return match.end()
        if is_all or wanted >= MAX_HEADER_BYTES:
            return 0
        wanted *= 4


def _is_sound_end(run: _Run, end: int) -> bool:
    """Whether a record may end here: a blank line and something valid after it, or the end of the run.

    A length that counts some of the blank line as its own (as in files written by hand) is accepted.
    """
    has_more = run.has(end + 16)
    if _TERMINATOR.match(run.buffer, end):
        return has_more or run.fault is None
    following = _NEXT_RECORD.match(run.buffer, end)
    if following:
        return _BLANK_LINE_AT_END.search(run.buffer[max(0, end - 4) : following.end()]) is not None
    return not has_more and run.fault is None and not run.buffer[end:].strip(_BLANK)


def _skip_to_record(run: _Run, search_from: int) -> bool:
    """Skips everything before the next line that begins a record; False if the run has none.

    Right at ``search_from`` a record needs no line of its own: the one before it may have left out its blank line.
    """
    if search_from and run.buffer.startswith(_START, search_from):
        return run.skip(search_from)
    while True:
        match = _RECORD.search(run.buffer, search_from)
        if match:
            return run.skip(match.start())
        searched = max(search_from, len(run.buffer) - len(b"\nWARC/1."))
        run.skip(searched)
        search_from = 1 if run.buffer else 0  # the byte before a line is not its start
        if not run.has(len(run.buffer) + 1):
            run.skip(len(run.buffer))
            return False


class _PackedRun(_Run):
    """A member and the following ones that do not begin a record, read as one stream."""

    __slots__ = ("next_member",)
    next_member: Member | None


def _packed_runs(members: Members) -> Iterator[_Run]:
    iterator = iter(members)
    member = next(iterator, None)
    while member is not None:
        run = _PackedRun(member.offset, iter(()))
        run.next_member = None
        run.pieces = _pieces_of_run(run, member, iterator)
        yield run
        run.skip(2**63)  # to the end, in case its reader stopped before
        member = run.next_member


def _pieces_of_run(run: _PackedRun, member: Member, members: Iterator[Member]) -> Iterator[bytes]:
    while True:
        yield from member.pieces
        if member.fault:
            run.fault = member.fault
            run.next_member = next(members, None)
            return
        following = next(members, None)
        if following is None:
            return
        head = b""
        while len(head) < len(_START) and (piece := next(following.pieces, None)):
            head += piece
        following.pieces = _chain(head, following.pieces)
        if head.startswith(_START) or (following.fault and not head):
            run.next_member = following
            return
        member = following


def _chain(head: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from pieces
