"""What the attributes of an image say about where it is: which value is a URL, which stands for an image to come.

Lazy loaders keep the URL of an image in an attribute of their own until it is needed. The common ones are listed. Of
the others we know no more than what they hold: an attribute counts if its value is the URL of an image and ``src`` is
missing or a placeholder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

Attributes = Mapping[str, str | None]

# lazysizes, lozad, vanilla-lazyload, LiteSpeed; then WP Rocket, a3, Jetpack, slick, Autoptimize, BJ, echo.js, bLazy,
# Unveil, NitroPack, Ezoic, Cloudflare Mirage, PageSpeed, Flickity, Swiper, owl, WP Fastest Cache, jQuery Lazy Load.
FIRST = ("data-src",)
LATER = (
    *("data-original", "data-lazy-src", "data-lazy", "data-ll-src", "data-lazyload", "data-lazyload-src"),
    *("data-echo", "data-ezsrc", "data-cfsrc", "data-pagespeed-lazy-src", "nitro-lazy-src", "lazy-src"),
    *("data-flickity-lazyload", "data-flickity-lazyload-src", "data-swiper-src", "data-src-lazy", "data-opt-src"),
    *("data-wpfc-original-src", "data-hi-res-src", "data-brsrc", "data-aload", "data-lzl-src"),
)  # fmt: skip
SRCSETS = (
    *("data-srcset", "data-lazy-srcset", "data-ll-srcset", "lazy-srcset", "nitro-lazy-srcset", "data-ezsrcset"),
    *("data-flickity-lazyload-srcset", "data-wpfc-original-srcset", "data-original-set", "data-cfsrcset"),
)

_WHITE = " \t\n\f\r"  # what HTML calls white space; other kinds belong to a URL
MAX_TEXT_CHARS = 4096  # of a value in which the URL of an image is searched

_NO_URL = frozenset(
    {
        "null",
        "undefined",
        "none",
        "nan",
        "true",
        "false",
        "auto",
        "lazy",
        "about:blank",
        "src",
        "image",
        "//:0",
        "//",
        "http://",
        "https://",
        "n/a",
        "/",
        "?",
        "./",
    }
)
_TEMPLATE = re.compile(r"[{}<>]|%7b\w*%7d|%7b%7b|\[\[|\[object|^[\[(#@$%]", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_NO_NAMES = ("null", "undefined", "nan")
_ENDS_OF_NO_NAMES = ("null", "undefined", "NaN", "nan", "null/", "undefined/")
_MEDIA_TYPE = re.compile(r"(?:image|text|video)/[a-z+-]+", re.IGNORECASE)
_NUMBER = re.compile(r"[\d.,%\s-]+(?:px|em|vw|vh)?", re.IGNORECASE)
# Most values are; the slower questions below are for the rest.
_PLAIN_URL = re.compile(r"(?:https?:/)?/(?!/*(?::|$))[^\s{}<>\[\]%:?#][^\s{}<>\[\]%]*")
_ENDING = r"\.(?:jpe?g|jfif|pjpeg|png|gif|webp|avif|bmp)"
_IS_IMAGE = re.compile(_ENDING + r"(?![a-z0-9.-])", re.IGNORECASE)
_IS_SCRIPT = re.compile(r"[\w-]+\.(?:php|aspx?|ashx|jsp|cgi)\?\S|\?\w+=\S", re.IGNORECASE)  # beside the page
_IMAGE_IN_TEXT = re.compile(  # an address, or a path at the start of a value
    r"(?:(?:https?:)?(?:\\?/){2}|(?<![^\s\"'(\[,])\.{0,2}\\?/)[^\s\"'<>(){}|,]{3,2000}?" + _ENDING + r"(?![a-z0-9.-])",
    re.IGNORECASE,
)
_CSS_URL = re.compile(r"url\(\s*+(['\"]?)([^'\"()]*+)\1\s*+\)", re.IGNORECASE)
DESCRIPTOR = re.compile(r"\s\d+(?:\.\d+)?[wxh]\s*(?:,|$)")
# Of the last part of a path: what stands in it, and what it is as a whole.
_SAYS_PLACEHOLDER = re.compile(
    r"""(?:^|[_.-])(?:blank|spacer|spaceball|place-?holder|transparent|1x1|1px|lazy-?load\w*|ajax[_-]?loader|pre-?loader|spinner
    |shim|no-?(?:image|img|photo|pic)|missing-?image|default-?(?:image|img))(?:[_.-]|[\#]|$)""",
    re.IGNORECASE | re.VERBOSE,
)
_IS_PLACEHOLDER = re.compile(
    r"""(?:\w{0,16}[_-])?(?:loading|loader)(?:[_-]\w{1,12})?\.(?:gif|svg)(?:\#|$)
    |[a-z]\.gif(?:\#|$)
    |(?:pix|px|pixel|clear(?:dot|pixel)?|transp?|lazy|loading|loader|preload|gr[ae]y|dummy|empty|white|dot|null|bg)
    \.(?:gif|png|svg|webp)(?:\#|$)""",
    re.IGNORECASE | re.VERBOSE,
)
_PHOTOS = (".jpg", ".jpeg", ".JPG")  # most names end so, and need no further look
_OF_PLACEHOLDERS = re.compile(
    r"(?:https?:)?//(?:via\.placeholder\.com|placeholder\.com|placehold\.(?:co|it|jp)|dummyimage\.com|fakeimg\.pl)/",
    re.IGNORECASE,
)
"""Hosts of images that designers put where the real one will be."""
_OTHER_USE = re.compile(
    r"^(?:src|srcset|alt|title|class|id|style|sizes|width|height|href|longdesc|usemap|name|role|lang|on.*|aria-.*)$"
    r"|fall-?back|error|default|place-?holder|blank|loader|spinner|avatar|logo|href|link|hover|share",
    re.IGNORECASE,
)
_NAMES_AN_IMAGE = re.compile(r"src|img|image|original|lazy|photo|pic|url|full|large|zoom|swap", re.IGNORECASE)

_SAYS_IMAGE = re.compile(
    r"src|lazy|(?:^|[-_])(?:img|image|photo|picture|original|full|large)(?:[-_](?:ur[il]|file|path))?$"
)
"""The name of an attribute whose value is an image, whatever the value looks like."""


def is_junk(value: str) -> bool:
    """Whether a value is no URL that can be asked for: empty, a flag, a template, JSON, another scheme."""
    if _PLAIN_URL.fullmatch(value):
        return value.endswith(_ENDS_OF_NO_NAMES) and _is_no_name(value)
    value = value.strip()
    if not value or value.lower() in _NO_URL or _TEMPLATE.search(value) or _is_no_name(value):
        return True
    if _NUMBER.fullmatch(value) or _MEDIA_TYPE.fullmatch(value):
        return True
    scheme = _SCHEME.match(value)
    return scheme is not None and scheme[0].lower() not in ("http:", "https:")


def _is_no_name(value: str) -> bool:
    """Whether a script has written nothing where the name of an image should be: ``/photos/undefined``."""
    return value.lower().rstrip("/").rpartition("/")[2] in _NO_NAMES


def may_be_url(value: str) -> bool:
    """Whether a loader's attribute holds a URL, and not a flag, a number, a template or JSON."""
    if is_junk(value):
        return False
    return "/" in value or _IS_IMAGE.search(value) is not None or _IS_SCRIPT.match(value) is not None


def is_placeholder(src: str) -> bool:
    """Whether ``src`` shows nothing until a script has run: it is missing, a ``data:`` URL, or named like one."""
    if is_junk(src):
        return True
    name = src.partition("?")[0].rpartition("/")[2]
    if "laceholder" in name or _SAYS_PLACEHOLDER.search(name):
        return True
    if not name.endswith(_PHOTOS) and _IS_PLACEHOLDER.match(name):
        return True
    return ("place" in src or "dummy" in src or "fake" in src) and _OF_PLACEHOLDERS.match(src) is not None


def bare(value: str) -> str:
    """A loader's value without what a script has left around it: quotes, ``url()``, slashes as in JSON."""
    value = value.strip(_WHITE)
    if _PLAIN_URL.fullmatch(value):
        return value
    if in_css := _CSS_URL.fullmatch(value):
        value = in_css[2].strip(_WHITE)
    if len(value) > 2 and value[0] in "\"'" and value[0] == value[-1]:
        value = value[1:-1]
    return value.replace("\\/", "/")


def unknown_urls(attributes: Attributes) -> Iterator[str]:
    """Values of unknown attributes that are the URL of an image, those whose name says so first."""
    found: list[tuple[bool, str]] = []
    for name, value in attributes.items():
        if value and _may_hold_image(name) and (url := _image_in(name, bare(value))):
            found.append((_NAMES_AN_IMAGE.search(name) is None, url))
    yield from (url for _, url in sorted(found, key=lambda item: item[0]))


def unknown_srcsets(attributes: Attributes) -> Iterator[str]:
    """Values of unknown attributes that are srcsets of images."""
    for name, value in attributes.items():
        if value and _may_hold_image(name) and DESCRIPTOR.search(value) and _IS_IMAGE.search(value):
            yield value


@lru_cache(maxsize=4096)
def _may_hold_image(name: str) -> bool:
    return _OTHER_USE.search(name) is None


def _image_in(name: str, value: str) -> str | None:
    """The URL of an image that ``value`` is or, as JSON and the like do, contains."""
    if DESCRIPTOR.search(value):
        return None
    if in_css := _CSS_URL.search(value[:MAX_TEXT_CHARS]):
        value = in_css[2].strip()
    if may_be_url(value) and not re.search(r"\s", value):
        is_rooted = value.startswith(("http://", "https://", "HTTP", "//", "/"))
        return value if _IS_IMAGE.search(value) or (is_rooted and _SAYS_IMAGE.search(name)) else None
    match = _IMAGE_IN_TEXT.search(value[:MAX_TEXT_CHARS])
    return match[0].replace("\\/", "/") if match else None
