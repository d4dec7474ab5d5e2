"""Patterns of paths, on a disk as the standard library's glob has them, on a store by the names in a listing.

``*`` and ``?`` match no slash, and no dot at the start of a name; ``[ab]`` is one character; ``**`` is any number of
folders. Brackets that are part of an existing name are only that.
"""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass, replace
from fnmatch import translate

from pipeline.stages.extract.raw.places import File, file_at, file_or_fault, files_below, is_url

_MAGIC = re.compile(r"[*?\[]")
_PIECE = re.compile(r"\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


@dataclass(frozen=True)
class Group:
    """Files below ``base``, with names relative to it. ``is_folder``: their pages belong together. ``matched``: the
    end of ``base`` that a wildcard matched."""

    base: str
    files: list[File]
    is_folder: bool = True
    matched: str = ""


def is_wild(pattern: str) -> bool:
    """Whether a pattern is not itself the name of something: a file may be named ``a[1].csv``."""
    if not _MAGIC.search(pattern):
        return False
    if "*" in pattern or "?" in pattern:
        return True
    return (file_at(pattern) is None and not files_below(pattern)) if is_url(pattern) else not os.path.lexists(pattern)


def below(folder: str) -> list[File]:
    """The files below a folder or prefix; none if there is no such folder."""
    return files_below(folder) if is_url(folder) or os.path.isdir(folder) else []


def matches(pattern: str) -> list[Group]:
    """The files that match, then each folder that does. With ``**`` all files are one group; its pages belong together
    if it is all below a folder, because the reader of a folder reads all its pages."""
    parts = pattern.split("/")
    first = next((number for number in range(len(parts)) if _is_magic(parts, number)), len(parts))
    base = "/".join(parts[:first]) or ("/" if first else ".")
    if "**" in parts:  # not by glob, which walks through loops of links
        files = [file for _, files in _listed(base, parts[first:]) for file in files]
        return [Group(base, files, is_folder=parts[first:] == ["**"])]
    found = _listed(base, parts[first:]) if is_url(pattern) else _globbed(base, parts[first:])
    alone = Group(base, [files[0] for folder, files in found if not folder], is_folder=False)
    start = 0 if base == "." else len(base.rstrip("/")) + 1
    return [alone, *(Group(folder, files, matched=folder[start:]) for folder, files in found if folder)]


def instead_of(pattern: str) -> str:
    """What to write instead of a pattern that matches nothing; empty if nothing comes to mind."""
    if re.search(r"\{.*,.*\}", pattern):
        return "; { } are not expanded: give each path"
    return f"; for a name with brackets write {glob.escape(pattern)}" if "[" in pattern else ""


def _is_magic(parts: list[str], number: int) -> bool:
    part, path = parts[number], "/".join(parts[: number + 1])
    is_name = "*" not in part and "?" not in part and not is_url(path) and os.path.lexists(path)
    return _MAGIC.search(part) is not None and not is_name


def _globbed(base: str, parts: list[str]) -> list[tuple[str, list[File]]]:
    """(folder, its files) for each folder that matches, ("", [file]) for each file."""
    found: list[tuple[str, list[File]]] = []
    start = "" if base == "." else base.rstrip("/") + "/"
    for path in sorted(glob.glob("/".join([glob.escape(base), *parts]))):
        path = os.path.normpath(path)
        if os.path.isdir(path):
            found.append((path, files_below(path)))
        else:
            found.append(("", [replace(file_or_fault(path), relative=path.removeprefix(start))]))
    return found


def _listed(base: str, parts: list[str]) -> list[tuple[str, list[File]]]:
    """The same by the names of all files below ``base``. With ``**`` each file that is in a match is one."""
    wanted = re.compile(as_regex(parts))
    found: dict[str, list[File]] = {}
    for file in below(base):
        match = wanted.match(file.relative)
        if match is None:
            continue
        rest = file.relative[match.end() :]
        if rest and "**" not in parts:
            found.setdefault(f"{base}/{match[0].rstrip('/')}", []).append(replace(file, relative=rest))
        else:
            found[f"/{file.relative}"] = [file]
    return [("" if folder.startswith("/") else folder, files) for folder, files in found.items()]


def as_regex(parts: list[str]) -> str:
    """A regex for the parts of a pattern. It also matches the start of a path: the folder that the pattern names."""
    regex = ""
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        if part == "**":
            regex += ".*" if is_last else "(?:[^/.][^/]*/)*"
            continue
        one = "".join(map(_pieceas_regex, _PIECE.findall(part)))
        regex += ("" if part.startswith(".") else r"(?!\.)") + one + ("(?:/|$)" if is_last else "/")
    return regex


def _pieceas_regex(piece: str) -> str:
    if piece in ("*", "?"):
        return "[^/]*" if piece == "*" else "[^/]"
    if len(piece) > 2 and piece.startswith("["):
        return "(?!/)" + translate(piece).removeprefix("(?s:").removesuffix(r")\Z")
    return re.escape(piece)
