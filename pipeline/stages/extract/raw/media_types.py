"""Which media type a page has, by the headers that say so, and where they say nothing by its first bytes.

Several values are read as browsers read them (https://fetch.spec.whatwg.org/#concept-header-extract-mime-type): the
last one that is a type counts, and keeps the charset of an equal one before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
SNIFF_BYTES = 1024
MIN_CONTROLS, MAX_CONTROL_SHARE, MAX_ZERO_SHARE = 4, 0.04, 0.1  # ours

_MAX_CHARS = 1024  # of a header; more is nonsense, and patterns would take their time
_XML_TYPES = frozenset({"text/xml", "application/xml"})
_UNKNOWN = frozenset({"unknown/unknown", "application/unknown", "*/*"})  # of the standard on MIME sniffing
_VALUE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')
_TYPE = re.compile(r"\s*([!#$%&'*+.^_`|~\w-]+/[!#$%&'*+.^_`|~\w-]+)(?=[\s;(]|$)", re.ASCII)
_CHARSET = re.compile(r"charset\s*+=\s*+[\"']?\s*+([^\s\"';]++)", re.IGNORECASE)
_LOOKS_LIKE_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|meta|script|p|div|h1)[\s>]", re.IGNORECASE)
_XHTML = re.compile(rb"<(?:\w+:)?html\b[^>]*\"http://www\.w3\.org/1999/xhtml\"|<!DOCTYPE\s+html\b", re.IGNORECASE)
_BINARY = re.compile(rb"[\0-\x08\x0b\x0e-\x1a\x1c-\x1f]")  # "binary data byte" of the standard on MIME sniffing
_UTF16 = (b"\xfe\xff", b"\xff\xfe")


class MediaType(NamedTuple):
    """``name``: lower case, empty if nothing declares one. ``charset``: its label as found."""

    name: str
    charset: str | None


def media_type_of(values: Iterable[str]) -> MediaType:
    """The type that all values of Content-Type declare together."""
    found = MediaType("", None)
    for value in (part for line in values for part in _VALUE.findall(line[:_MAX_CHARS])):
        match = _TYPE.match(value)
        charset = _CHARSET.search(value)
        name = match[1].lower() if match else ""
        if not name or name in _UNKNOWN:
            continue
        inherited = found.charset if name == found.name else None
        found = MediaType(name, charset[1] if charset else inherited)
    return found


def may_be_html(declared: str) -> bool:
    """Whether a body of this declared type may be a page: only the body shows it of no type, and of XML."""
    return not declared or declared in HTML_TYPES or declared in _XML_TYPES


def is_html(declared: str, body: bytes) -> bool:
    """Whether a browser shows ``body`` as a page: the declared type decides; without one, the first bytes do."""
    head = body[:SNIFF_BYTES]
    if declared in _XML_TYPES:
        return _XHTML.search(head) is not None
    return declared in HTML_TYPES if declared else _LOOKS_LIKE_HTML.search(head) is not None


def is_text(body: bytes) -> bool:
    """Whether the first bytes may be those of a page in some charset: compressed data have others among them."""
    return body.startswith(_UTF16) or _BINARY.search(body[:SNIFF_BYTES]) is None


def is_binary(body: bytes) -> bool:
    """Whether the first bytes are those of no text in any charset: one in ten of compressed data is a control, and
    few of them are zero, as those of text in UTF-16 and UTF-32 are."""
    head = body[:SNIFF_BYTES]
    zeros = head.count(0)
    controls = len(_BINARY.findall(head)) - zeros
    return controls >= MIN_CONTROLS and controls > MAX_CONTROL_SHARE * len(head) and zeros < MAX_ZERO_SHARE * len(head)
