"""Everything stage fetch measures of the bytes of one image: pure, no network, no Spark.

It runs decoders in this process. Where bytes come from strangers, ask pipeline.vision.child, which does it in a child.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from pipeline.vision.decode import decode
from pipeline.vision.levels import grey_of, levels_of
from pipeline.vision.pdq import pdq
from pipeline.vision.phash import hashes_of
from pipeline.vision.reasons import ImageRefused
from pipeline.vision.resize import store
from pipeline.vision.settings import ImageSettings, MeasuredImage
from pipeline.vision.untrusted import inspect
from schemas.fields import OK

__all__ = ["ImageSettings", "MeasuredImage", "measure_image", "warm_up"]


def measure_image(data: bytes, settings: ImageSettings, boxes: Sequence[float] = ()) -> MeasuredImage:
    """Measure the bytes of one image as served; never raises for what is in them.

    ``outcome`` is "ok" or an ImageReason, whose ``detail`` says what was met; columns that could not be measured are
    absent. Hashes and levels are those of the *stored* picture as Pillow decodes it, so that whoever holds the corpus
    can compute them again; what is in ``boxes`` (pipeline.vision.blur) is blurred in it. An animation is its first
    frame, and ``detail`` says so. With ``settings.pdq`` there is a column more, of hash and quality, that no table has.
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
        stored = store(data, header, settings, boxes)
        if settings.pdq:
            columns["pdq"] = pdq(decode(data, header).picture)
    except ImageRefused as refused:
        return MeasuredImage({"outcome": refused.reason.value, "detail": refused.detail} | columns, None)
    grey = grey_of(stored.pixels)
    levels, hashes = levels_of(stored.pixels, grey), hashes_of(grey)
    columns |= {
        "width": stored.pixels.shape[1],
        "height": stored.pixels.shape[0],
        "spread": levels.spread,
        "mean": levels.mean,
        "entropy": levels.entropy,
        "phash": hashes.phash,
        "phash_margin": hashes.phash_margin,
        "phash256": hashes.phash256,
        "chroma4": levels.chroma4,
        "blurred_boxes": list(boxes) or None,
        "image_sha256": hashlib.sha256(stored.data).hexdigest(),
    }
    detail = "animated: first frame" if header.animated else None
    return MeasuredImage({"outcome": OK, "detail": detail} | columns, stored.data)


def warm_up(settings: ImageSettings) -> None:
    """Measure a blank picture: afterwards everything is imported, and compiled or loaded."""
    first = io.BytesIO()
    Image.new("RGB", (settings.size + 8, settings.size + 8)).save(first, "PNG")
    measure_image(first.getvalue(), settings)
