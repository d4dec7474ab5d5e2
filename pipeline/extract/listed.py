"""What an input may say of the pictures themselves, beside URL and text: their sha256, and boxes to blur.

DataComp's metadata has both (columns ``sha256``, ``face_bboxes``). What cannot be read costs its row: a face that is to
be blurred must not slip through with a typing error.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

_SHA256 = re.compile(r"[0-9a-f]{64}")


def of_picture(sha256: Any, boxes: Any) -> dict[str, Any]:
    """The columns ``listed_sha256`` and ``boxes``; ValueError for what is neither null nor what it should be."""
    return {"listed_sha256": _sha256_of(sha256), "boxes": _boxes_of(boxes)}


def _sha256_of(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _SHA256.fullmatch(value.strip().lower()):
        raise ValueError(f"no sha256 in 64 hex digits: {value!r}"[:200])
    return value.strip().lower()


def _boxes_of(value: Any) -> list[float] | None:
    """All boxes one after another, each cut at the picture's edges; None for no box. A text is read as JSON."""
    if value is None or value == "":
        return None
    try:
        boxes = msgspec.convert(_decoded(value), list[tuple[float, float, float, float]])
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeError) as error:
        raise ValueError(f"no list of boxes [left, top, right, bottom]: {error}") from None
    for box in boxes:
        left, top, right, bottom = box
        if not (all(map(math.isfinite, box)) and left <= right and top <= bottom):
            raise ValueError(f"no box [left, top, right, bottom] in shares of a side: {list(box)}")
    return [min(max(share, 0.0), 1.0) for box in boxes for share in box] or None


def _decoded(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, str) else value
