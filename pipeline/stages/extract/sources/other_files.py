"""Files that cannot be read as inputs: one line each, with what to do instead."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.sample_names import PICTURES, key_and_ending
from pipeline.stages.extract.raw.places import File, is_url

MOVE_IT = "move the file out of the folder"
HEAD_BYTES = 512

_TAR = re.compile(r"\.(?:tar(?:\.[a-z0-9]+)?|tgz)$", re.IGNORECASE)
_ZEROS = re.compile(rb"(?:[\x09\x0a\x0d\x20-\x7e]\0){8}|(?:\0[\x09\x0a\x0d\x20-\x7e]){8}")
_ARCHIVE = re.compile(rb"[^\s,]+\.(?:warc|wat|wet)(?:\.gz|\.zst)?")
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_OTHERS = {
    b"BZh": "packed with bzip2; unpack it, or pack it with gzip or zstd",
    b"\xfd7zXZ\0": "packed with xz; unpack it, or pack it with gzip or zstd",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; give the files in it",
    b"Rar!": "a rar archive; give the files in it",
    b"ARROW1": "an Arrow file; write its table as Parquet",
    b"\xff\xff\xff\xff": "an Arrow stream; write its table as Parquet",
    b"\x80\x04\x95": "a pickle; write its table as Parquet",
    b"\x80\x05\x95": "a pickle; write its table as Parquet",
    b"ORC": "an ORC file; write its table as Parquet",
    b"Obj\x01": "an Avro file; write its table as Parquet",
    b"SQLite format 3\0": "a database of SQLite; write its table as CSV",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old file of Excel or Word; save its table as CSV",
}
"""First bytes of formats that are not read, and what to do instead."""


def other_format(head: bytes) -> str | None:
    """What a file is that begins so, and what to do with it; None if it may be an input."""
    return next((text for begin, text in _OTHERS.items() if head.startswith(begin)), None)


def unknown_format(file: File, path: Path) -> InputError:
    """For a file of no format that is read; ``path``: its beginning on a disk."""
    with path.open("rb") as beginning:
        head = beginning.read(HEAD_BYTES)
    if other := other_format(head):
        return InputError(ErrorCode.INPUT_UNREADABLE, f"{file.path}: {other}")
    named = key_and_ending(file.path.rpartition("/")[2])
    if named is not None and named[1] in PICTURES:
        text = f"an image; put images with their texts into tars (docs/tars.md), or {MOVE_IT}"
    elif head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")) or _ZEROS.match(head):
        text = "text in UTF-16 without a byte order mark, or in UTF-32; save it as UTF-8"
    elif head[257:].startswith(b"ustar") or _TAR.search(file.path):
        text = "a tar without pages or images, or not packed with gzip; unpack it and give its folder"
    else:
        text = "no WARC, WAT, HTML, parquet, csv, tsv, jsonl, tar of images"
        text += f"; {MOVE_IT}, or name the files to read" if file.relative else ""
    return InputError(ErrorCode.INPUT_UNREADABLE, f"{file.path}: {text}")


def refuse_other_text(head: bytes, path: str) -> None:
    """InputError for a text that begins with the path of an archive or with markup, not with a header or a row."""
    lines = head.removeprefix(_BOM).split(maxsplit=1)
    first = lines[0] if lines else b""
    if _ARCHIVE.fullmatch(first):
        text = f"{path}: a list of paths, not of images; name it {path}.paths and set extract.paths_prefix"
        raise InputError(ErrorCode.INPUT_SCHEMA, text)
    if first.startswith(b"<"):
        text = f"{path}: looks like HTML or XML; pages are told by their names: let it end in .html, not packed"
        raise InputError(ErrorCode.INPUT_UNREADABLE, text)


def require_in_place(path: Path, name: str) -> None:
    """InputError for a tar whose members cannot be read at an offset: it is packed, or not on a disk."""
    if is_url(name):
        text = f"{name}: a tar of images is read in place, from a disk; mount the store or copy the tar"
        raise InputError(ErrorCode.INPUT_UNREADABLE, text)
    with path.open("rb") as file:
        if file.read(len(_GZIP)) == _GZIP:
            raise InputError(
                ErrorCode.INPUT_UNREADABLE, f"{name}: a packed tar cannot be read in place; unpack it with gunzip"
            )
