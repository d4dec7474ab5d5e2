"""An image that stands on a page twice: once for browsers with scripts and once, in noscript, for those without.

Both are one candidate with ``count`` 2. In AMP, an image may also hold another one, for browsers that cannot show it or
until it is there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import NamedTuple

from selectolax.lexbor import LexborNode

from pipeline.stages.extract.candidates import Row
from pipeline.stages.extract.pages.image_urls import Found, find, is_readable
from pipeline.stages.extract.pages.lazy import Attributes, is_placeholder
from schemas.fields import OK

_AMP = ("amp-img", "amp-anim")
_LEVELS = 3
_SIZE = re.compile(r"[-_](\d{2,4})(?:x(\d{2,4})|w)$")
_STEM_CHARS = 5


class Seen(NamedTuple):
    """An image element, as far as the next one has to know it."""

    attributes: Attributes
    alt: str | None
    found: Found
    in_noscript: bool
    is_stand_in: bool  # of the AMP image around it, for browsers that cannot show that one or until it is there

    @property
    def may_repeat(self) -> bool:
        """Whether it may show the image before it once more."""
        return self.in_noscript or self.is_stand_in


def seen(image: LexborNode) -> Seen:
    """What an image element says; its attributes are read once."""
    attributes = image.attributes
    alt = (attributes["alt"] or "") if "alt" in attributes else None
    # An img in it is the AMP image itself, as a server has written it out.
    is_stand_in = image.tag == "img" or "fallback" in attributes or "placeholder" in attributes
    found = find(attributes, _sources_of_picture(image))
    return Seen(attributes, alt, found, _is_in_noscript(image), is_stand_in and _is_in(image, _AMP))


def twin(last: Seen, last_row: Row, this: Seen, row: Row) -> Row | None:
    """One row for an image and the one before it, if one repeats the other; None if they are two images.

    Asked only if this one ``may_repeat`` the last, or if the last is in ``<noscript>``. There stands the image for
    browsers without scripts, beside its lazy twin. Of both, the one whose URL is real is kept; of two real ones with
    the same name, the larger.
    """
    count = last_row["count"] + 1
    if _same_image(last_row, row):
        return last_row | {"count": count}
    has_same_text = this.alt == last.alt and bool(this.alt)
    if not has_same_text and not (this.is_stand_in and not this.alt):
        return None
    if is_placeholder(last.found.url) and not is_placeholder(this.found.url):
        return row | {"count": count} if has_same_text else None
    (stem, size), (this_stem, this_size) = _stem_and_size(last.found.url), _stem_and_size(this.found.url)
    if is_placeholder(this.found.url):
        return last_row | {"count": count}
    is_better = this_size > size and stem == this_stem
    if has_same_text and is_readable(this.found.url) > is_readable(last.found.url):
        is_better = this.is_stand_in or stem == this_stem
    if is_better and has_same_text:
        return row | {"count": count} | _alternate(row, last_row)
    return last_row | {"count": count} | _alternate(last_row, row) if stem == this_stem or this.is_stand_in else None


def _alternate(kept: Row, other: Row) -> Row:
    """The other URL as alternate of a candidate that has none, if it is on the same scheme, host and port."""
    one, two = kept["image_url"] or "", other["image_url"] or ""
    if (
        kept["outcome"] != OK
        or kept["alternate_url"]
        or not is_readable(two)
        or one.split("/", 3)[:3] != two.split("/", 3)[:3]
    ):
        return {}
    return {"alternate_url": two, "alternate_id": other["url_id"]}


def _stem_and_size(url: str) -> tuple[str, float]:
    """What the name of an image has in common with other sizes of it, and how many pixels its name claims.

    A short stem says little: then it is the whole URL. A name without a size is the original, the largest.
    """
    name = url.partition("?")[0].rpartition("/")[2].rpartition(".")[0]
    size = _SIZE.search(name)
    stem = name[: size.start()] if size else name
    return (stem if len(stem) >= _STEM_CHARS else url), int(size[1]) * int(size[2] or 1) if size else math.inf


def _sources_of_picture(image: LexborNode) -> list[Attributes]:
    """Attributes of the ``<source>`` elements before the image in its ``<picture>``, in document order."""
    parent = image.parent
    if parent is None or parent.tag != "picture":
        return []
    sources: list[Attributes] = []
    sibling = image.prev
    while sibling is not None:
        if sibling.tag == "source":
            sources.append(sibling.attributes)
        sibling = sibling.prev
    return sources[::-1]


def _is_in_noscript(image: LexborNode) -> bool:
    """Within three levels, because the twin of a lazy image often has a ``<picture>`` or ``<figure>`` around it."""
    return _is_in(image, ("noscript",))


def _is_in(image: LexborNode, tags: Collection[str]) -> bool:
    node = image.parent
    for _ in range(_LEVELS):
        if node is None:
            return False
        if node.tag in tags:
            return True
        node = node.parent
    return False


def _same_image(one: Row, other: Row) -> bool:
    return one["url_id"] is not None and (one["url_id"], one["alt_text"]) == (other["url_id"], other["alt_text"])
