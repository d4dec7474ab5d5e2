"""The text of a page from its bytes, as browsers find it (HTML standard, 13.2.3 "The input byte stream").

    byte order mark > zero bytes of UTF-16 and UTF-32 > HTTP header > meta element > XML declaration > detection

A page that declares nothing is UTF-8 if it is valid UTF-8; else chardetng decides, the detector of Firefox. Where
browsers would show letters that nobody wrote, we do not follow: a page whose bytes are UTF-8 in spite of its
declaration is read as UTF-8, and of a page that cannot be what it declares, or whose header says another charset than
its meta element and its bytes do, only the texts in ASCII count.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from chardetng_py import EncodingDetector

from pipeline.stages.extract.mojibake import MAX_REPLACED_SHARE
from pipeline.stages.extract.pages.encodings import REPLACEMENT, USER_DEFINED, codec_of, decoded
from pipeline.stages.extract.pages.prescan import declared_in

NO_TEXT = -1.0
"""In place of that share: no text of the page counts."""

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xfe\xff", "utf-16-be"),
    (b"\xff\xfe", "utf-16-le"),
)
_WIDE_BYTES = 1024  # looked at for zero bytes; markup is ASCII in any language
_WIDE_SHARE = 0.2  # of the bytes at a place that is zero in ASCII; pages in other charsets have no zero bytes
_WIDE = (  # codec, places of a character that are zero in markup, its other places
    ("utf-32-le", (2, 3), (0,)),
    ("utf-32-be", (0, 1), (3,)),
    ("utf-16-le", (1,), (0,)),
    ("utf-16-be", (0,), (1,)),
)
# Of UTF-16 where most of a page's first bytes are letters of another alphabet.
_TAG = {"utf-16-le": re.compile(rb"<\0[a-zA-Z!/]\0"), "utf-16-be": re.compile(rb"\0<\0[a-zA-Z!/]")}
REPLACED = "\N{REPLACEMENT CHARACTER}"
_BEYOND_ASCII = re.compile("[^\x00-\x7f\ufffd]")
_SINGLE_BYTE = re.compile("cp125|cp8|iso8859|koi8|mac")
_SURE_CHARACTERS = 6  # of UTF-8 in a page of double bytes; each of them is one in seven or less by chance
_TELLING = re.compile(rb"[\x1b\x80-\xff]")
_DETECTOR_BYTES, _RIVAL_BYTES = 2**20, 2**15
_LOOKED_AT = 1000
_SURE_BYTES = 40  # beyond ASCII, for a guess against a declaration: no false alarm in 2,000 sentences in 11 languages
_ASCII = bytes(range(0x80))
_FAMILIES = (  # codec: which of them read the same bytes in the same way
    {"cp1251": 1, "koi8-r": 2, "koi8-u": 2, "iso8859-5": 3, "cp866": 4, "mac-cyrillic": 5},
    {"cp932": 1, "euc-jp": 2, "gb18030": 3, "big5hkscs": 4, "cp949": 5},
)
_MOSTLY = 50  # characters of UTF-8 for each broken one

_HTML_TAG = re.compile(rb"<html\s[^>]*+", re.IGNORECASE)
_LANG = re.compile(rb"\blang\s*+=\s*+[\"']?([a-z-]+)", re.IGNORECASE)
_LANG_BYTES = 8192
_TLD_OF_LANG = {
    "ar": "eg", "be": "by", "bs": "ba", "cs": "cz", "da": "dk", "el": "gr", "et": "ee", "fa": "ir", "he": "il",
    "ja": "jp", "ka": "ge", "kk": "kz", "ko": "kr", "ky": "kg", "sl": "si", "sq": "al", "sr": "rs", "sv": "se",
    "tg": "tj", "uk": "ua", "vi": "vn", "zh": "cn", "zh-hant": "tw", "zh-hk": "hk", "zh-mo": "mo", "zh-tw": "tw",
}  # fmt: skip
_OF_NO_COUNTRY = frozenset({"ai", "cc", "co", "eu", "fm", "io", "me", "tv"})
_HOST = re.compile(r"https?://(?:[^/?#@]*@)?([^/?#:@]+)", re.IGNORECASE)


class Decoded(NamedTuple):
    """A page's text, and the share of U+FFFD up to which an alt text of it counts as readable.

    ``utf8`` is the page itself where it is valid UTF-8: the parser can read it as it is.
    """

    text: str
    max_replaced: float = MAX_REPLACED_SHARE
    utf8: bytes | None = None


def decode(html: bytes, http_charset: str | None, page_url: str | None = None) -> Decoded:
    """The page as text; what its charset cannot read becomes U+FFFD. ``page_url`` helps detection with its country."""
    for bom, encoding in _BOMS:
        if html.startswith(bom):
            return Decoded(decoded(html[len(bom) :], encoding))
    if wide := _wide_codec(html):
        return Decoded(decoded(html, wide))
    codec = codec_of(http_charset)
    if codec and codec.startswith("utf-16") and _TAG[codec].search(html):
        return Decoded(decoded(html, codec))
    if codec is None or codec.startswith("utf-16"):  # without zero bytes it is not UTF-16
        codec = declared_in(html)
    if codec == REPLACEMENT:
        return Decoded(decoded(html, codec), NO_TEXT)
    if codec is None:
        codec = "utf-8" if _is_valid_utf8(html) else _detected(html, page_url)
    elif codec != "utf-8" and _is_utf8_after_all(html, codec):
        codec = "utf-8"
    elif _is_rival(html, codec) or (codec == codec_of(http_charset) and _is_contradicted(html, codec, page_url)):
        return Decoded(decoded(html, USER_DEFINED))
    if codec != "utf-8":
        return Decoded(decoded(html, codec))
    try:
        return Decoded(html.decode(), utf8=html)
    except UnicodeDecodeError:
        text = html.decode(errors="replace")
    # Without one character of UTF-8 beyond ASCII the claim is wrong.
    return Decoded(text, MAX_REPLACED_SHARE if _BEYOND_ASCII.search(text) else 0.0)


def _wide_codec(html: bytes) -> str | None:
    """UTF-16 or UTF-32 without a byte order mark: in markup, all bytes but the lowest of a character are zero."""
    head = html[:_WIDE_BYTES]
    if b"\0" not in head:
        return None
    for codec, zeros, others in _WIDE:
        width = 4 if codec.startswith("utf-32") else 2
        places = len(head) // width
        counts = [head[place::width].count(0) for place in range(width)]
        if all(counts[at] > _WIDE_SHARE * places for at in zeros) and all(counts[at] < places / 8 for at in others):
            return codec
    return None


def _is_valid_utf8(html: bytes) -> bool:
    """Whether all is UTF-8, but for a last character that is cut off, and nothing is an escape of ISO-2022-JP."""
    if b"\x1b" in html:
        return False
    try:
        html.decode()
    except UnicodeDecodeError as error:
        return error.end >= len(html) and error.reason == "unexpected end of data"
    return True


def _is_utf8_after_all(html: bytes, codec: str) -> bool:
    """Whether a page that declares another charset is UTF-8, as no text in that charset can be by chance.

    One pair of bytes is not enough if its second half may follow its first in some language: "É®" is UTF-8 too.
    """
    if html.isascii():
        return False
    text = html.decode(errors="replace")
    replaced = text.count(REPLACED)
    characters = len(text) - len(text.encode("ascii", "ignore")) - replaced
    if not characters or characters < _MOSTLY * replaced:
        return False
    if _SINGLE_BYTE.match(codec):
        some = {match[0] for match in islice(_BEYOND_ASCII.finditer(text), _LOOKED_AT)}
        return len(some) > 1 or not "\u0100" <= min(some) < "\u0800"
    return characters >= _SURE_CHARACTERS or REPLACED in decoded(html, codec)


def _is_rival(html: bytes, codec: str) -> bool:
    """Whether a page is in another charset of the same letters than it declares: KOI8-R for windows-1251, Big5 for GBK.

    Read by its declaration it would be words of the right letters that nobody wrote.
    """
    family = next((family for family in _FAMILIES if codec in family), None)
    if family is None or len(html.translate(None, _ASCII)) < _SURE_BYTES:
        return False
    guess = _guessed(html, None, _RIVAL_BYTES)
    return guess in family and family[guess] != family[codec]


def _is_contradicted(html: bytes, codec: str, page_url: str | None) -> bool:
    """Whether a page declares another charset than its header, and its bytes look like that one too."""
    declared = declared_in(html)
    # cp1252 is what templates say of any page, and what the detector says where it knows no better.
    if declared in (None, codec, "utf-8", "cp1252", REPLACEMENT):
        return False
    sample = html.translate(None, _ASCII)[:_RIVAL_BYTES]
    if len(sample) < _SURE_BYTES:
        return False
    guess = _guessed(html, _top_level_domain(html, page_url), _RIVAL_BYTES)
    meant = decoded(sample, declared or codec)
    return meant == decoded(sample, guess) != decoded(sample, codec)


def _detected(html: bytes, page_url: str | None) -> str:
    """The charset that the bytes look like, with the country or the language of the page for a hint."""
    return "utf-8" if _is_utf8_after_all(html, "cp1252") else _guessed(html, _top_level_domain(html, page_url))


def _guessed(html: bytes, domain: bytes | None, max_bytes: int = _DETECTOR_BYTES) -> str:
    """chardetng's answer, from the first byte on that is not plain ASCII. It reads 7 MB a second."""
    match = _TELLING.search(html)
    start = match.start() if match else 0
    detector = EncodingDetector()
    detector.feed(html[start : start + max_bytes], last=True)
    guess = detector.guess(tld=domain, allow_utf8=False)
    return codec_of(guess) or guess


def _top_level_domain(html: bytes, page_url: str | None) -> bytes | None:
    """That of the page's host if it is a country's; else one for the language of the page."""
    host = _HOST.match(page_url or "")
    domain = host[1].rpartition(".")[2].lower() if host else ""
    if len(domain) == 2 and domain.isascii() and domain.isalpha() and domain not in _OF_NO_COUNTRY:
        return domain.encode()
    match = next(filter(None, map(_LANG.search, _HTML_TAG.findall(html[:_LANG_BYTES]))), None)
    lang = match[1].decode("ascii").lower() if match else ""
    return (_TLD_OF_LANG.get(lang) or _TLD_OF_LANG.get(lang[:2], lang[:2])).encode() or None
