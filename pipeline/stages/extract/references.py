"""Character references in a text that no HTML parser has read: a caption of a list, a URL of an old WAT.

They are decoded once, as HTML does it in the value of an attribute (https://html.spec.whatwg.org/, "Character
reference state"). ``html.unescape`` follows the rules of text instead, where "garden&center" begins with a cent sign,
and removes what the standard replaces by U+FFFD.
"""

from __future__ import annotations

import re
from html.entities import html5

_REFERENCE = re.compile(r"&(?:#(?:[xX]([0-9a-fA-F]+)|([0-9]+));?|([a-zA-Z][a-zA-Z0-9]*+)(;|(?!=)))")
"""A number, or a name up to its last letter or digit. A name without semicolon is not one before ``=``."""
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_MOST_DIGITS = 8
_WINDOWS_1252 = {code: bytes([code]).decode("cp1252", "ignore") or chr(code) for code in range(0x80, 0xA0)}
"""What numbers of C1 controls mean; the five codes without a character stay controls."""


def decoded(text: str) -> str:
    """``text`` with its character references decoded once.

    >>> decoded("Home&garden&amp;lt; &copy; &#x201c;AT&T&#148;")
    'Home&garden&lt; © “AT&T”'
    """
    return _REFERENCE.sub(_meant, text) if "&" in text else text


def _meant(match: re.Match[str]) -> str:
    hexadecimal, decimal, name, end = match.groups()
    if name is not None:
        return html5.get(name + end, match[0])
    digits = (hexadecimal or decimal).lstrip("0")
    code = int(digits or "0", 16 if hexadecimal else 10) if len(digits) <= _MOST_DIGITS else 0
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return _REPLACEMENT
    return _WINDOWS_1252.get(code) or chr(code)
