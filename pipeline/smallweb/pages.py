"""The pages of the mini-web: HTML as shops, blogs and newspapers write it.

The markup differs between pages: relative, rooted, scheme-relative and absolute URLs, ``<base>``, ``srcset``,
``<picture>``, lazy loading with a ``data:`` placeholder, several charsets declared by header or by ``<meta>``; comments
and ``<template>`` contain decoys. With any markup, the intended image is ``Figure.url``, the largest candidate.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from urllib.parse import urlsplit

import jinja2
from markupsafe import Markup

from pipeline.smallweb.captions import Language

# A transparent 1×1 GIF, the usual placeholder of lazy loading.
PLACEHOLDER_GIF = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

# Labels of the WHATWG Encoding Standard → the codec that is the same mapping in Python.
CODECS = {
    "utf-8": "utf-8",
    "windows-1252": "cp1252",
    "windows-1251": "cp1251",
    "shift_jis": "cp932",
    "gb18030": "gb18030",
}


class Form(StrEnum):
    """How an ``<img>`` is written."""

    PLAIN = "plain"
    SRCSET = "srcset"
    LAZY = "lazy"
    LAZY_TWIN = "lazy_twin"  # with the same image once more in <noscript>
    PICTURE = "picture"


class Links(StrEnum):
    """How a page writes URLs of its own host; URLs of other hosts are absolute, with or without scheme."""

    RELATIVE = "relative"
    ROOTED = "rooted"
    ABSOLUTE = "absolute"


@dataclass(frozen=True)
class Figure:
    """An ``<img>``: the intended image, its alt text (None: no attribute) and its markup."""

    url: str
    alt: str | None
    form: Form = Form.PLAIN
    width: int | None = None  # pixels
    small_url: str | None = None  # the half-size twin that srcset offers
    price: str | None = None


@dataclass(frozen=True)
class Teaser:
    """A link of an index page."""

    url: str
    title: str
    date: str


@dataclass(frozen=True)
class Style:
    """What a page looks like and how it is written."""

    look: str  # shop, blog or news: the template
    hue: int  # of the colours, degrees
    links: Links
    base: str | None  # href of <base>, absolute
    charset: str
    declared_by: str  # header or meta
    noai: bool = False

    def encode(self, html: str) -> bytes:
        """Letters that are not in the charset become character references, as editors write them."""
        return html.encode(CODECS[self.charset], "xmlcharrefreplace")


class PageWriter:
    """Writes the HTML of one page."""

    def __init__(self, url: str, site_title: str, lang: str, language: Language, style: Style) -> None:
        self.url = url
        self.style = style
        self.context = {
            "lang": lang,
            "language": language,
            "site_title": site_title,
            "style": style,
            "ref": self.reference,
            "img": self.img,
            "home": origin(url) + "/",
            "trap": origin(url) + "/trap/1",
        }

    def article(
        self, title: str, date: str, figures: Sequence[Figure], decoy_url: str, related: Sequence[Teaser]
    ) -> bytes:
        """A page with images, and with a decoy that must not be requested."""
        return self._render(
            f"{self.style.look}.html", title=title, date=date, figures=figures, decoy=decoy_url, related=related
        )

    def index(self, title: str, teasers: Sequence[Teaser], list_urls: Sequence[str]) -> bytes:
        """A page of links to pages, and to the other pages of the list."""
        return self._render("index.html", title=title, teasers=teasers, list_urls=list_urls)

    def reference(self, url: str) -> str:
        """``url`` as this page writes it."""
        return reference(url, self.style.base or self.url, self.style.links)

    def img(self, figure: Figure) -> Markup:
        """The markup of one image."""
        alt = {} if figure.alt is None else {"alt": figure.alt}
        src = figure.url if figure.url.startswith("data:") else self.reference(figure.url)
        match figure.form:
            case Form.PLAIN:
                return tag("img", src=src, **alt, width=figure.width)
            case Form.SRCSET:
                return tag("img", src=self._small(figure), srcset=self._candidates(figure), sizes="50vw", **alt)
            case Form.PICTURE:
                source = tag("source", media="(min-width: 40em)", srcset=self._candidates(figure), sizes="50vw")
                img = tag("img", src=self._small(figure), srcset=self._candidates(figure), **alt)
                return Markup("<picture>{}{}</picture>").format(source, img)
            case Form.LAZY | Form.LAZY_TWIN:
                lazy = tag("img", **{"class": "lazyload", "src": PLACEHOLDER_GIF, "data-src": src}, **alt)
                twin = tag("img", src=src, **alt)
                return lazy + (Markup("<noscript>{}</noscript>").format(twin) if figure.form is Form.LAZY_TWIN else "")

    def _small(self, figure: Figure) -> str:
        assert figure.small_url is not None
        return self.reference(figure.small_url)

    def _candidates(self, figure: Figure) -> str:
        assert figure.width is not None
        return f"{self._small(figure)} {figure.width // 2}w, {self.reference(figure.url)} {figure.width}w"

    def _render(self, template: str, **more: object) -> bytes:
        return self.style.encode(_templates().get_template(template).render(**self.context, **more))


def trap_page(path: str, language: Language, lang: str) -> bytes:
    """A page of the endless calendar: ``/trap/7`` links to ``/trap/8``; every seventh also to a growing path."""
    day, _, tail = path.removeprefix("/trap/").partition("/")
    number = int(day) if day.isdecimal() else 1
    onward = [f"{path.rstrip('/')}/more/"] if tail else [f"/trap/{number + 1}"]
    if not tail and number % 7 == 1:
        onward.append(f"/trap/{number}/more/")
    context = {"lang": lang, "language": language, "number": number, "onward": onward}
    return _templates().get_template("trap.html").render(**context).encode()


def reference(url: str, base: str, links: Links) -> str:
    """``url`` as seen from ``base``, so that resolving it gives ``url`` again.

    >>> reference("http://a.test/x/1.jpg", "http://a.test/y/2.html", Links.RELATIVE)
    '../x/1.jpg'
    """
    if links is Links.ABSOLUTE:
        return url
    if origin(url) != origin(base):
        return url.removeprefix("http:")
    path = urlsplit(url).path
    if links is Links.ROOTED or path == "/":
        return path
    return posixpath.relpath(path, posixpath.dirname(urlsplit(base).path))


def origin(url: str) -> str:
    """``http://host`` of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def tag(name: str, **attributes: object) -> Markup:
    """A start tag without the attributes that are None."""
    written = (Markup(' {}="{}"').format(key, value) for key, value in attributes.items() if value is not None)
    return Markup("<{}{}>").format(name, Markup("").join(written))


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.smallweb"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
