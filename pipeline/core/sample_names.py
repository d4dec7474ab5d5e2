"""Names of tar members in WebDataset: ``KEY.ENDING``; adjacent members with one key are a sample.

Source  https://github.com/webdataset/webdataset, base_plus_ext
"""

from __future__ import annotations

import re

PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "avif", "bmp", "tif", "tiff")
"""Endings of pictures, in order of preference within a sample. The bytes tell the real format later."""

MAX_TEXT_BYTES = 2**24  # of a text or JSON member; it is held in memory, and no caption is that long

_NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)", re.DOTALL)


def key_and_ending(name: str) -> tuple[str, str] | None:
    """A member's sample key and its ending in lower case; None for a name that does not belong to a sample.

    The key ends at the first dot after the last slash.

    >>> key_and_ending("./a.b/0007.seg.PNG"), key_and_ending("a/.hidden"), key_and_ending("a.b/0007")
    (('a.b/0007', 'seg.png'), None, None)
    """
    match = _NAME.fullmatch(name.removeprefix("./"))
    return (match[1], match[2].lower()) if match else None
