"""What in a URL opens something, out of the sight of people: passwords, and parameters with signatures or tokens.

Whoever reads a log line, an error or the report must not get access by it. A parameter is judged by its name, because
its value may be anything. Only what people read is masked; tables and keys keep the URL, or the image could not be
found again.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

_ANYWHERE = re.compile(
    "passw(or)?d|passphrase|secret(?!ar)|token(?!i)|signature|credential|(api|access|private|account)[-_.]?key|"
    "key[-_.]?pair[-_.]?id|sess(ion)?[-_.]?id|jwt|hmac|bearer|oauth|authorization|[cx]srf"
)
"""Parts of names, in lower case. Not `secretary` and `tokenizer`."""
_WORDS = frozenset(["auth", "sig", "sign", "pwd"])
"""Whole words of names. So `author`, `signal` and `design` are shown."""
_NAMES = frozenset(["key", "pass", "pw", "sid", "session", "policy", "ticket", "otp", "hdnts", "hdnea", "hdntl"])
"""Whole names. So `keyword`, `monkey` and `passage` are shown."""
_OF_A_SIGNED_URL = frozenset(["se", "sp", "sv", "st", "spr", "srt", "skoid", "sktid", "skt", "ske", "sks", "skv"])
"""Shown unless they stand beside a signature: a shared access of Azure."""

_WORD = re.compile(r"[a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PARAMETER = re.compile(  # also one within a URL that is itself a value, escaped once or twice
    r"(?:[?&;#]|%(?:25)?(?:3f|26|3b|23))"
    r"((?:[\w.\-~$\[\]]|%(?!25|3f|26|3b|23|3d)[0-9a-f]{2})+)"  # ends before the next mark: linear time
    r"(=|%(?:25)?3d)",
    re.IGNORECASE,
)
_VALUE = re.compile(r"[^&;#\s]*")
_ESCAPED_VALUE = re.compile(r"(?:(?!%(?:25)?26)[^&;#\s])*", re.IGNORECASE)
_USER_INFO = re.compile(r"([/\\]{2})[^\s/\\?#]*@")


def without_secrets(text: str) -> str:
    """``text`` with *** for the user names, passwords and secret parameters of every URL in it. Takes linear time.

    >>> without_secrets("403 for https://a.example/b.jpg?w=10&X-Amz-Signature=0f3c")
    '403 for https://a.example/b.jpg?w=10&X-Amz-Signature=***'
    """
    text = _USER_INFO.sub(r"\1***@", text)
    return " ".join(map(_masked, text.split(" "))) if "=" in text or "%" in text else text


def is_secret(name: str) -> bool:
    """Whether a parameter of this name, as it stands in a URL, opens something."""
    plain = unquote(name)
    words = _WORD.findall(_CAMEL.sub("-", plain).lower())
    return bool(_ANYWHERE.search(plain.lower()) or _WORDS.intersection(words) or plain.lower() in _NAMES)


def _masked(word: str) -> str:
    found = list(_PARAMETER.finditer(word))
    is_signed = any(match[1].lower() == "sig" for match in found)
    parts, end = [], 0
    for match in found:
        if match.start() < end or not (is_secret(match[1]) or (is_signed and match[1].lower() in _OF_A_SIGNED_URL)):
            continue
        value = (_VALUE if match[2] == "=" else _ESCAPED_VALUE).match(word, match.end())
        if value and value[0]:
            parts += [word[end : match.end()], "***"]
            end = value.end()
    return "".join([*parts, word[end:]])
