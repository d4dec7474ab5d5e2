"""The URL of an image among its attributes and, in a ``<picture>``, those of the sources before it.

    largest of srcset and sources > lazy loader's src > lazy srcset > other loaders' src > src > sources for small
    screens > unknown attributes

A placeholder is taken only if there is no other URL, and so is a source that a browser would pass over because it
cannot show its type. The second best URL is kept too: what a browser without scripts shows, else the next in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from pipeline.stages.extract.candidates import is_data_uri
from pipeline.stages.extract.pages import lazy, srcset
from pipeline.stages.extract.pages.lazy import Attributes

# What fetch stores without any setting; AVIF needs one, and its neighbour shows the same picture without.
_READABLE = frozenset(
    {"image/jpeg", "image/jpg", "image/pjpeg", "image/png", "image/x-png", "image/apng", "image/webp"}
)
_READABLE_TYPES = _READABLE | {"image/gif", "image/*", ""}
_UNREADABLE_NAME = re.compile(
    r"\.(?:avif|avifs|jxl|heic|heif|jp2|j2k|jpx|jxr|wdp|svgz?|tiff?|mp4|webm)(?:[?#]|$)", re.I
)
_ASKED_FOR = re.compile(  # of an image service
    r"[?&;/,](?:fm|fmt|f|format|output|ext|type)[=_](?:image(?:/|%2f))?(?:avif|jxl|heic|svg)(?![\w.-])", re.I
)
_NOT_ON_SCREEN = re.compile(
    r"\b(?:print|speech|not\s+all|not\s+screen|prefers-color-scheme:\s*dark|orientation:\s*portrait)\b", re.I
)
_MOST_WIDTH = re.compile(r"(?:max-(?:device-)?width\s*:|\bwidth\s*<=?)\s*(\d{1,6}(?:\.\d{1,6})?)(px|r?em)\b", re.I)
_LARGE_SCREEN = 1920  # CSS pixels; most are narrower, but the images for the widest are the largest
_EM = 16
_FIRST, _SRCSETS, _LATER = frozenset(lazy.FIRST), frozenset(lazy.SRCSETS), frozenset(lazy.LATER)
_LAZY = _FIRST | _LATER
_OF_LOADERS = _LAZY | _SRCSETS
_KNOWN = _OF_LOADERS | {"srcset"}


class Found(NamedTuple):
    """Raw URLs of one image: the best one (empty if there is none), and the second best, another one than the first."""

    url: str
    alternate: str | None = None


def find(attributes: Attributes, sources: list[Attributes]) -> Found:
    """The URLs of an image. ``sources`` are those of its ``<picture>``, in document order."""
    src = attributes.get("src") or ""
    is_real = not (not src or lazy.is_placeholder(src))
    if is_real and not sources and attributes.keys().isdisjoint(_KNOWN):
        return Found(src)
    real = list(dict.fromkeys(_in_order(attributes, sources, src if is_real else None)))
    if not real:
        real = list(dict.fromkeys(url for of in (attributes, *filter(_is_shown, sources)) for url in _unknown(of)))
    if not real:
        return Found(_last_resort(attributes, sources, src))
    readable = [url for url in real if is_readable(url)]
    first = (readable or real)[0]
    others = [url for url in readable if url != first]
    return Found(first, src if src in others else others[0] if others else None)


def is_readable(url: str) -> bool:
    """Whether a URL does not say that it gives a format which fetch does not read."""
    if _UNREADABLE_NAME.search(url):
        return False
    if "avif" in url or "jxl" in url or "heic" in url or "svg" in url:
        return _ASKED_FOR.search(url) is None
    return True


def _in_order(attributes: Attributes, sources: list[Attributes], src: str | None) -> Iterator[str]:
    """Usable URLs that are no placeholders. ``src`` is None if it is one."""
    shown = [source for source in sources if _is_shown(source)]
    yield from _largest([attributes.get("srcset"), *(source.get("srcset") for source in shown)])
    if shown or not attributes.keys().isdisjoint(_OF_LOADERS):
        yield from _usable(attributes, _FIRST)
        yield from _largest(value for of in (attributes, *shown) for name, value in of.items() if name in _SRCSETS)
        yield from _usable(attributes, _LATER)
        for source in shown:
            yield from _usable(source, _LAZY)
    if src is not None:
        yield src
    if len(shown) < len(sources):
        small = [source for source in sources if source not in shown and _is_shown(source, 0)]
        yield from _largest(source.get(name) for source in small for name in ("srcset", *lazy.SRCSETS))


def _unknown(attributes: Attributes) -> Iterator[str]:
    """What unknown attributes hold, if there is nothing else."""
    yield from _largest(lazy.unknown_srcsets(attributes))
    yield from (url for url in lazy.unknown_urls(attributes) if not lazy.is_placeholder(url))


def _last_resort(attributes: Attributes, sources: list[Attributes], src: str) -> str:
    """What is there although it is a placeholder, or of a type that hardly a browser shows. A data: URL comes last."""
    passed_over = _largest(source.get(name) for source in sources for name in ("srcset", *lazy.SRCSETS))
    lazily = filter(None, map(attributes.get, lazy.FIRST + lazy.LATER))
    in_srcset = srcset.largest_of(_sources([attributes.get("srcset")])) or ""
    urls = [url for url in (*passed_over, src, *lazily, in_srcset) if url.strip()]
    return next((url for url in urls if not is_data_uri(url)), urls[0] if urls else "")


def _usable(attributes: Attributes, names: frozenset[str]) -> Iterator[str]:
    for name, value in attributes.items():
        if name in names and value:
            if " " in value and lazy.DESCRIPTOR.search(value):
                yield from _largest([value])
                continue
            value = lazy.bare(value)
            if not lazy.is_placeholder(value) and lazy.may_be_url(value):
                yield value


def _largest(texts: Iterable[str | None]) -> Iterator[str]:
    """The largest image of some srcsets, and of those that fetch can read if there are any."""
    sources = _sources(texts)
    url = srcset.largest_of(sources)
    if url and (lazy.is_placeholder(url) or not is_readable(url)):
        real = [source for source in sources if not lazy.is_placeholder(source.url)]
        url = srcset.largest_of([source for source in real if is_readable(source.url)] or real)
    if url:
        yield url


def _sources(texts: Iterable[str | None]) -> list[srcset.Source]:
    return [source for text in texts if text for source in srcset.parse(text)]


def _is_shown(source: Attributes, screen: float = _LARGE_SCREEN) -> bool:
    """Whether a browser on a large screen takes a ``<source>``, as far as its type and its media query say."""
    return _shows(source.get("type") or "", source.get("media") or "", screen)


@lru_cache(maxsize=1024)  # pages repeat them
def _shows(kind: str, media: str, screen: float) -> bool:
    if kind.partition(";")[0].strip().lower() not in _READABLE_TYPES:
        return False
    return any(_is_for(screen, query) for query in media.split(","))


def _is_for(screen: float, query: str) -> bool:
    if _NOT_ON_SCREEN.search(query):
        return False
    match = _MOST_WIDTH.search(query)
    return match is None or float(match[1]) * (1 if match[2].lower() == "px" else _EM) >= screen
