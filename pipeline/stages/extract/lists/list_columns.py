"""Which columns of a URL list are read: those that the settings name, else those with the usual names."""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.core.errors import ErrorCode, InputError
from pipeline.stages.extract.config import Columns
from pipeline.stages.extract.lists.delimited import Delimited, is_url
from pipeline.stages.extract.lists.json_lists import HEAD_ROWS, json_rows
from pipeline.stages.extract.lists.list_bytes import opened
from pipeline.stages.extract.lists.list_names import (
    CAPTION_NAMES,
    IMAGE_URL_NAMES,
    URL_NAMES,
    may_name_images,
    squeezed,
    usual,
)
from pipeline.stages.extract.lists.parquet_lists import BOXES, NOTHING, TEXT, TEXTS, parquet_columns, parquet_rows
from pipeline.stages.extract.raw.places import open_place

MOST_HEAD_ROWS = 100_000  # of JSON, where the first rows may lack a field; half a second
FIRST_ROWS = 20  # show what a column holds that is named like images; it may hold the images themselves

_PICTURE = re.compile(r"\.(?:jpe?g|png|webp|gif|avif|bmp|tiff?)(?![a-z0-9])", re.IGNORECASE)
_NAMES: dict[str, tuple[str, ...]] = {"url": URL_NAMES, "caption": CAPTION_NAMES, "sha256": (), "boxes": ()}
_KINDS = {
    "url": (TEXT, NOTHING),
    "caption": (TEXT, TEXTS, NOTHING),
    "sha256": (TEXT, NOTHING),
    "boxes": (TEXT, BOXES, NOTHING),
}
_JSON = {".json", ".jsonl", ".ndjson"}
_SAID = {"url": "image URL", "caption": "text", "sha256": "sha256", "boxes": "boxes"}


def container_of(head: bytes, suffixes: list[str]) -> str:
    """jsonl (any JSON), tsv or csv (any other delimiter), by the first bytes of a text and the endings of its name."""
    begin = head.lstrip(b" \r\n")
    is_json = begin.startswith(b"{") or (begin.startswith(b"[") and begin[1:].lstrip()[:1] in (b"{", b"]", b""))
    if is_json or not _JSON.isdisjoint(suffixes):
        return "jsonl"
    return "tsv" if ".tsv" in suffixes or b"\t" in begin.partition(b"\n")[0] else "csv"


def columns_of(path: str | Path, container: str) -> dict[str, str]:
    """Name of each column and what it holds; JSON has those of its first rows. Raises OSError, EOFError, ValueError."""
    if container == "parquet":
        return parquet_columns(path)
    if container == "jsonl":
        return _columns_of_json(path)
    with opened(path) as file:
        return {name: TEXT for name in Delimited(file, container).header.names if name}


def image_column(path: str | Path, place: str, container: str, columns: dict[str, str]) -> str:
    """The column of URLs of images if only values show it: ``image``, beside a ``url`` that is the page's. In the first
    rows it holds URLs (``src`` those of pictures, by their endings), and ``url`` names no picture. Empty if none is.

    ``path`` begins as the list does; a Parquet file is read from its ``place``, because its rows may lie anywhere.
    """
    names = list(columns)
    perhaps = [name for name in names if may_name_images(name) and columns[name] == TEXT]
    urls = [name for name in usual(names, ("url",)) if columns[name] == TEXT]
    if not perhaps or usual(names, IMAGE_URL_NAMES):
        return ""
    values = _first_values(path, place, container, [*urls, *perhaps])
    pictures = {name for name in values if any(map(_PICTURE.search, values[name]))}
    if not pictures.isdisjoint(urls):
        return ""
    likely = [name for name in perhaps if name in pictures or squeezed(name) in ("image", "img")]
    return next((name for name in likely if values[name] and all(map(is_url, values[name]))), "")


def _first_values(path: str | Path, place: str, container: str, names: list[str]) -> dict[str, list[str]]:
    """The texts of some columns in the first rows, as far as these can be read."""
    found: dict[str, list[str]] = {name: [] for name in names}
    with suppress(OSError, EOFError, zlib.error, pa.ArrowException), ExitStack() as stack:
        if container == "parquet":
            rows: Iterator[tuple[Any, Any]] = parquet_rows(stack.enter_context(open_place(place)), names, FIRST_ROWS)
        elif container == "jsonl":
            rows = json_rows(path)
        else:
            rows = Delimited(stack.enter_context(opened(path)), container).rows(names)
        for _, row in islice(rows, FIRST_ROWS):
            for name in names if isinstance(row, dict) else ():
                if isinstance(value := row.get(name), str) and value.strip():
                    found[name].append(value)
    return found


def chosen_columns(
    columns: dict[str, str], wished: Columns, name: str, container: str = "", image: str = ""
) -> Columns:
    """The columns to read; ``image``: that of URLs, if none has a name that says so. Raises InputError
    ``input_schema``, which lists the existing columns."""
    chosen = {}
    there = ", ".join(columns)[:200] or "none"
    if container == "jsonl" and not columns:
        return wished  # an empty array: no row needs a column
    if container in ("csv", "tsv") and _are_places(wished, columns):
        return wished
    for what, names in _NAMES.items():
        wanted = getattr(wished, what)
        if not (wanted or names):
            continue
        column = wanted or (image if what == "url" else "") or next(iter(usual(list(columns), names)), None)
        if column is None:
            raise InputError(ErrorCode.INPUT_SCHEMA, f"{name}: {_no_column(what, columns, container, there)}")
        if column not in columns:
            raise InputError(ErrorCode.INPUT_SCHEMA, f"{name}: no column {column!r} (columns: {there})")
        if columns[column] not in _KINDS[what]:
            text = f"{name}: column {column!r} is {columns[column]}, wanted {' or '.join(_KINDS[what])}"
            raise InputError(ErrorCode.INPUT_SCHEMA, f"{text}; set extract.{what}_column to another")
        chosen[what] = column
    return Columns(**chosen)


def choices(lists: Iterable[tuple[str, Columns]]) -> Iterator[str]:
    """One line for each choice of columns, with the first list (path) it was made for and how many others."""
    by_choice: dict[Columns, list[str]] = defaultdict(list)
    for path, columns in lists:
        if columns.url:
            by_choice[columns].append(Path(path).name)
    for columns, names in by_choice.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        read = ", ".join(
            f"{_SAID[what]} from column {column!r}" for what, column in columns._asdict().items() if column
        )
        yield f"{names[0]}{others}: {read}"


def _are_places(wished: Columns, columns: dict[str, str]) -> bool:
    """Whether the settings number the columns of a list without a header, from 1."""
    named = [column for column in wished if column]
    is_numbered = all(column.isdecimal() and column not in columns for column in named)
    return bool(wished.url and wished.caption) and is_numbered and all(1 <= int(one) <= len(columns) for one in named)


def _no_column(what: str, columns: dict[str, str], container: str, there: str) -> str:
    if container in ("csv", "tsv") and any(is_url(column) for column in columns):
        return (
            f"no header, its first line is a row ({there}); "
            "set extract.url_column and extract.caption_column to the numbers of the columns, from 1"
        )
    is_one = what == "url" and container in ("csv", "tsv") and len(columns) == 1
    hint = ", or separate the columns by commas, semicolons, bars or tabs" if is_one else ""
    return f"no column for the {what} (columns: {there}); set extract.{what}_column{hint}"


def _columns_of_json(path: str | Path) -> dict[str, str]:
    """What the first HEAD_ROWS rows have, or more rows if no usual name is among theirs. A field that has a text in one
    of them is one of texts."""
    kinds: dict[str, set[str]] = defaultdict(set)
    fault, objects = None, 0
    try:
        for count, (number, values) in enumerate(islice(json_rows(path), MOST_HEAD_ROWS)):
            if count >= HEAD_ROWS and all(usual(list(kinds), names) for names in (URL_NAMES, CAPTION_NAMES)):
                break
            if isinstance(values, ValueError):
                fault = fault or f"no JSON object in its first rows: line {number}: {values}"
                continue
            objects += 1
            for name, value in values.items():
                kinds[name].add(_kind(value))
    except EOFError:
        if not objects:
            raise
    if fault and not objects:
        raise ValueError(fault)
    found = {name: _merged(of_name) for name, of_name in kinds.items()}
    if objects == 1 and found and not any(kind in (TEXT, NOTHING) for kind in found.values()):
        raise ValueError(f"one JSON object ({', '.join(found)[:100]}), wanted one object per row, or an array of them")
    return found


def _kind(value: Any) -> str:
    if value is None or value == []:
        return NOTHING
    if isinstance(value, list):
        if all(isinstance(one, str | None) for one in value):
            return TEXTS
        return BOXES if isinstance(value[0], list) else "list"
    kinds = {str: TEXT, dict: "object", bool: "boolean", int: "number", float: "number"}
    return kinds.get(type(value), type(value).__name__)


def _merged(kinds: set[str]) -> str:
    kinds = kinds - {NOTHING} or {NOTHING}
    return next((kind for kind in (TEXT, TEXTS, BOXES) if kind in kinds), " or ".join(sorted(kinds)))
