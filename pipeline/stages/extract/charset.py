"""The text of a page from its bytes: BOM, then HTTP header, then meta element, then detection.

Labels are those of the Encoding Standard (https://encoding.spec.whatwg.org/), which reads many names as a superset
of their meaning: gb2312 is gb18030, iso-8859-1 is windows-1252. Any other label is ignored, so
no codec of Python's own (utf-7, rot13, ...) can be chosen by a page.
"""

from __future__ import annotations

import re

PRESCAN_BYTES = 8192  # browsers look at 1,024 and start again on a later meta; real pages put it after long comments

_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"))

# Python codec: labels of the standard.
_LABELS_OF = {
    "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8",
    "cp866": "866 cp866 csibm866 ibm866",
    "iso8859-2": "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2",
    "iso8859-3": "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3",
    "iso8859-4": "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4",
    "iso8859-5": "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988",
    "iso8859-6": "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e"
    " iso-8859-6-i iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987",
    "iso8859-7": "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597 iso_8859-7"
    " iso_8859-7:1987 sun_eu_greek",
    "iso8859-8": "csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598"
    " iso_8859-8 iso_8859-8:1988 visual csiso88598i iso-8859-8-i logical",
    "iso8859-10": "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6",
    "iso8859-13": "iso-8859-13 iso8859-13 iso885913",
    "iso8859-14": "iso-8859-14 iso8859-14 iso885914",
    "iso8859-15": "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9",
    "iso8859-16": "iso-8859-16",
    "koi8-r": "cskoi8r koi koi8 koi8-r koi8_r",
    "koi8-u": "koi8-ru koi8-u",
    "mac-roman": "csmacintosh mac macintosh x-mac-roman",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "cp1250": "cp1250 windows-1250 x-cp1250",
    "cp1251": "cp1251 windows-1251 x-cp1251",
    "cp1252": "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591"
    " iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252 x-user-defined",
    "cp1253": "cp1253 windows-1253 x-cp1253",
    "cp1254": "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5"
    " windows-1254 x-cp1254",
    "cp1255": "cp1255 windows-1255 x-cp1255",
    "cp1256": "cp1256 windows-1256 x-cp1256",
    "cp1257": "cp1257 windows-1257 x-cp1257",
    "cp1258": "cp1258 windows-1258 x-cp1258",
    "mac-cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "gb18030": "chinese csgb2312 csiso58gb231280 gb18030 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk",
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "euc-jp": "cseucpkdfmtjapanese euc-jp x-euc-jp",
    "iso2022-jp": "csiso2022jp iso-2022-jp",
    "cp932": "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis",
    "cp949": "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601"
    " windows-949",
    "utf-16-be": "unicodefffe utf-16be",
    "utf-16-le": "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le",
}
_CODEC_OF = {label: codec for codec, labels in _LABELS_OF.items() for label in labels.split()}

# If nothing is declared and the bytes are not UTF-8: the HTML standard's fallback encodings for
# the page's language. Japanese has three in use; the first that decodes without an error is taken.
_FALLBACK_OF = {
    "ar": "cp1256", "az": "cp1254", "ba": "cp1251", "be": "cp1251", "bg": "cp1251", "cs": "cp1250", "el": "iso8859-7",
    "et": "cp1257", "fa": "cp1256", "he": "cp1255", "hr": "cp1250", "hu": "iso8859-2", "ja": "cp932", "kk": "cp1251",
    "ko": "cp949", "ku": "cp1254", "ky": "cp1251", "lt": "cp1257", "lv": "cp1257", "mk": "cp1251", "pl": "iso8859-2",
    "ru": "cp1251", "sah": "cp1251", "sk": "cp1250", "sl": "iso8859-2", "sr": "cp1251", "tg": "cp1251", "th": "cp874",
    "tr": "cp1254", "tt": "cp1251", "uk": "cp1251", "vi": "cp1258", "zh": "gb18030", "zh-hant": "big5hkscs",
    "zh-hk": "big5hkscs", "zh-mo": "big5hkscs", "zh-tw": "big5hkscs",
}  # fmt: skip
_WESTERN = "cp1252"

_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_META = re.compile(rb"<meta[\s/][^>]*?charset\s*=\s*[\"']?\s*([^\s\"'/>;]+)", re.IGNORECASE)
_HTML_LANG = re.compile(rb"<html\s[^>]*?\blang\s*=\s*[\"']?([a-z-]+)", re.IGNORECASE)


def decode(html: bytes, http_charset: str | None) -> str:
    """The page as text; what its charset cannot read becomes U+FFFD."""
    for bom, codec in _BOMS:
        if html.startswith(bom):
            return html[len(bom) :].decode(codec, "replace")
    head = _COMMENT.sub(b"", html[:PRESCAN_BYTES])
    declared = codec_of(http_charset) or _declared_in(head)
    if declared:
        return html.decode(declared, "replace")
    try:
        return html.decode()
    except UnicodeDecodeError as error:
        if error.end >= len(html) and error.reason == "unexpected end of data":
            return html.decode(errors="replace")  # UTF-8 with its last character cut
        return _in_legacy_charset(html, head)


def codec_of(label: str | None) -> str | None:
    """Python's codec for a label of the Encoding Standard; None for a label that is not in it.

    >>> codec_of(" ISO-8859-1 ")
    'cp1252'
    """
    return _CODEC_OF.get(label.strip(" \t\n\f\r\"'").lower()) if label else None


def _declared_in(head: bytes) -> str | None:
    """The first meta element with a known label. A label UTF-16 cannot be right, because it was read as ASCII."""
    for match in _META.finditer(head):
        codec = codec_of(match[1].decode("latin-1"))
        if codec:
            return "utf-8" if codec.startswith("utf-16") else codec
    return None


def _in_legacy_charset(html: bytes, head: bytes) -> str:
    match = _HTML_LANG.search(head)
    lang = match[1].decode("ascii").lower() if match else ""
    codec = _FALLBACK_OF.get(lang) or _FALLBACK_OF.get(lang.partition("-")[0], _WESTERN)
    for strict in ("iso2022-jp", "euc-jp") if codec == "cp932" else ():
        try:
            return html.decode(strict)
        except UnicodeDecodeError:
            continue
    return html.decode(codec, "replace")
