"""The usual names of the columns of a URL list, however they are written (``image_url``, ``Image URL``, ``imageUrl``).

What names the URL of an image comes before ``url``, which beside it is the URL of the page.
"""

from __future__ import annotations

import re

IMAGE_URL_NAMES = (
    "image_url",
    "img_url",
    "image_link",
    "img_link",
    "image_src",
    "img_src",
    "image_uri",
    "photo_image_url",
)
URL_NAMES = (*IMAGE_URL_NAMES, "url", "src")
CAPTION_NAMES = ("caption", "text", "alt", "alt_text", "title", "description")

_OF_IMAGES = re.compile(r"image|img|photo|pic|src|media")
_OF_OTHERS = re.compile(r"thumb|preview|icon|logo|avatar|profile")
_NOT_OF_A_NAME = re.compile(r"[\W_]+")


def squeezed(name: str) -> str:
    """A name without what differs between spellings.

    >>> squeezed(" Alt-Text")
    'alttext'
    """
    return _NOT_OF_A_NAME.sub("", name).lower()


def may_name_images(name: str) -> bool:
    """Whether a column may hold URLs of images, by its name: its values show whether it does.

    >>> may_name_images("og:image"), may_name_images("photo_url"), may_name_images("thumbnail_image")
    (True, True, False)
    """
    squeezed_name = squeezed(name)
    return _OF_IMAGES.search(squeezed_name) is not None and _OF_OTHERS.search(squeezed_name) is None


_KNOWN = frozenset(map(squeezed, URL_NAMES + CAPTION_NAMES))


def is_known(name: str) -> bool:
    """Whether a column of this name may be guessed."""
    return squeezed(name) in _KNOWN


def usual(columns: list[str], names: tuple[str, ...]) -> list[str]:
    """Those of ``columns`` that have one of ``names``, in the order of ``names``; of two spellings the first."""
    by_name = {squeezed(column): column for column in reversed(columns)}
    return [by_name[squeezed(name)] for name in names if squeezed(name) in by_name]
