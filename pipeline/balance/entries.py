"""The list file: entries and their origins, as Parquet or TSV; lists of other projects can be read too.

Only the set of folded entries of a list counts. `text` uses the digest of this set in its key, so a list may be moved,
sorted or written in another format without measuring again.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipeline.balance.folding import fold_texts
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.ids import key_of
from schemas.queries import QUERIES

FORMATS = (".parquet", ".tsv", ".json")
REMEDY = "make one with pairmill queries build"
TSV = pacsv.ParseOptions(delimiter="\t", quote_char=False)


@dataclass(frozen=True)
class Queries:
    """The entries of a list: folded, distinct, sorted by code point, none empty. ``digest`` names the set."""

    entries: tuple[str, ...]
    digest: str


def read_queries(path: str) -> Queries:
    """The list in a file: Parquet or TSV with a column ``entry``, or a JSON list of texts (as MetaCLIP publishes).

    InputError `resource_missing` for a file that is missing, not UTF-8, in another format, or without entries.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(ErrorCode.RESOURCE_MISSING, f"list of queries {path}: {error.strerror}; {REMEDY}") from None
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _read(path: str, mtime_ns: int, size: int) -> Queries:
    try:
        texts = _texts(Path(path))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException) as error:
        what = " ".join(str(error).split())[:200]
        raise InputError(
            ErrorCode.RESOURCE_MISSING, f"list of queries {path} cannot be read: {what}; {REMEDY}"
        ) from None
    entries = tuple(sorted({entry for entry in fold_texts(texts) if entry}))
    if not entries:
        raise InputError(ErrorCode.RESOURCE_MISSING, f"list of queries {path} has no entries; {REMEDY}")
    return Queries(entries, key_of(*entries))


def _texts(path: Path) -> list[str]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        column = pq.read_table(path, columns=["entry"])["entry"]
    elif suffix == ".tsv":
        wanted = pacsv.ConvertOptions(include_columns=["entry"], column_types={"entry": pa.string()})
        column = pacsv.read_csv(path, parse_options=TSV, convert_options=wanted)["entry"]
    elif suffix == ".json":
        listed = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            raise ValueError("it is not a JSON list of texts")
        "".join(listed).encode()  # JSON can contain half a surrogate pair, which is not text: UnicodeEncodeError
        return listed
    else:
        raise ValueError(f"the name ends in {suffix or 'nothing'}, not in {', '.join(FORMATS)}")
    return [text for text in column.cast(pa.string()).to_pylist() if text is not None]


def write_queries(path: Path, table: pa.Table) -> None:
    """Write a list (schema QUERIES) as Parquet or TSV, depending on the name. The same table gives the same bytes."""
    if path.suffix.lower() == ".parquet":
        stream = io.BytesIO()
        pq.write_table(table.cast(QUERIES), stream, compression="zstd")
        data = stream.getvalue()
    else:
        data = "".join(_lines(table.to_pylist())).encode()
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"--output {path}: {error.strerror}") from None


def require_writable_name(path: Path) -> None:
    """InputError `config_invalid` unless a list can be written under this name; called before any work."""
    if path.suffix.lower() not in (".parquet", ".tsv"):
        raise InputError(ErrorCode.CONFIG_INVALID, f"--output {path}: the name must end in .parquet or .tsv")
    if not path.parent.is_dir():
        raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"--output {path}: the folder {path.parent} does not exist")


def _lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Tab-separated lines with a header; origins are separated by a space; empty for null."""
    cells = [QUERIES.names]
    for row in rows:
        origin = " ".join(map(str, row["origin"]))
        cells.append([str("" if value is None else value) for value in (row | {"origin": origin}).values()])
    return ["\t".join(line) + "\n" for line in cells]
