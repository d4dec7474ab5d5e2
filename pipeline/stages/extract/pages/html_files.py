"""HTML that is not in a WARC: a folder, a tar, or one file. ``index.tsv`` (columns name, url) gives the URLs of pages.

A page that the index does not know has the URL ``urn:html:NAME``; its relative image URLs cannot be resolved.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from pipeline.core.boundary import contained
from pipeline.core.sample_names import PICTURES, key_and_ending
from pipeline.core.tars import BrokenTar, TarMember, tar_members
from pipeline.stages.extract.candidates import Page, Row, lost, summary
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages.html import URN_PREFIX
from pipeline.stages.extract.pages.page_parser import Item, PageParser, PageTask
from pipeline.stages.extract.raw.bodies import is_packed
from pipeline.stages.extract.raw.media_types import is_binary
from pipeline.stages.extract.raw.places import files_below
from pipeline.stages.extract.reasons import Reason

SUFFIXES = (".html", ".htm", ".xhtml")
INDEX_NAME = "index.tsv"
MAX_INDEX_BYTES = 2**30

_OTHER_INPUT = re.compile(
    r".*\.(?:(?:warc|wat|arc|csv|jsonl|ndjson)(?:\.gz|\.zst)?|tsv\.(?:gz|zst)|wacz|parquet)|(?:.*/)?(?!index\.tsv)[^/]*\.tsv",
    re.IGNORECASE | re.DOTALL,
)

_LINE_END = re.compile(r"\r\n|\r|\n")

_File = tuple[str, bytes]  # name, the first max_page_bytes + 1 bytes


def read_html(path: str | Path, fingerprint: str, config: Config) -> Iterator[Row]:
    """Rows of all pages of a folder (recursively), a tar or a single file, in the order of their names or members."""
    path, beside = Path(path), list[str]()
    if path.is_dir():
        urls, files = _urls_of(_index_of_folder(path)), _files_of_folder(path, config.max_page_bytes + 1)
    elif is_html_file(path):
        urls, files = {}, iter([(path.name, _head(path, config.max_page_bytes + 1))])
    else:
        urls, files = _urls_of(_index_of_tar(path)), _members_of_tar(path, config.max_page_bytes + 1, beside)
    with PageParser(config) as parser:
        yield from parser.in_order(_items(urls, files, fingerprint, config))
    if beside:
        detail = f"{path.name}: archives, lists and samples in a tar of pages are not read, such as {beside[0][:200]}"
        yield summary(fingerprint, Reason.RECORD_NOT_PAGE, detail, len(beside))


def _items(urls: dict[str, str], files: Iterator[_File], fingerprint: str, config: Config) -> Iterator[Item]:
    for name, html in files:
        yield _item_of_file(name, html, urls.get(name) or URN_PREFIX + name, fingerprint, config)


def is_html_file(path: Path) -> bool:
    """Whether a file is one page, by its name; its URL is made from that name."""
    return is_page(path.name)


def is_page(name: str) -> bool:
    """Whether a name is that of a page."""
    return name.lower().endswith(SUFFIXES) and name.lower() not in SUFFIXES


def is_page_or_index(name: str) -> bool:
    """Whether a name, below a folder, is that of a page or of the list of their URLs."""
    return is_page(name) or name.rpartition("/")[2] == INDEX_NAME


def pages_by_root(names: Iterable[str]) -> dict[str, list[str]]:
    """Pages, and the index if there is one, by the folder that names them: the nearest above with an index, else "".

    ``names`` are relative to one folder. A folder without a page has no root.
    """
    names = list(names)
    indexed = {name.rpartition("/")[0] for name in names if name.rpartition("/")[2] == INDEX_NAME}
    found: dict[str, list[str]] = {}
    for name in sorted(filter(is_page, names), key=lambda name: name.split("/")):
        folders = name.split("/")[:-1]
        above = ("/".join(folders[:depth]) for depth in range(len(folders), 0, -1))
        found.setdefault(next((folder for folder in above if folder in indexed), ""), []).append(name)
    for root in found.keys() & indexed:
        found[root].insert(0, f"{root}/{INDEX_NAME}" if root else INDEX_NAME)
    return found


def html_files_in(folder: Path) -> list[Path]:
    """The pages of a folder and of those below it that have no index of their own and are no runs, in the order of
    their names."""
    names = {file.relative for file in files_below(str(folder))}
    runs = runs_among(names)
    pages = pages_by_root(name for name in names if not (is_hidden_page(name) or name.startswith(runs)))
    return [folder / name for name in pages.get("", []) if name != INDEX_NAME]


def runs_among(names: Collection[str]) -> tuple[str, ...]:
    """The folders, with a slash, that are runs of pairmill; a run may be below its own inputs."""
    folders = (name.removesuffix("run.json") for name in names if name.rpartition("/")[2] == "run.json")
    return tuple(folder for folder in folders if f"{folder}config.yaml" in names)


def is_hidden_page(name: str) -> bool:
    """Whether a part of a path below a folder begins with a dot."""
    return any(part.startswith(".") for part in name.split("/"))


def _item_of_file(name: str, html: bytes, url: str, fingerprint: str, config: Config) -> Item:
    page = Page(url)
    if len(html) > config.max_page_bytes:
        return [lost(fingerprint, name, Reason.BODY_TOO_LARGE, name, page=page)]
    if is_packed(html) or is_binary(html):
        why = "the page is packed; unpack it" if is_packed(html) else "the page is no text"
        return [lost(fingerprint, name, Reason.BAD_ENCODING, f"{name}: {why}", page=page)]
    return PageTask(html, url), [lost(fingerprint, name, Reason.PARSER_CRASH, name, page=page)]


def _files_of_folder(folder: Path, max_bytes: int) -> Iterator[_File]:
    for path in html_files_in(folder):
        yield path.relative_to(folder).as_posix(), _head(path, max_bytes)


@contextmanager
def opened_tar(path: Path) -> Iterator[BinaryIO]:
    """A tar that is plain or packed with gzip, at its start."""
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if is_packed else file


def _members_of_tar(path: Path, max_bytes: int, beside: list[str]) -> Iterator[_File]:
    """The pages; ``beside`` gets the names of members that are inputs of another format, and the keys of samples."""
    keys: dict[str, set[str]] = {}
    with opened_tar(path) as file:
        for member in tar_members(file, needs_end=False):
            if member.is_file and _OTHER_INPUT.fullmatch(member.name):
                beside.append(member.name)
            elif member.is_file and (named := key_and_ending(member.name)):
                keys.setdefault(named[0], set()).add(named[1])
            if member.is_file and member.name.lower().endswith(SUFFIXES):
                yield member.name.removeprefix("./"), _content(file, member, max_bytes)
    beside += [key for key, endings in keys.items() if _is_sample(endings)]


def _content(file: BinaryIO, member: TarMember, max_bytes: int) -> bytes:
    """The bytes of a member that was just met, up to ``max_bytes``."""
    wanted = min(member.size, max_bytes)
    data = file.read(wanted)
    if len(data) < wanted:
        raise BrokenTar(member.offset, "the file ends in this member", True, member.name)
    return data


def _is_sample(endings: set[str]) -> bool:
    """Whether members of one key are an image with its text, and not what was saved with a page."""
    has_page = any(f".{ending}" in SUFFIXES for ending in endings)
    return not has_page and not endings.isdisjoint(PICTURES) and not endings.isdisjoint(("txt", "json"))


def _head(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        return file.read(max_bytes)


def _index_of_folder(folder: Path) -> bytes:
    index = folder / INDEX_NAME
    return index.read_bytes() if index.is_file() else b""


def _index_of_tar(path: Path) -> bytes:
    """The index, anywhere in the tar; usually it is the first member. Faults are said when the pages are read."""

    def indexes() -> Iterator[bytes]:
        with opened_tar(path) as file:
            for member in tar_members(file, needs_end=False):
                if member.is_file and member.name.removeprefix("./") == INDEX_NAME:
                    yield _content(file, member, MAX_INDEX_BYTES)

    return next(contained(indexes(), lambda error, count: b""), b"")


def _urls_of(index: bytes) -> dict[str, str]:
    """URL by name, of a table with these two columns; its fields have no quotes."""
    rows = (line.split("\t") for line in _LINE_END.split(index.decode("utf-8-sig", "replace")) if line)
    names = next(rows, [])
    if not {"name", "url"} <= set(names):
        return {}
    name, url = names.index("name"), names.index("url")
    found = (row for row in rows if len(row) > max(name, url))
    return {row[name]: row[url] for row in found if row[name] and row[url]}
