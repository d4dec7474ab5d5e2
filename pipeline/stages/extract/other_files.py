"""Files that cannot be read as inputs: one line each, with what to do instead."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.sample_names import PICTURES, key_and_ending
from pipeline.stages.extract.places import File, is_url

_ARCHIVE = re.compile(rb"[^\s,]+\.(?:warc|wat|wet)(?:\.gz|\.zst)?")
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


def unknown_format(file: File) -> InputError:
    """For a file of no format that is known."""
    named = key_and_ending(file.path.rpartition("/")[2])
    if named is not None and named[1] in PICTURES:
        text = "an image; put images with their texts into tars (docs/tars.md), or move it out of the inputs"
    else:
        text = "no WARC, WAT, HTML, parquet, csv, tsv, jsonl, tar of images"
        text += "; move it out of the folder, or name the files to read" if file.relative else ""
    return InputError(ErrorCode.INPUT_UNREADABLE, f"{file.path}: {text}")


def refuse_other_text(head: bytes, path: str) -> None:
    """InputError for a text that begins with the path of an archive or with markup, not with a header or a row."""
    lines = head.removeprefix(_BOM).split(maxsplit=1)
    first = lines[0] if lines else b""
    if _ARCHIVE.fullmatch(first):
        text = f"{path}: a list of paths, not of images; name it {path}.paths and set extract.paths_prefix"
        raise InputError(ErrorCode.INPUT_SCHEMA, text)
    if first.startswith(b"<"):
        text = f"{path}: looks like HTML or XML; pages are told by their names: let it end in .html"
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
