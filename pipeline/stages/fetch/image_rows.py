"""From the one answer to an image URL to its row, and to the image that is stored. Pure: no network, no Spark."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from pipeline.stages.fetch.blocklist import Blocklist
from pipeline.stages.fetch.config import Config
from pipeline.vision.child import ImageChild
from pipeline.vision.reasons import ImageReason
from pipeline.vision.settings import ImageSettings, Limits, MeasuredImage
from pipeline.web.client import Answer, Head, Want
from pipeline.web.reasons import NetReason

AVIF = "image/avif,"
ACCEPT = "image/webp,image/jpeg,image/png,image/gif,*/*;q=0.1"
MAX_HEADER_CHARS = 256  # stored of a Content-Type


def want(config: Config) -> Want:
    """What to request from an image host, and the limits of a request."""
    accept = AVIF + ACCEPT if config.avif else ACCEPT
    return Want(accept, timeout_s=config.timeout_s, max_body_bytes=config.max_bytes, check_head=refuse_opted_out)


def refuse_opted_out(head: Head) -> NetReason | None:
    """An opt-out in the headers of any hop stops the request there: the body is not read."""
    return NetReason(head.optouts[0]) if head.optouts else None


def image_settings(config: Config) -> ImageSettings:
    """The settings that the measurement of bytes depends on."""
    return ImageSettings(
        size=config.image_size,
        mode=config.resize_mode,
        quality=config.jpeg_quality,
        enlarge=config.enlarge,
        resizer="img2dataset" if config.engine == "img2dataset" else "native",
        limits=Limits(config.max_pixels, config.max_side, config.avif),
    )


class Examiner:
    """Measures the bytes of images in a child, and returns nothing of a blocklisted one. A context."""

    def __init__(self, settings: ImageSettings, blocklist: Blocklist) -> None:
        self._child = ImageChild(replace(settings, pdq=bool(len(blocklist.pdq))))
        self._blocklist = blocklist

    def __enter__(self) -> Self:
        self._child.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._child.__exit__(*error)

    def start(self) -> None:
        """Start the child now, so that the first image does not wait for it."""
        self._child.start()

    def measure(self, data: bytes, boxes: Sequence[float] = ()) -> MeasuredImage:
        """Measures of the bytes of one image, and the stored image or None. Never raises, whatever the bytes are."""
        if self._blocklist.has_bytes(data):
            return self._blocked(data)
        measured = self._child.measure(data, boxes)
        found = measured.columns.pop("pdq", None)
        return self._blocked(data) if found and self._blocklist.has_picture(*found) else measured

    def _blocked(self, data: bytes) -> MeasuredImage:
        trace = self._blocklist.trace(hashlib.sha256(data).hexdigest())
        return MeasuredImage({"outcome": ImageReason.BLOCKLISTED.value, "detail": trace}, None)


def measure_answer(
    answer: Answer, examiner: Examiner, boxes: Sequence[float] = ()
) -> tuple[dict[str, Any], bytes | None]:
    """Known columns of schemas/fetch.py, and the stored image or None. Never raises, whatever the answer is."""
    row: dict[str, Any] = {"tries": answer.tries, "fetched_at": answer.fetched_at, "optouts": list(answer.optouts)}
    content_type = answer.header("content-type")
    facts = {
        "http_status": answer.status,
        "content_type": content_type and content_type[:MAX_HEADER_CHARS],
        "final_url": answer.final_url,
        "tried": list(answer.tried) or None,
    }
    if answer.reason is not None:
        return row | facts | {"outcome": answer.reason.value, "detail": answer.detail or None}, None
    columns, picture = examiner.measure(answer.body, boxes)
    if columns["outcome"] == ImageReason.BLOCKLISTED:
        return row | columns, None
    return row | facts | columns, picture
