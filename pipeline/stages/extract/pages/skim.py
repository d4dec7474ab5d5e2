"""Very large pages, reduced to the few tags that ``extract`` reads before the native parser sees them.

A tree builder checks all open elements at every block tag, so a page of n open tags needs n² steps: 200,000
nested ``<div>`` take lexbor 175 s. Such pages are skimmed in one linear pass by the tokenizer's rules: comments,
raw text and templates are removed, the tags below stay, all else is removed. The rest is not nested. Only the order
of images directly in a table may differ from a browser's, which moves them out of it.
Pages below the limit (all but a few) are parsed as they are: 10,000 nested tags take 0.4 s.
"""

from __future__ import annotations

import re

MAX_TAGS = 10_000

_OF_BODY = frozenset({"img", "picture", "noscript", "amp-img", "amp-anim"})
_KEPT = _OF_BODY | {"html", "base", "meta", "source", "/picture", "/noscript"}
_AMP = frozenset({"amp-img", "amp-anim"})  # they have end tags; left open they would nest

# Possessive throughout, and every token may end with the text: no input makes it backtrack.
_TOKEN = re.compile(
    r"""<!--(?:-?>|.*?(?:--!?>|\Z))
    |<(?P<raw>script|style|textarea|title|xmp|iframe|noembed|noframes)(?=[\s/>]).*?(?:</(?P=raw)(?=[\s/>])|\Z)
    |<(?P<name>/?[a-z][^\s/>]*+)
        (?:[^>=]++|=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^\s>"'][^\s>]*+|(?=[>])|\Z))*+(?:>|\Z)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


def is_too_large(text: str) -> bool:
    """Whether a page has so many tags that their nesting could slow down the parser."""
    return text.count("<") > MAX_TAGS


def skim(text: str) -> str:
    """The tags of ``text`` that can concern an image, in order, outside of templates."""
    kept: list[str] = []
    open_templates, in_body = 0, False
    for token in _TOKEN.finditer(text):
        name = (token["name"] or "").lower()
        if name == "template":
            open_templates += 1
        elif name == "/template":
            open_templates = max(0, open_templates - 1)
        elif open_templates or name not in _KEPT:
            continue
        else:
            if name in _OF_BODY and not in_body:
                kept.append("<body>")  # in the head, a noscript would end at its first image
                in_body = True
            kept.append(token[0])
            if name in _AMP:
                kept.append(f"</{name}>")
    return "".join(kept)
