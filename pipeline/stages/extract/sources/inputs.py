"""The inputs of a run, all checked before any work starts: format, readability, fingerprint.

The content of a file decides its format; its name only where the content cannot (csv or tsv).

    warc   WARC, packed or plain under any name          urls   parquet, csv, tsv, jsonl
    wat    a WARC whose records are metadata in JSON     html   a folder or tar of .html files, or one such file
    webdataset   a plain tar of images with their texts (img2dataset's output), read in place

One file, or one folder of HTML, is one split: the unit of resume. Inputs that would give the same rows have the same
fingerprint and are read once, whatever their paths.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.core.boundary import contained, said
from pipeline.core.errors import ErrorCode, InputError, PairmillError
from pipeline.core.ids import key_of
from pipeline.core.sample_names import PICTURES, key_and_ending
from pipeline.core.tars import BLOCK_BYTES, NO_MEMBER, tar_members
from pipeline.stages.extract.archives.wacz import ZIP_MAGIC, is_wacz
from pipeline.stages.extract.config import GUESSED, Columns
from pipeline.stages.extract.lists.list_bytes import text_of_head
from pipeline.stages.extract.lists.list_columns import chosen_columns, columns_of, container_of, image_column
from pipeline.stages.extract.pages.html_files import INDEX_NAME, SUFFIXES, is_html_file, is_page, opened_tar
from pipeline.stages.extract.raw.members import IS_ZSTD, unpacked_head
from pipeline.stages.extract.raw.places import File, beginning, each
from pipeline.stages.extract.sources.digests import sha256s_of
from pipeline.stages.extract.sources.discovery import BESIDE, EMPTY, found_by
from pipeline.stages.extract.sources.other_files import (
    MOVE_IT,
    other_format,
    refuse_other_text,
    require_in_place,
    unknown_format,
)
from pipeline.web.codings import CodingError, Decoder

HEAD_BYTES = 2**18
HEAD_MEMBERS = 1000  # of a tar; they show whether it has HTML pages or only images

_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_ARC = b"filedesc://"
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_OF_TARS = {"html", "webdataset"}
_TYPE = re.compile(rb"^WARC-Type:[ \t]*([a-z]+)", re.IGNORECASE | re.MULTILINE)
_JSON = re.compile(rb"^Content-Type:[ \t]*application/json", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Split:
    """One input.

    The fingerprint covers all that rows are made from: the format, the bytes and, of an HTML file and of a tar of
    samples, the name (it is in the page's URL, in the sample's source_key); never its folder.
    """

    format: str  # warc, wat, html, urls or webdataset
    path: str
    fingerprint: str  # key of format, container, name if rows have it, and the sha256 of what is read
    container: str = ""  # of a URL list: parquet, csv, tsv or jsonl
    columns: Columns = GUESSED  # of a URL list
    copies: int = 0  # other inputs of the same fingerprint, which are not read


@dataclass(frozen=True)
class Seen:
    """One input that was looked at: what it is, and the files whose bytes it has."""

    format: str
    path: str
    files: tuple[File, ...]
    container: str = ""
    columns: Columns = GUESSED
    is_folder: bool = False

    def with_fingerprint(self, sha256s: Mapping[File, str]) -> Split:
        """The split, from the sha256 of each of its files."""
        if self.is_folder:
            name, digest = "", _sha256_of_folder([(file.relative, sha256s[file]) for file in self.files])
        else:
            name, digest = self.path.rpartition("/")[2], sha256s[self.files[0]]
        has_name = self.format == "webdataset" or (self.format == "html" and is_page(name))
        fingerprint = key_of(self.format, self.container, name if has_name else "", digest)
        return Split(self.format, self.path, fingerprint, self.container, self.columns)


@dataclass(frozen=True)
class Inputs:
    """All inputs, in the order of their paths, and the files beside them that are not data: why, by path."""

    seen: list[Seen]
    left_out: dict[str, str]

    def splits(self, sha256s: Mapping[File, str]) -> list[Split]:
        """Each fingerprint once: of inputs with one fingerprint that of smallest path is read, the rest counted."""
        first: dict[str, Split] = {}
        for one in self.seen:
            split = one.with_fingerprint(sha256s)
            known = first.get(split.fingerprint)
            first[split.fingerprint] = replace(known, copies=known.copies + 1) if known else split
        return list(first.values())


def find_inputs(patterns: list[str], format: str, columns: Columns = GUESSED) -> list[Split]:
    """The splits of all that the patterns name, looked at and hashed. InputError as `look_at`."""
    inputs = look_at(patterns, format, columns)
    return inputs.splits(sha256s_of(file for one in inputs.seen for file in one.files))


def look_at(patterns: Iterable[str], format: str, columns: Columns = GUESSED, prefix: str = "") -> Inputs:
    """All that files, folders, globs and lists of paths name (`discovery`), by format; each path once.

    Raises InputError for the first input at fault, with the number of others: ``input_missing``, ``input_unreadable``,
    ``input_schema`` or ``config_invalid``.
    """
    found = found_by(patterns, prefix)
    faults, left_out = list(found.faults), dict(found.left_out)
    seen: dict[str, Seen] = {}
    for path, pages in found.pages.items():
        faults += [InputError(ErrorCode.INPUT_UNREADABLE, f"{page.path}: {page.fault}") for page in pages if page.fault]
        if format in ("auto", "html"):
            seen[path] = Seen("html", path, tuple(pages), is_folder=True)
        else:
            text = f"{path}: has {len(pages):,} HTML files ({pages[-1].path}), but extract.format is {format}"
            faults.append(InputError(ErrorCode.INPUT_UNREADABLE, text))
    files = list(found.files.values())
    for file, one in zip(files, each(lambda file: _look_at_file(file, format, columns), files), strict=True):
        if isinstance(one, Seen):
            seen[file.path] = one
        elif isinstance(one, _NothingInIt) and file.relative:
            left_out[file.path] = EMPTY
        elif file.path in found.maybe and file.relative:
            left_out[file.path] = BESIDE
        else:
            faults.append(one)
    if faults:
        others = f" (and {len(faults) - 1} more inputs at fault)" if len(faults) > 1 else ""
        raise InputError(faults[0].code, faults[0].text + others)
    return Inputs([seen[path] for path in sorted(seen)], left_out)


class _NothingInIt(InputError):
    """A packed file of no bytes: Spark writes one for an empty partition."""


def _look_at_file(file: File, format: str, columns: Columns) -> Seen | InputError:
    """What a file is, or why it cannot be read."""
    try:
        return _opened(file, format, columns)
    except InputError as error:
        if file.relative and not (file.fault or isinstance(error, _NothingInIt) or MOVE_IT in error.text):
            return InputError(error.code, f"{error.text}, or {MOVE_IT}")
        return error


def _opened(file: File, format: str, columns: Columns) -> Seen:
    try:
        if file.fault:
            raise OSError(file.fault)
        with beginning(file, HEAD_BYTES) as path:
            found, container = _format_of(path)
            if found is None and _is_packed_nothing(path):
                raise _NothingInIt(ErrorCode.INPUT_UNREADABLE, f"{file.path}: nothing in it")
            wanted = _wanted(found, format, path, file)
            if wanted != "urls":
                if wanted == "webdataset":
                    require_in_place(path, file.path)
                return Seen(wanted, file.path, (file,))
            if container != "parquet":
                refuse_other_text(text_of_head(_head(path)), file.path)
            there = columns_of(path, container)
            image = "" if columns.url else image_column(path, file.path, container, there)
            chosen = chosen_columns(there, columns, file.path, container, image)
            return Seen("urls", file.path, (file,), container, chosen)
    except (PairmillError, MemoryError):
        raise
    except Exception as error:  # whatever the bytes of a stranger make a parser raise
        text = getattr(error, "strerror", None) or said(error)
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"{file.path}: {text}") from None


def _wanted(found: str | None, format: str, path: Path, file: File) -> str:
    """The format to read a file in; InputError if it is none, or not the one that the user gives."""
    is_shard = format == "webdataset" and path.suffix == ".tar"
    if is_shard or (found is None and format in ("warc", "wat", "html")):
        found = format  # perhaps only its first bytes are broken: try the rest
    if found is None:
        raise unknown_format(file, path)
    if found == "urls" and format != "webdataset":
        return found
    if not _may_be_read_as(format, found, path):
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"{file.path}: is {found}, but extract.format is {format}")
    return found if format == "auto" else format


def _may_be_read_as(format: str, found: str, path: Path) -> bool:
    """Whether the user's format is trusted: if only records or members can tell, and few of them were looked at."""
    if format in ("auto", found):
        return True
    return {format, found} == {"warc", "wat"} or ({format, found} == _OF_TARS and not is_html_file(path))


def _format_of(path: Path) -> tuple[str | None, str]:
    """Format and, of a URL list, container; None for an unknown format."""
    with path.open("rb") as file:
        raw = file.read(HEAD_BYTES)
    head = _head(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if raw.startswith(_PARQUET) or suffixes[-1:] == [".parquet"]:
        return "urls", "parquet"
    if head.startswith(_PARQUET):
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"{path}: Parquet that is packed again; unpack it")
    if is_wacz(path):
        return "warc", ""
    if raw.startswith(ZIP_MAGIC):
        if suffixes[-1:] in ([".xlsx"], [".ods"]):
            raise InputError(ErrorCode.INPUT_UNREADABLE, f"{path}: a spreadsheet; save its table as CSV in UTF-8")
        text = "a zip without archive/*.warc.gz, or a WACZ that is cut off; of other zips, give the files in them"
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"{path}: {text}")
    if head.startswith(_ARC):
        text = "an ARC file, the format before WARC; convert it with: warcio recompress IN.arc.gz OUT.warc.gz"
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"{path}: {text}")
    if head.lstrip(b"\r\n").startswith(b"WARC/"):
        return "wat" if _is_wat(head) else "warc", ""
    if head[_TAR_MAGIC_AT:].startswith(_TAR_MAGIC) and (of_tar := _format_of_tar(path)):
        return of_tar, ""
    if is_html_file(path):
        return "html", ""
    if suffixes[-1:] == [".tar"] and not any(head[:BLOCK_BYTES]):  # an empty shard
        return "webdataset", ""
    if other_format(raw):
        return None, ""
    if not raw:
        return _format_of_empty(suffixes), "csv"
    head = text_of_head(head)
    # Any text is a list with a header line; a wrong text (a list of file names) is rejected by its columns.
    return ("urls", container_of(head, suffixes)) if _is_text(head) else (None, "")


def _format_of_empty(suffixes: list[str]) -> str | None:
    if ".wat" in suffixes:
        return "wat"
    return (
        "warc"
        if ".warc" in suffixes
        else "urls"
        if {".csv", ".tsv", ".jsonl", ".ndjson", ".json"} & set(suffixes)
        else None
    )


def _is_wat(head: bytes) -> bool:
    """A WAT begins like any WARC; its records are metadata in JSON and never responses."""
    types = {match.lower() for match in _TYPE.findall(head)}
    return b"metadata" in types and b"response" not in types and _JSON.search(head) is not None


def _is_text(head: bytes) -> bool:
    """UTF-8 for the most part: single bad bytes and NULs only affect single rows."""
    if not head:
        return False
    text = head.decode("utf-8", "replace")
    return (text.count("\N{REPLACEMENT CHARACTER}") + text.count("\0")) * 20 < len(text)


def _format_of_tar(path: Path) -> str | None:
    """HTML if it has a page or the index of pages; else webdataset if it has an image. Packed or plain."""
    has_picture = False
    with opened_tar(path) as file:
        members = contained(tar_members(file), lambda error, count: NO_MEMBER)  # its faults are said when it is read
        for number, member in enumerate(members):
            if member.name.lower().endswith(SUFFIXES) or member.name == INDEX_NAME:
                return "html"
            named = key_and_ending(member.name)
            has_picture |= named is not None and named[1] in PICTURES
            if has_picture and number >= HEAD_MEMBERS:
                break
    return "webdataset" if has_picture else None


def _is_packed_nothing(path: Path) -> bool:
    with path.open("rb") as file:
        raw = file.read(HEAD_BYTES)
    is_packed = raw.startswith(_GZIP) or IS_ZSTD.match(raw)
    return bool(is_packed) and len(raw) < HEAD_BYTES and not _head(path)


def _head(path: Path) -> bytes:
    """The first bytes, unpacked."""
    with path.open("rb") as file:
        raw = file.read(HEAD_BYTES)
    if IS_ZSTD.match(raw):
        return unpacked_head(path, HEAD_BYTES)
    return _unpacked(raw) if raw.startswith(_GZIP) else raw


def _unpacked(raw: bytes) -> bytes:
    """The first bytes under gzip, as far as they are valid."""
    out = b""
    try:
        for piece in Decoder(["gzip"]).feed(raw):
            out += piece
            if len(out) >= HEAD_BYTES:
                break
    except CodingError:
        pass
    return out[:HEAD_BYTES]


def _sha256_of_folder(files: Iterable[tuple[str, str]]) -> str:
    """sha256 over (name, sha256) of its index, then of its pages in order."""
    digest = hashlib.sha256()
    for name, sha256 in files:
        digest.update(f"{name}\0{sha256}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
