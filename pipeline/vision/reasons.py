"""Why bytes that arrived give no image, or one nobody wants: the image's own part of stage fetch's closed set.

Each code is a row of docs/faults.md (Images F24-F39). All are final: the same bytes would fail again.
"""

from __future__ import annotations

from enum import StrEnum


class ImageReason(StrEnum):
    """A reason code; the network's reasons are in pipeline.web.reasons."""

    # The bytes, before any decoder sees them. EMPTY_BODY is also the network's; it is here for pictures from archives.
    EMPTY_BODY = "empty_body"
    NOT_AN_IMAGE = "not_an_image"
    FORMAT_NOT_ALLOWED = "format_not_allowed"
    TOO_MANY_PIXELS = "too_many_pixels"

    # The decoder.
    DECODE_FAILED = "decode_failed"
    TRUNCATED_IMAGE = "truncated_image"
    DECODE_TIMEOUT = "decode_timeout"
    DECODE_CRASH = "decode_crash"

    # The picture.
    BLOCKLISTED = "blocklisted"
    HASH_MISMATCH = "hash_mismatch"  # not the bytes whose sha256 the input lists
    BLANK_IMAGE = "blank_image"
    TOO_SMALL = "too_small"
    ASPECT_RATIO = "aspect_ratio"
    LOW_ENTROPY = "low_entropy"  # next to nothing but one grey level


class ImageRefused(Exception):
    """These bytes give no image. A verdict on one row, never an error of the run."""

    def __init__(self, reason: ImageReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
