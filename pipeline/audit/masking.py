"""How text from the web is shown to a person: masked, harmless, and short enough to read.

Text from the web may have several lines and invisible characters. Passwords and secret parameters of URLs
(`pipeline.core.secrets`), e-mail addresses and telephone numbers are masked. Characters that nobody sees are shown as
escapes (`pipeline.core.visible`). Long texts are cut. The template escapes HTML, not this module.
"""

from __future__ import annotations

import re

from pipeline.core.secrets import without_secrets
from pipeline.core.visible import visible

MAX_CHARS = 300

# Every pattern runs in linear time: a caption may have 100,000 characters and no space.
_EMAIL = re.compile(
    r"(?<![\w.+\-])[\w.+\-]{1,64}@(?!\d+(?:\.\d+)?x\.)[\w\-]{1,63}(?:\.[\w\-]{1,63})+"
)  # photo@2x.png is a file name
_TELEPHONE = re.compile(r"\+\d[\d ().\-]{7,20}\d|(?<![\w.\-])\(?\d{3}\)?[ .\-]\d{3}[ .\-]\d{4}(?![\w\-])")


def masked(text: str) -> str:
    """``text`` without passwords, secret parameters, e-mail addresses and telephone numbers.

    >>> masked("no answer from http://user:secret@example.com/a, ask info@example.com")
    'no answer from http://***@example.com/a, ask [e-mail]'
    """
    text = without_secrets(text)
    return _TELEPHONE.sub("[telephone]", _EMAIL.sub("[e-mail]", text))


def shown(text: str, max_chars: int = MAX_CHARS) -> str:
    """``text`` as reports and terminals show it: masked, one line, no invisible controls, at most ``max_chars``.

    >>> shown("abc\\u202egpj.exe")
    'abc\\\\u202egpj.exe'
    """
    seen = visible(masked(text)[: max_chars + 1], prose=True)
    return seen if len(seen) <= max_chars else seen[: max_chars - 1] + "…"
