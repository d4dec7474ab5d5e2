"""Captions that say nothing about their image, because the WHOLE caption is boilerplate (docs/faults.md, T11).

    filename   IMG_1234.JPG, DSC00012, photo-1.png, Screenshot 2021-03-04 at 10.11.12
    url        https://a.example/b, www.a.example, a.example.com/b.html, data:image/png;base64,...
    digits     12345, 3/12, $ 9.99, 1920x1080: numbers, punctuation and signs, no letter and no emoji
    template   {{title}}, %s, [object Object], {"alt": null}, alt="": what a template left behind
    price      Only $9.99, 19,99 € inkl. MwSt., Price: 20 EUR, -50% off: a number and words of trade, no product
    generic    image, logo, click to enlarge, Bild vergrößern, 图片: words for "a picture" or for a button

"logo of a bakery" is a caption. None of 68,418 captions that people wrote for Flickr8k is boilerplate. Every pattern
is linear: no two adjacent repetitions can match the same character.
"""

from __future__ import annotations

import re
import unicodedata

from pipeline.stages.text.generic import GENERIC_CAPTIONS, PRICE_MARKS, PRICE_WORDS

_IMAGE_SUFFIX = r"\.(?:jpe?g|jfif|png|gif|webp|svg|bmp|tiff?|heic|avif|ico|psd|eps|pdf|mp4|mov)"

_FILENAME = (
    # one word with the suffix of an image file; spaces make it a title: "Red fox in snow.jpg" stays
    re.compile(rf"\S+{_IMAGE_SUFFIX}", re.IGNORECASE),
    # file names by cameras, phones, screenshot tools and editors: a fixed word, then only numbers
    re.compile(
        r"(?:img|imag|image|dsc|dscn|dscf|dsci|dcim|pict|pic|pxl|mvi|mg|gopr|gopro|cimg|hpim|fb_img|wp|p|photo|foto|"
        r"picture|scan|capture|file|unnamed|untitled|unbenannt|sans titre|sin título|thumbnail|thumb|slide|"
        r"fullsizerender|received|screen ?shot|screenshot|bildschirmfoto|capture d.écran|whatsapp image|"
        r"\u5fae\u4fe1\u56fe\u7247|\u30b9\u30af\u30ea\u30fc\u30f3\u30b7\u30e7\u30c3\u30c8)"
        rf"[\s_#-]*\(?\d(?:[\d\s_.:()-]|at|um|à|[ap]m|wa)*(?:{_IMAGE_SUFFIX})?",
        re.IGNORECASE,
    ),
    # a date, a hash or a UUID, which no person writes under an image
    re.compile(r"(?:\d{8}_\d{4,9}|[0-9a-f]{24,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE),
)

_URL = re.compile(
    r"(?:(?:https?|ftp|file|blob):/?/?\S+|//\S+\.\S+|www\.\S+|data:[a-z]+/\S*|"
    r"[a-z0-9][a-z0-9.-]*\.(?:com|net|org|info|edu|gov|biz|io|co|de|fr|es|it|nl|pl|ru|uk|eu|br|jp|cn|in|au|ca)"
    r"(?:/\S*)?)",
    re.IGNORECASE,
)

_SIZE = re.compile(r"\d+\s?[x×*]\s?\d+\s?(?:px|pixels)?", re.IGNORECASE)

_PLACEHOLDER = re.compile(
    r"\{\{[^{}]*\}\}|\$?\{[^{}]*\}|\{%[^%]*%\}|<%[^%]*%>|<\?[^?]*\?>|\[\[?[a-z][\w.:-]*\]?\]|##?\w+##?|@\w+@|__\w+__|"
    r"%\(\w+\)[sd]|%\d?\$?[sd]\b|%\w+%|&\w+;|\[object object\]|"
    r"<[a-z/!][^<>]*>?|/>|\b(?:alt|title|src|class|style|width|height|href|id|data-[a-z]+)\s?=\s?(?:\"[^\"]*\"?|'[^']*'?)",
    re.IGNORECASE,
)
_TEMPLATE_SIGN = re.compile(r"[\[{<>%#@_&=]")
"""Every match of the next two patterns contains one of these."""
_JSON = re.compile(r"[\[{]\s*(?:[\"'{\[].*|)[\]}]", re.DOTALL)

_NUMBER = re.compile(r"\d")
_LETTERS = re.compile(r"[^\W\d_]+")
MOST_PRICE_WORDS = 12
"""Longest caption that can be only a price, in words."""

_EDGES = " \t.,:;!?*·•|/\\-_–—…\"'“”„«»‹›()[]<>{}+=#~→←↑↓▶►×¡¿。、！？：「」【】"


_LONGEST_GENERIC = max(map(len, GENERIC_CAPTIONS)) + 24  # with a number and signs around

_NUMBERED = re.compile(r"(\D{1,60}?)\s?[#(]?\d+\)?(?:\s?(?:/|of|von|de|sur|di|из)\s?\d+)?")


def kind_of(caption: str) -> str | None:
    """The kind of boilerplate that a cleaned ``caption`` is as a whole; None if it may say something."""
    if not caption:
        return None
    if _URL.fullmatch(caption):
        return "url"
    if any(pattern.fullmatch(caption) for pattern in _FILENAME):
        return "filename"
    if _is_template(caption):
        return "template"
    if _SIZE.fullmatch(caption) or not any(map(_says_something, caption)):
        return "digits"
    if _is_price(caption):
        return "price"
    if _is_generic(caption):
        return "generic"
    return None


def _says_something(character: str) -> bool:
    """Whether it is a letter, a mark or a symbol (emoji), not a number, punctuation, white space or a currency sign."""
    category = unicodedata.category(character)
    return category[0] in "LM" or category == "So"


def _is_template(caption: str) -> bool:
    """Whether it is only placeholders and markup, with at most a generic word or two ("{{title}} image")."""
    if not _TEMPLATE_SIGN.search(caption):
        return False
    if _JSON.fullmatch(caption):
        return True
    left, holes = _PLACEHOLDER.subn(" ", caption)
    return holes > 0 and (not any(map(str.isalpha, left)) or _is_generic(left))


def _is_price(caption: str) -> bool:
    if not _NUMBER.search(caption):
        return False
    words = _LETTERS.findall(caption.casefold())
    if len(words) > MOST_PRICE_WORDS or not PRICE_WORDS.issuperset(words):
        return False
    signs = (sign == "%" or unicodedata.category(sign) == "Sc" for sign in caption)
    return not PRICE_MARKS.isdisjoint(words) or any(signs)


def _is_generic(caption: str) -> bool:
    if len(caption) > _LONGEST_GENERIC:
        return False
    text = " ".join(caption.casefold().split()).strip(_EDGES)
    if text in GENERIC_CAPTIONS:
        return True
    numbered = _NUMBER.search(text) and _NUMBERED.fullmatch(text)  # "image 3 of 12"
    return numbered is not None and numbered.group(1).rstrip(_EDGES) in GENERIC_CAPTIONS
