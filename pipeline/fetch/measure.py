"""From the one answer to an image URL to its row, and to the picture that is stored. Pure: no network, no Spark."""

from __future__ import annotations

from typing import Any

from pipeline.core.rules import CoreReason
from pipeline.fetch.config import Config
from pipeline.vision.guard import Limits
from pipeline.vision.measure import ImageSettings, measure_image
from pipeline.web.client import Answer, Head, Want
from pipeline.web.reasons import NetReason

ACCEPT = "image/webp,image/jpeg,image/png,image/gif,*/*;q=0.1"
MAX_HEADER_CHARS = 256  # stored of a Content-Type


def want(config: Config) -> Want:
    """What is asked of an image host, and where it stops."""
    return Want(ACCEPT, timeout_s=config.timeout_s, max_body_bytes=config.max_bytes, check_head=refuse_opted_out)


def refuse_opted_out(head: Head) -> NetReason | None:
    """An opt-out in the headers of any hop ends the request there: the body is not read."""
    return NetReason(head.optouts[0]) if head.optouts else None


def image_settings(config: Config) -> ImageSettings:
    """The part of the config that the measurement of bytes depends on."""
    limits = Limits(max_pixels=config.max_pixels, max_side=config.max_side)
    return ImageSettings(size=config.image_size, mode=config.resize_mode, quality=config.jpeg_quality, limits=limits)


def measure_answer(answer: Answer, settings: ImageSettings) -> tuple[dict[str, Any], bytes | None]:
    """Known columns of schemas/fetch.py, and the stored picture or None. Never raises for what one answer holds."""
    content_type = answer.header("content-type")
    row: dict[str, Any] = {
        "http_status": answer.status,
        "content_type": content_type and content_type[:MAX_HEADER_CHARS],
        "final_url": answer.final_url,
        "tries": answer.tries,
        "fetched_at": answer.fetched_at,
        "optouts": list(answer.optouts),
    }
    if answer.reason is not None:
        return row | {"outcome": answer.reason.value, "detail": answer.detail or None}, None
    try:
        columns, picture = measure_image(answer.body, settings)
    except Exception as error:  # a fault of ours with this one picture never costs the lane's others
        return row | {"outcome": CoreReason.RULE_ERROR.value, "detail": f"{type(error).__name__}: {error}"[:200]}, None
    return row | columns, picture
