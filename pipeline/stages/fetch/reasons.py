"""Why an image is not handed on: what the network says, what the bytes say, and what is judged of the picture.

No code is defined here. The way to the web has one set for crawl and fetch (`pipeline.web.reasons`), the bytes of an
image theirs (`pipeline.vision.reasons`); `empty_body` stands in both and is one reason.
"""

from __future__ import annotations

from pipeline.core.rules import united
from pipeline.vision.reasons import ImageReason
from pipeline.web.reasons import NetReason

Reason = united(__name__, *NetReason, *ImageReason)
Reason.__doc__ = "A drop reason of stage fetch; its full name is ``fetch/dropped/CODE``."

JUDGED = (
    ImageReason.HASH_MISMATCH,
    ImageReason.TOO_SMALL,
    ImageReason.ASPECT_RATIO,
    ImageReason.BLANK_IMAGE,
    ImageReason.LOW_ENTROPY,
)
"""Decided over columns of a picture that is there; all other reasons are outcomes of the measurement itself."""

OUTCOMES = tuple(reason for reason in Reason if reason.value not in JUDGED)
RETRYABLE = tuple(reason.value for reason in NetReason if reason.retryable)
"""What `--retry-failed` asks again. The same bytes would fail again: no reason of an image is among them."""
