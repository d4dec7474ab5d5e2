"""Character references in the value of an attribute, decoded once as the HTML standard does it.

A name needs its semicolon, but for those of old (``&amp``, ``&copy``), and even these are left alone before ``=``, a
letter or a digit: ``?a=1&copy=2`` is a query. https://html.spec.whatwg.org/#named-character-reference-state
"""

from __future__ import annotations

import re
from html.entities import html5

_REFERENCE = re.compile(r"&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[A-Za-z][A-Za-z0-9]*;?)")
_WITHOUT_SEMICOLON = sorted((name for name in html5 if not name.endswith(";")), key=len, reverse=True)
_LONGEST = max(map(len, _WITHOUT_SEMICOLON))
_WINDOWS = {number: bytes((number,)).decode("cp1252", "ignore") for number in range(0x80, 0xA0)}
_OLD = frozenset(_WITHOUT_SEMICOLON)


def decoded_attribute(value: str) -> str:
    """The value of an attribute as a page has it, without its quotes.

    >>> decoded_attribute("Tom &amp; Jerry&#39;s ?a=1&copy=2")
    "Tom & Jerry's ?a=1&copy=2"
    """
    return _REFERENCE.sub(lambda match: _decoded(match, value), value) if "&" in value else value


def _decoded(match: re.Match[str], value: str) -> str:
    name = match[1]
    if name.startswith("#"):
        return _character(name[1:].rstrip(";"))
    if name in html5 and name.endswith(";"):
        return html5[name]
    for length in range(min(len(name), _LONGEST), 1, -1):
        if name[:length] in _OLD:
            following = name[length:] or value[match.end() : match.end() + 1]
            is_text = following.startswith("=") or (following[:1].isascii() and following[:1].isalnum())
            return match[0] if is_text else html5[name[:length]] + name[length:]
    return match[0]


def _character(digits: str) -> str:
    """The character of a number, decimal or x and hexadecimal; 0x80 to 0x9F are read as windows-1252."""
    hexadecimal = digits[0] in "xX"
    digits = digits.lstrip("xX").lstrip("0")[:8] or "0"
    number = int(digits, 16 if hexadecimal else 10)
    if number == 0 or number > 0x10FFFF or 0xD800 <= number < 0xE000:
        return "\N{REPLACEMENT CHARACTER}"
    return _WINDOWS.get(number) or chr(number)
