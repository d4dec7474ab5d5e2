"""Why an image is not handed on: reasons of the network, of the bytes, and of the decoded image.

No code is defined here. The network's set is shared by crawl and fetch (`pipeline.web.reasons`), the bytes of an
image theirs (`pipeline.vision.reasons`); `empty_body` is in both and is one reason.
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
"""Decided from the columns of an image that was stored; all other reasons are outcomes of the measurement itself."""

OUTCOMES = tuple(reason for reason in Reason if reason.value not in JUDGED)
RETRYABLE = tuple(reason.value for reason in NetReason if reason.retryable)
"""What `--retry-failed` retries. No reason of the bytes is here, because the same bytes would fail again."""
