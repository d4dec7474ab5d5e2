"""Which files the patterns of ``extract.inputs`` name: files, folders, globs, prefixes of a store, lists of paths.

A folder means every file below it. What is not data is left out by its name alone, and counted by why:

    hidden            a name that begins with a dot, or with _ (Spark's _SUCCESS), on the way or at the end;
                      not _lang=en; a page only for a dot
    empty             no bytes
    about other files README and the like, checksums, indexes of archives, what img2dataset writes about its tars
    beside pages      of a folder that has HTML pages: its styles, scripts, fonts, images

The same holds for what a wildcard matches. A file that is named itself is always read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage import at_home
from pipeline.stages.extract.html_files import INDEX_NAME, is_hidden_page, is_page, pages_by_root
from pipeline.stages.extract.path_lists import is_path_list, listed_paths
from pipeline.stages.extract.places import File, file_at, is_url, require_known_scheme
from pipeline.stages.extract.wildcards import Group, below, instead_of, is_wild, matches

HIDDEN, EMPTY, ABOUT, BESIDE = "hidden", "empty", "about other files", "beside pages"

_ABOUT = re.compile(
    r"(?:readme|licen[cs]e|copying|notice|changelog|citation|authors)(?:\.(?:md|txt|rst|cff))?"
    r"|.*\.(?:md|rst|log|crc|md5|sha1|sha256|sha512|asc|sig|cdx|cdxj|cdx\.gz|cdxj\.gz)|(?:md5|sha\d+)sums?(?:\.txt)?"
    r"|thumbs\.db|desktop\.ini|(?:dataset_infos?|state|datapackage|manifest)\.json",
    re.IGNORECASE,
)
_BESIDE = re.compile(
    r".*\.(?:css|m?js|map|json|xml|txt|webmanifest|ico|svg|jpe?g|png|gif|webp|avif|bmp|woff2?|ttf|otf|eot|mp[34]|webm"
    r"|ogg|pdf)",
    re.IGNORECASE,
)
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
        except OSError as error:
            text = f"{pattern}: {error.strerror or error}"
            found.faults.append(InputError(ErrorCode.INPUT_UNREADABLE, text))
    for path in found.files.keys() & found.left_out.keys():  # named itself elsewhere
        del found.left_out[path]
    return found


def _add(found: Found, pattern: str, prefix: str) -> None:
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
    before = len(found.files) + len(found.pages)
    for group in groups:
        _sift(found, group, os.path.basename(pattern).startswith(("_", ".")), prefix)
    if len(found.files) + len(found.pages) == before and not any(file.path in found.files for file in groups[0].files):
        why = ", ".join(sorted({found.left_out.get(file.path, "") for group in groups for file in group.files}))
        raise InputError(ErrorCode.INPUT_MISSING, f"no input at {pattern}: all files there are left out ({why})")


def _add_named(found: Found, file: File, prefix: str) -> None:
    """A file that is read whatever its name; of a list of paths, the files in it."""
    if not is_path_list(file):
        found.files[file.path] = file
        return
    for path in listed_paths(file, prefix):
        listed = file_at(path)
        if listed is None:
            raise InputError(ErrorCode.INPUT_MISSING, f"no file at {path}, which {file.path} lists")
        found.files[listed.path] = listed


def _sift(found: Found, group: Group, takes_hidden: bool, prefix: str) -> None:
    """Sort files into data, pages and what is left out."""
    names = {file.relative: file for file in group.files}
    tars = {name.removesuffix(".tar") for name in names if name.endswith(".tar")}
    of_tars = {tar + ending for tar in tars for ending in _OF_TARS}
    is_hidden = not takes_hidden and any(map(_is_marked, group.matched.split("/")))
    why = {
        name: HIDDEN if is_hidden else _why_left_out(file, name in of_tars, takes_hidden)
        for name, file in names.items()
    }
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


def _why_left_out(file: File, is_of_tar: bool, takes_hidden: bool) -> str:
    *folders, name = file.relative.split("/")
    if is_page(name):  # as `html_files_in` reads them
        return HIDDEN if is_hidden_page(file.relative) else ""
    if not takes_hidden and any(map(_is_marked, (*folders, name))):
        return HIDDEN
    if _ABOUT.fullmatch(name) or is_of_tar:
        return ABOUT
    return EMPTY if not file.bytes and not file.fault and name != INDEX_NAME else ""


def _is_marked(part: str) -> bool:
    """As Spark and Hive have it: ``_temporary`` is not data, ``_lang=en`` is."""
    return part.startswith(".") or (part.startswith("_") and "=" not in part)
