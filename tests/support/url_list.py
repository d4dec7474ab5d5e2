"""URL lists as a build reads them: found, their columns chosen, measured; without Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.stages.extract.config import Columns, Config
from pipeline.stages.extract.sources.inputs import find_inputs
from pipeline.stages.extract.split_rows import extract_split


def listed(path: Path, data: bytes | str | None = None, columns: Columns = Columns()) -> list[dict[str, Any]]:  # noqa: B008
    """The rows of the list at ``path``, which is written first if ``data`` is given."""
    if data is not None:
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    (split,) = find_inputs([str(path)], "auto", columns)
    return [row for rows in extract_split(split, Config()) for row in rows]


def short(rows: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """Text of each candidate, or reason and line of what is none."""
    return [
        ("ok", row["alt_text"]) if row["outcome"] == "ok" else (row["outcome"], line_of(row["detail"])) for row in rows
    ]


def line_of(detail: str | None) -> str | None:
    """What a detail says about the place: ``line 7`` of ``list.csv, line 7: a quote is never closed``."""
    return detail.partition(", ")[2].partition(":")[0] or None if detail else None
