"""Text of strangers, harmless to look at: the one function through which lines go to a terminal, a log or a report.

A header of a CSV, a URL, a caption, a name of a host and the text of an error may hold control characters (an ESC moves
the cursor, renames the window, hides a line), direction overrides (a line reads backwards; Boucher and Anderson,
"Trojan Source", 2021) and characters of no width. Each stands as an escape: ``\\x1b``, ``\\u202e``, ``\\U000e0001``.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Unicode 16, categories Cc, Cf, Cs, Zl and Zp. Written out: Python's own table changes with its version, and reports
# have the same bytes on all of them.
_CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_DIRECTIONS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_NO_WIDTH = "\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
_TAGS = "\U000e0001\U000e0020-\U000e007f"
_OF_SCRIPTS = "\xad\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u200c\u200d\U000110bd\U000110cd\U00013430-\U0001343f"

_EMOJI = "\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"  # ZWJ joins them, with U+FE0F or a skin's colour
_KEPT = f"(?<=[{_EMOJI}\ufe0f])\u200d(?=[{_EMOJI}])|(?<=\U0001f3f4)[\U000e0020-\U000e007e]{{1,6}}\U000e007f"

_UNSEEN = re.compile(f"({_KEPT})|[{_CONTROLS}{_DIRECTIONS}{_NO_WIDTH}{_TAGS}{_OF_SCRIPTS}]")
_UNSEEN_IN_PROSE = re.compile(f"({_KEPT})|[{_CONTROLS}{_DIRECTIONS}{_NO_WIDTH}{_TAGS}]")


def visible(text: str, prose: bool = False) -> str:
    """``text`` as one line without a character that nobody sees, except what holds an emoji together. With ``prose``,
    for a page that is only read, joiners of scripts (Persian, Hindi, ...) and soft hyphens stay too.

    >>> visible("abc\\u202egpj.exe\\n")
    'abc\\\\u202egpj.exe\\\\x0a'
    """
    return (_UNSEEN_IN_PROSE if prose else _UNSEEN).sub(lambda match: match[1] or _escape(match[0]), text)


def json_text(value: Any, **options: Any) -> str:
    """``value`` as JSON in printable ASCII; ``options`` of json.dumps."""
    return json.dumps(value, sort_keys=True, **options).replace("\x7f", "\\u007f")


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
