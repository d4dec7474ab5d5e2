"""The charset that a page declares in its own bytes: a meta element, else its XML declaration.

The rules are those of the HTML standard (13.2.3 "The input byte stream"). A meta element counts anywhere on the page:
the prescan reads it if it is early, "changing the encoding while parsing" if it is late. As in browsers, what stands in
a comment, a script or other raw text is not an element. Reading stops at the first element that names a known charset;
the time is linear.
"""

from __future__ import annotations

import re

from pipeline.stages.extract.pages.encodings import USER_DEFINED, codec_of

# Possessive throughout, and every token may end with the bytes: no input makes it backtrack.
_ATTRIBUTES = rb"""(?:[^>=]++|=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^\s>"'][^\s>]*+|(?=[>])|\Z))*+(?:>|\Z)"""
_TOKEN = re.compile(
    rb"""<!--(?:-?>|.*?(?:--!?>|\Z))
    |<(?P<raw>script|style|textarea|title|xmp|iframe|noembed|noframes)(?=[\s/>])"""
    + _ATTRIBUTES
    + rb""".*?(?:</(?P=raw)(?=[\s/>])|\Z)
    |<meta(?=[\s/])(?P<meta>"""
    + _ATTRIBUTES
    + rb""")
    |</?[a-z]"""
    + _ATTRIBUTES
    + rb"""
    |<[!?/][^>]*+""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_META = re.compile(rb"<meta[\s/]", re.IGNORECASE)
_META_BYTES = 1024  # of an element that names its charset
_CHARSET = b"charset"
_ATTRIBUTE = re.compile(rb"""([^\s/>=][^\s/>=]*+)(?:\s*+=\s*+(?:"([^"]*+)"?|'([^']*+)'?|([^\s>]*+)))?""", re.IGNORECASE)
_IN_CONTENT = re.compile(rb"""charset\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s;"'][^\s;]*+))""", re.IGNORECASE)
_XML = re.compile(rb"<\?xml(?=[\x00-\x20])[^>]*>")
_IN_XML = re.compile(rb"""encoding[\x00-\x20]*+=[\x00-\x20]*+(?:"([^"\x00-\x20]*+)"|'([^'\x00-\x20]*+)')""")


def declared_in(html: bytes) -> str | None:
    """Python's codec for the charset that the page declares; None if it declares no known one.

    >>> declared_in(b'<meta content="text/html; charset=koi8-r" http-equiv=content-type>')
    'koi8-r'
    """
    return _of_meta_element(html) or _of_xml_declaration(html)


def _of_meta_element(html: bytes) -> str | None:
    """The charset of the first meta element that names a known one. Pages without any are not cut into tokens."""
    if not any(_CHARSET in _ahead(html, match.end()) for match in _META.finditer(html)):
        return None
    for token in _TOKEN.finditer(html):
        if token["meta"] and (codec := _of_attributes(token["meta"])):
            return codec
    return None


def _ahead(html: bytes, position: int) -> bytes:
    return html[position : position + _META_BYTES].lower()


def _of_attributes(text: bytes) -> str | None:
    """The charset of one meta element, by ``charset`` or by ``http-equiv`` and ``content``, in any order."""
    attributes: dict[bytes, bytes] = {}
    for name, *values in _ATTRIBUTE.findall(text):
        attributes.setdefault(name.lower(), b"".join(values))
    found = _readable_as_ascii(attributes.get(b"charset", b""))
    if not found and attributes.get(b"http-equiv", b"").strip().lower() == b"content-type":
        match = _IN_CONTENT.search(attributes.get(b"content", b""))
        found = _readable_as_ascii(b"".join(match.groups(b""))) if match else None
    return found


def _of_xml_declaration(html: bytes) -> str | None:
    declaration = _XML.match(html)
    match = _IN_XML.search(declaration[0]) if declaration else None
    return _readable_as_ascii(b"".join(match.groups(b""))) if match else None


def _readable_as_ascii(label: bytes) -> str | None:
    """The codec of a label that was read as ASCII: UTF-16 cannot be right then, and is UTF-8 in the standard."""
    codec = codec_of(label.decode("latin-1"))
    if codec == USER_DEFINED:
        return "cp1252"
    return "utf-8" if codec and codec.startswith("utf-16") else codec
