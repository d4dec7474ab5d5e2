"""The inputs of a run, all checked before any work starts: format, readability, fingerprint.

The content of a file decides its format; its name only where the content cannot (csv or tsv).

    warc   WARC, packed or plain under any name          urls   parquet, csv, tsv, jsonl
    wat    a WARC whose records are metadata in JSON     html   a folder or tar of .html files, or one such file
    webdataset   a plain tar of images with their texts (img2dataset's output), read in place

One file, or one folder of HTML, is one split: the unit of resume. Inputs that would give the same rows have the same
fingerprint and are read once, whatever their paths.
"""

from __future__ import annotations

import glob
import hashlib
import re
import tarfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.ids import key_of
from pipeline.core.sample_names import PICTURES, key_and_ending
from pipeline.stages.extract.config import GUESSED, Columns
from pipeline.stages.extract.html_files import INDEX_NAME, SUFFIXES, html_files_in, is_html_file
from pipeline.stages.extract.url_lists import chosen_columns, columns_of

HEAD_BYTES = 2**18
HEAD_MEMBERS = 1000  # of a tar; they show whether it has HTML pages or only images

_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_OF_TARS = {"html", "webdataset"}
_ACCOUNTS = (".parquet", "_stats.json")  # what img2dataset writes beside SHARD.tar: SHARD.parquet, SHARD_stats.json
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


def find_inputs(patterns: list[str], format: str, columns: Columns = GUESSED) -> list[Split]:
    """The splits of all files, folders and globs, in the order of their paths, each path and each fingerprint once.

    Of inputs with one fingerprint the one of smallest path is read, the rest counted. Raises InputError for the first
    input at fault, with the number of others: ``input_missing``, ``input_unreadable`` or ``input_schema``.
    """
    splits: dict[str, Split] = {}
    faults: list[InputError] = []
    for pattern in patterns:
        try:
            paths = _paths_of(pattern)
        except InputError as error:
            faults.append(error)
            continue
        for path in paths:
            try:
                splits[str(path)] = _split_of(path, format, columns)
            except InputError as error:
                faults.append(error)
    if faults:
        others = f" (and {len(faults) - 1} more inputs at fault)" if len(faults) > 1 else ""
        raise InputError(faults[0].code, faults[0].text + others)
    return _each_once([splits[path] for path in sorted(splits)])


def _each_once(splits: list[Split]) -> list[Split]:
    """The first of the splits of each fingerprint, with the number of its copies."""
    first: dict[str, Split] = {}
    for split in splits:
        known = first.get(split.fingerprint)
        first[split.fingerprint] = replace(known, copies=known.copies + 1) if known else split
    return list(first.values())


def _paths_of(pattern: str) -> list[Path]:
    """Files and HTML folders that a pattern names. A folder without HTML means its files."""
    try:
        names = [pattern] if Path(pattern).exists() else glob.glob(pattern, recursive=True)
        paths = []
        for path in sorted(map(Path, names)):
            is_plain_folder = path.is_dir() and not html_files_in(path)
            paths += _files_in(path) if is_plain_folder else [path]
    except OSError as error:
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"{pattern}: {error.strerror}") from None
    if not paths:
        raise InputError(ErrorCode.INPUT_MISSING, f"no file at {pattern}")
    return paths


def _files_in(folder: Path) -> list[Path]:
    """Files of a folder, without hidden ones and what img2dataset wrote about its tars."""
    accounts = {f"{path.stem}{ending}" for path in folder.glob("*.tar") for ending in _ACCOUNTS}
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith((".", "_")) and path.name not in accounts
    )


def _split_of(path: Path, format: str, columns: Columns) -> Split:
    try:
        if path.is_dir():
            if format not in ("auto", "html"):
                raise InputError(
                    ErrorCode.INPUT_UNREADABLE, f"{path}: a folder of HTML, but extract.format is {format}"
                )
            return Split("html", str(path), key_of("html", "", "", _sha256_of_folder(path)))
        found, container = _format_of(path)
        is_shard = format == "webdataset" and path.suffix == ".tar"
        if is_shard or (found is None and format in ("warc", "wat", "html")):
            found = format  # perhaps only its first bytes are broken: try the rest
        if found is None:
            raise InputError(
                ErrorCode.INPUT_UNREADABLE, f"{path}: no WARC, WAT, HTML, parquet, csv, tsv, jsonl, tar of images"
            )
        if found != "urls" or format == "webdataset":
            if not _may_be_read_as(format, found, path):
                raise InputError(ErrorCode.INPUT_UNREADABLE, f"{path}: is {found}, but extract.format is {format}")
            wanted = found if format == "auto" else format
            if wanted == "webdataset":
                _require_plain(path)
            has_name = wanted == "webdataset" or (wanted == "html" and is_html_file(path))
            return Split(wanted, str(path), key_of(wanted, "", path.name if has_name else "", _sha256_of(path)))
        chosen = chosen_columns(columns_of(path, container), columns, str(path))
        return Split("urls", str(path), key_of("urls", container, "", _sha256_of(path)), container, chosen)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        text = str(getattr(error, "strerror", None) or error or "ends too early").splitlines()[0][:200]
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"{path}: {text}") from None


def _may_be_read_as(format: str, found: str, path: Path) -> bool:
    """Whether the user's format is trusted: if only records or members can tell, and few of them were looked at."""
    if format in ("auto", found):
        return True
    return {format, found} == {"warc", "wat"} or ({format, found} == _OF_TARS and not is_html_file(path))


def _format_of(path: Path) -> tuple[str | None, str]:
    """Format and, of a URL list, container; None for an unknown format."""
    with path.open("rb") as file:
        raw = file.read(HEAD_BYTES)
    head = _unpacked(raw) if raw.startswith(_GZIP) else raw
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if raw.startswith(_PARQUET) or ".parquet" in suffixes:
        return "urls", "parquet"
    if head.startswith(b"WARC/"):
        return "wat" if _is_wat(head) else "warc", ""
    if head[_TAR_MAGIC_AT:].startswith(_TAR_MAGIC) and (of_tar := _format_of_tar(path)):
        return of_tar, ""
    if is_html_file(path):
        return "html", ""
    if suffixes[-1:] == [".tar"] and not any(head[: tarfile.BLOCKSIZE]):  # an empty shard
        return "webdataset", ""
    if not raw:
        return _format_of_empty(suffixes), "csv"
    if not _is_text(head):
        return None, ""
    if head.removeprefix(_BOM).lstrip().startswith(b"{"):
        return "urls", "jsonl"
    # Any other text is a list with a header line; a wrong text (a list of file names) is rejected by its columns.
    return "urls", "tsv" if ".tsv" in suffixes or b"\t" in head.partition(b"\n")[0] else "csv"


def _format_of_empty(suffixes: list[str]) -> str | None:
    if ".wat" in suffixes:
        return "wat"
    return "warc" if ".warc" in suffixes else "urls" if {".csv", ".tsv", ".jsonl"} & set(suffixes) else None


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
    try:
        with tarfile.open(path) as tar:
            for number, member in enumerate(tar):
                if member.name.lower().endswith(SUFFIXES) or member.name == INDEX_NAME:
                    return "html"
                named = key_and_ending(member.name)
                has_picture |= named is not None and named[1] in PICTURES
                if has_picture and number >= HEAD_MEMBERS:
                    break
    except (EOFError, OSError, zlib.error, tarfile.TarError):
        pass
    return "webdataset" if has_picture else None


def _require_plain(path: Path) -> None:
    """InputError for a packed tar: its members cannot be read at an offset."""
    with path.open("rb") as file:
        if file.read(len(_GZIP)) == _GZIP:
            raise InputError(
                ErrorCode.INPUT_UNREADABLE, f"{path}: a packed tar cannot be read in place; unpack it with gunzip"
            )


def _unpacked(raw: bytes) -> bytes:
    """The first bytes under gzip, as far as they are valid."""
    out = b""
    try:
        while raw.startswith(_GZIP) and len(out) < HEAD_BYTES:
            member = zlib.decompressobj(31)
            out += member.decompress(raw, HEAD_BYTES)
            raw = member.unused_data
    except zlib.error:
        pass
    return out


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of_folder(folder: Path) -> str:
    """sha256 over the sorted (name, sha256) of its files."""
    digest = hashlib.sha256()
    index = [folder / INDEX_NAME] if (folder / INDEX_NAME).is_file() else []
    for path in index + html_files_in(folder):
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name}\0{_sha256_of(path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
