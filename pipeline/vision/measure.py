"""Everything stage fetch measures of the bytes of one image: pure, no network, no Spark."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from PIL import Image

from pipeline.vision.decode import decode
from pipeline.vision.guard import Limits, inspect
from pipeline.vision.phash import chroma4, phash, phash256, phash_margin, spread
from pipeline.vision.reasons import ImageRefused
from pipeline.vision.resize import ResizeMode, store

OK = "ok"


@dataclass(frozen=True)
class ImageSettings:
    """What changes the measured values. LAION stored 256 px; 512 spares a second fetch to train at 336 px."""

    size: int = 512
    mode: ResizeMode = "keep_ratio_largest"
    quality: int = 95
    limits: Limits = field(default_factory=Limits)


class MeasuredImage(NamedTuple):
    """``columns`` of schemas/fetch.py: outcome, detail, sha256 to image_sha256. ``data``: a JPEG; None: refused."""

    columns: dict[str, Any]
    data: bytes | None


def measure_image(data: bytes, settings: ImageSettings) -> MeasuredImage:
    """Measure the bytes of one image as served; never raises for what is in them.

    ``outcome`` is "ok" or an ImageReason, whose ``detail`` says what was met; columns that could not be measured are
    absent. Hashes and spread are those of the *stored* picture as Pillow decodes it, so that whoever holds the corpus
    can compute them again. An animation is its first frame, and ``detail`` says so.
    """
    columns: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "served_bytes": len(data)}
    try:
        header = inspect(data, settings.limits)
        columns |= {
            "original_format": header.format,
            "original_width": header.width,
            "original_height": header.height,
            "short_side": min(header.width, header.height),
            "aspect": max(header.width, header.height) / min(header.width, header.height),
        }
        stored = store(data, header, decode(data, header), settings.size, settings.mode, settings.quality)
    except ImageRefused as refused:
        return MeasuredImage({"outcome": refused.reason.value, "detail": refused.detail} | columns, None)
    picture = stored.picture or Image.open(io.BytesIO(stored.data), formats=["JPEG"])
    columns |= {
        "width": stored.width,
        "height": stored.height,
        "spread": spread(picture),
        "phash": phash(picture),
        "phash_margin": phash_margin(picture),
        "phash256": phash256(picture),
        "chroma4": chroma4(picture),
        "image_sha256": hashlib.sha256(stored.data).hexdigest(),
    }
    detail = "animated: first frame" if header.animated else None
    return MeasuredImage({"outcome": OK, "detail": detail} | columns, stored.data)
