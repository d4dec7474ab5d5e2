"""What an input may say about the images themselves, beside URL and text: their sha256, and boxes to blur.

DataComp's metadata has both (columns ``sha256``, ``face_bboxes``). A face to blur must not be missed because of
a typing error: an invalid value drops its row, and invalid boxes become one box, the whole image,
wherever else that image is used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.core.ids import key_of
from pipeline.stages.extract.candidates import Row
from pipeline.stages.extract.config import Columns
from pipeline.stages.extract.reasons import Reason

EVERYTHING = [0.0, 0.0, 1.0, 1.0]
FARTHEST = 2.0  # a larger value is not a share: the box is in pixels
_SHA256 = re.compile(r"[0-9a-f]{64}")


def with_listed(row: Row, values: Mapping[str, Any], columns: Columns, reason: Reason, where: str) -> Row:
    """``row`` with ``listed_sha256s`` and ``boxes`` of the fields that ``columns`` names; lost for ``reason`` if one
    is missing, or is neither null nor valid; ``where`` then names the row in the detail."""
    listed: Row = {}
    for name, wanted, read, instead in (
        ("listed_sha256s", columns.sha256, _sha256s_of, None),
        ("boxes", columns.boxes, _boxes_of, EVERYTHING),
    ):
        try:
            if wanted:
                listed[name] = read(values[wanted])
        except (KeyError, ValueError) as error:
            why = f"no field {wanted!r}" if isinstance(error, KeyError) else str(error)
            lost = {"outcome": reason.value, "detail": f"{where}: {why}"[:400], "pair_id": None, name: instead}
            listed |= lost | {"candidate_id": key_of(row["candidate_id"], reason.value)}
    return row | listed


def listed_of(values: Mapping[str, Any], columns: Columns) -> tuple[list[str] | None, list[float] | None]:
    """The two values that ``with_listed`` adds. KeyError or ValueError where it would give a lost row."""
    sha256s = _sha256s_of(values[columns.sha256]) if columns.sha256 else None
    return sha256s, _boxes_of(values[columns.boxes]) if columns.boxes else None


def _sha256s_of(value: Any) -> list[str] | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _SHA256.fullmatch(value.strip().lower()):
        raise ValueError(f"no sha256 in 64 hex digits: {value!r}")
    return [value.strip().lower()]


def _boxes_of(value: Any) -> list[float] | None:
    """All boxes one after another, each cut at the image's edges; None for no box. A text is read as JSON."""
    if value is None or value == "":
        return None
    try:
        decoded = msgspec.json.decode(value) if isinstance(value, str) else value
        boxes = msgspec.convert(decoded or [], list[tuple[float, float, float, float]])
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"no list of boxes [left, top, right, bottom]: {error}") from None
    return [share for box in boxes for share in _cut(box)] or None


def _cut(box: tuple[float, ...]) -> list[float]:
    left, top, right, bottom = box
    cut = [min(max(share, 0.0), 1.0) for share in box]
    is_one = all(map(math.isfinite, box)) and left <= right and top <= bottom and max(map(abs, box)) <= FARTHEST
    has_extent = left < right and top < bottom
    if not is_one or (has_extent and not (cut[0] < cut[2] and cut[1] < cut[3])):
        raise ValueError(f"no box [left, top, right, bottom] in shares of a side: {list(box)}")
    return cut
