"""Which files the patterns of ``extract.inputs`` name: files, folders, globs, prefixes of a store, lists of paths.

A folder means every file below it. What is not data is left out by its name alone, and counted by why:

    hidden            a name that begins with a dot, or with _ (Spark's _SUCCESS), on the way or at the end;
                      not _lang=en; a page only for a dot
    empty             no bytes
    about other files README and the like, checksums, indexes of archives, what img2dataset writes about its tars
    beside pages      of a folder that has HTML pages: its styles, scripts, fonts, images
    of a run          everything in a folder that is a run: it may be below its own inputs

The same holds for what a wildcard matches. A file that is named itself is always read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pipeline.core.boundary import said
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage import at_home
from pipeline.stages.extract.pages.html_files import INDEX_NAME, is_hidden_page, is_page, pages_by_root, runs_among
from pipeline.stages.extract.raw.places import File, each, file_at, is_url, require_known_scheme
from pipeline.stages.extract.sources.path_lists import is_path_list, listed_paths
from pipeline.stages.extract.sources.wildcards import Group, below, instead_of, is_wild, matches

HIDDEN, EMPTY, ABOUT, BESIDE, OF_RUN = "hidden", "empty", "about other files", "beside pages", "of a run"

_ABOUT = re.compile(
    r"(?:readme|licen[cs]e|copying|notice|changelog|citation|authors)(?:\.(?:md|txt|rst|cff))?"
    r"|.*\.(?:md|rst|log|idx|crc|md5|sha1|sha256|sha512|asc|sig|cdx|cdxj|cdx\.gz|cdxj\.gz)|(?:md5|sha\d+)sums?(?:\.txt)?"
    r"|thumbs\.db|desktop\.ini|(?:dataset_infos?|state|datapackage(?:-digest)?|manifest)\.json",
    re.IGNORECASE,
)
_BESIDE = re.compile(
    r".*\.(?:css|m?js|map|json|xml|txt|webmanifest|ico|svg|jpe?g|png|gif|webp|avif|bmp|woff2?|ttf|otf|eot|mp[34]|webm"
    r"|ogg|pdf)",
    re.IGNORECASE,
)
_OF_CRAWLS = ("pages/pages.jsonl", "pages/extraPages.jsonl")  # what Browsertrix writes beside its archives (WACZ 1.1)
_OF_TARS = (".parquet", "_stats.json")  # what img2dataset writes beside SHARD.tar


@dataclass(frozen=True)
class Found:
    """What the patterns name. ``pages``: the HTML files of a folder, by the folder's path."""

    files: dict[str, File] = field(default_factory=dict)
    pages: dict[str, list[File]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # path: why
    maybe: set[str] = field(default_factory=set)  # files beside pages that may be lists: left out if they are not
    faults: list[InputError] = field(default_factory=list)


def found_by(patterns: Iterable[str], prefix: str) -> Found:
    """All that the patterns name, each path once. Faults are collected: `input_missing`, `input_unreadable`,
    `config_invalid`. ``prefix`` is the folder of relative paths in lists of paths."""
    found = Found()
    for pattern in patterns:
        try:
            _add(found, pattern, prefix)
        except InputError as error:
            found.faults.append(error)
        except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
            text = f"{pattern}: {getattr(error, 'strerror', None) or said(error)}"
            found.faults.append(InputError(ErrorCode.INPUT_UNREADABLE, text))
    for path in found.files.keys() & found.left_out.keys():  # named itself elsewhere
        del found.left_out[path]
    return found


def _add(found: Found, pattern: str, prefix: str) -> None:
    if not pattern:
        raise InputError(ErrorCode.CONFIG_INVALID, 'extract.inputs has an empty path; for this folder write "."')
    if is_url(pattern):
        require_known_scheme(pattern)
        pattern = pattern.rstrip("/")
    else:
        pattern = os.path.normpath(at_home(pattern))
    file = None if is_wild(pattern) else file_at(pattern)
    if file is not None:
        _add_named(found, file, prefix)
        return
    groups = matches(pattern) if is_wild(pattern) else [Group(pattern, below(pattern))]
    if not any(group.files for group in groups):
        raise InputError(ErrorCode.INPUT_MISSING, f"no file at {pattern}{instead_of(pattern)}")
    takes_hidden = os.path.basename(pattern).startswith(("_", "."))
    if not sum(_sift(found, group, takes_hidden, prefix) for group in groups):
        why = ", ".join(sorted({found.left_out[file.path] for group in groups for file in group.files}))
        raise InputError(ErrorCode.INPUT_MISSING, f"no input at {pattern}: all files there are left out ({why})")


def _add_named(found: Found, file: File, prefix: str) -> None:
    """A file that is read whatever its name; of a list of paths, the files in it."""
    if not is_path_list(file):
        if not (file.relative and file.path in found.files):  # one that is named itself stays so
            found.files[file.path] = file
        return
    paths = listed_paths(file, prefix)
    for path, listed in zip(paths, each(file_at, paths), strict=True):
        if listed is None:
            raise InputError(ErrorCode.INPUT_MISSING, f"no file at {path}, which {file.path} lists")
        found.files[listed.path] = listed


def _sift(found: Found, group: Group, takes_hidden: bool, prefix: str) -> int:
    """Sort files into data, pages and what is left out; returns how many are data or pages."""
    names = {file.relative: file for file in group.files}
    why = _why_left_out(names, group, takes_hidden)
    by_root = pages_by_root(name for name in names if not why[name]) if group.is_folder else {}
    for root, pages in by_root.items():
        place = f"{group.base}/{root}" if root else group.base
        found.pages[place] = [replace(names[name], relative=name.removeprefix(f"{root}/")) for name in pages]
    of_pages = {name for pages in by_root.values() for name in pages}
    for name, file in names.items():
        is_beside = bool(of_pages) and _BESIDE.fullmatch(os.path.basename(name)) is not None
        if why[name]:
            found.left_out[file.path] = why[name]
        elif name in of_pages:
            continue
        elif is_beside and not name.endswith((".json", ".txt")):
            found.left_out[file.path] = BESIDE
        else:
            if is_beside:
                found.maybe.add(file.path)
            _add_named(found, file, prefix)
    return sum(file.path not in found.left_out for file in group.files)


def _why_left_out(names: Mapping[str, File], group: Group, takes_hidden: bool) -> dict[str, str]:
    """Why each file is left out by its name; "" for those that are not."""
    tars = (name.removesuffix(".tar") for name in names if name.endswith(".tar"))
    of_tars = {tar + ending for tar in tars for ending in _OF_TARS}
    runs = runs_among(names)
    is_hidden = not takes_hidden and any(map(_is_marked, group.matched.split("/")))

    def why(name: str, file: File) -> str:
        if name.startswith(runs):
            return OF_RUN
        if is_hidden:
            return HIDDEN
        return ABOUT if name in of_tars else _why_by_name(file, takes_hidden)

    return {name: why(name, file) for name, file in names.items()}


def _why_by_name(file: File, takes_hidden: bool) -> str:
    *folders, name = file.relative.split("/")
    if is_page(name):  # as `html_files_in` reads them
        return HIDDEN if is_hidden_page(file.relative) else ""
    if not takes_hidden and any(map(_is_marked, (*folders, name))):
        return HIDDEN
    if _ABOUT.fullmatch(name) or file.relative.endswith(_OF_CRAWLS):
        return ABOUT
    return EMPTY if not file.bytes and not file.fault and name != INDEX_NAME else ""


def _is_marked(part: str) -> bool:
    """As Spark and Hive have it: ``_temporary`` is not data, ``_lang=en`` is."""
    return part.startswith(".") or (part.startswith("_") and "=" not in part)
