"""What the measurement of an image depends on, and what it gives. Imports nothing heavy: lanes decode in a child."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

ResizeMode = Literal["keep_ratio_largest", "keep_ratio", "center_crop", "border", "no"]
"""img2dataset's modes. The longest (keep_ratio_largest, border) or shortest side (keep_ratio, center_crop) becomes
``size``; border then pads to a square with white, center_crop cuts one out of the middle."""

Resizer = Literal["native", "img2dataset"]


@dataclass(frozen=True)
class Limits:
    """Largest picture that is decoded. Above 50 megapixels RGB alone takes 150 MB a task (docs/faults.md, F28)."""

    max_pixels: int = 50_000_000
    max_side: int = 16_384
    avif: bool = False  # whether AVIF is among the formats that are read


@dataclass(frozen=True)
class ImageSettings:
    """What changes the measured values. LAION stored 256 px; 512 spares a second fetch to train at 336 px."""

    size: int = 512
    mode: ResizeMode = "keep_ratio_largest"
    quality: int = 95
    enlarge: bool = False
    resizer: Resizer = "native"
    pdq: bool = False  # whether PDQ is computed too, of the whole picture; for blocklists, never stored
    limits: Limits = field(default_factory=Limits)


class MeasuredImage(NamedTuple):
    """``columns`` of schemas/fetch.py: outcome, detail, sha256 to image_sha256. ``data``: a JPEG; None: refused."""

    columns: dict[str, Any]
    data: bytes | None
