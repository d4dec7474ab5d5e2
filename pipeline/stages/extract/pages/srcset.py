"""``srcset`` by the parsing rules of the standard (https://html.spec.whatwg.org/, "Parse a srcset attribute").

Splitting at commas is a known mistake: ``data:`` URLs and many CDN paths hold commas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_WHITESPACE = " \t\n\r\f"
_SEPARATORS = re.compile(r"[ \t\n\r\f,]*+")
_URL = re.compile(r"[^ \t\n\r\f]++")
_DESCRIPTORS = re.compile(r"(?:[^,(]++|\([^)]*+\)?)*+")  # a comma inside parentheses ends nothing
_WIDTH = re.compile(r"(\d{1,9})w", re.ASCII)
_HEIGHT = re.compile(r"\d{1,9}h", re.ASCII)
_DENSITY = re.compile(r"((?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)x", re.ASCII)

# Most are one URL, or have one descriptor for each image; the rules read these to the same end, but slower.
_ONE_URL = re.compile(r"(?!,)[^ \t\n\r\f]++(?<!,)")
_ONE = r"[ \t\n\r\f]*+%s[ \t\n\r\f]++%s%s[ \t\n\r\f]*+(?:,|\Z)"
_PLAIN = re.compile(_ONE % (r"([^ \t\n\r\f,][^ \t\n\r\f]*+)", r"([1-9]\d{0,8}+)", "([wx])"), re.ASCII)
_ALL_PLAIN = re.compile("(?:" + _ONE % (r"[^ \t\n\r\f,][^ \t\n\r\f]*+", r"[1-9]\d{0,8}+", "[wx]") + ")++", re.ASCII)


class Source(NamedTuple):
    """One image of a srcset: width in pixels (0 if not given), density in pixels per CSS pixel."""

    width: int
    density: float
    url: str


def _matched(pattern: re.Pattern[str], text: str, position: int) -> re.Match[str]:
    """Of a pattern that matches the empty string too."""
    found = pattern.match(text, position)
    assert found is not None
    return found


def parse(srcset: str) -> Iterator[Source]:
    """The images of a srcset in their order; those with bad descriptors are skipped, as in a browser."""
    if _ONE_URL.fullmatch(srcset):
        yield Source(0, 1.0, srcset)
        return
    if _ALL_PLAIN.fullmatch(srcset):
        for plain, number, unit in _PLAIN.findall(srcset):
            yield Source(int(number), 1.0, plain) if unit == "w" else Source(0, float(number), plain)
        return
    position = 0
    while True:
        position = _matched(_SEPARATORS, srcset, position).end()
        url = _URL.match(srcset, position)
        if url is None:
            return
        position = url.end()
        if url[0].endswith(","):
            yield Source(0, 1.0, url[0].rstrip(","))
            continue
        descriptors = _matched(_DESCRIPTORS, srcset, position)
        position = descriptors.end()
        source = _source(url[0], descriptors[0].strip(_WHITESPACE).split())
        if source:
            yield source


def largest_of(sources: list[Source]) -> str | None:
    """URL of the largest image: by width, then by density; the first in a tie. None if there is none."""
    return max(sources, key=lambda source: (source.width, source.density)).url if sources else None


def _source(url: str, descriptors: list[str]) -> Source | None:
    width, density, has_height = 0, None, False
    for descriptor in descriptors:
        if (match := _WIDTH.fullmatch(descriptor)) and not width and density is None and int(match[1]):
            width = int(match[1])
        elif (match := _DENSITY.fullmatch(descriptor)) and not width and density is None and not has_height:
            density = float(match[1])
        elif _HEIGHT.fullmatch(descriptor) and not has_height and density is None:
            has_height = True
        else:
            return None
    if has_height and not width:
        return None
    return Source(width, 1.0 if density is None else density, url)
