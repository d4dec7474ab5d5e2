"""From raw alt text to a caption: what a person would read, as valid UTF-8 in NFC.

    mojibake (ftfy), HTML tags, full-width letters, invisible characters, NFC, towers of marks, white space

Words are never changed: quotes stay curled, case and punctuation stay, and so does what looks like a character
reference: extract has decoded those that are one. Texts over LONGEST_CLEANED are not cleaned at
all, so no text can cost much; a rule drops them by their raw length. Flags of regions (England, Scotland) lose their
invisible tag characters, which could hide text, and become a black flag.
"""

from __future__ import annotations

import re
import string
import unicodedata

from ftfy import TextFixerConfig, fix_text
from ftfy.badness import is_bad

LONGEST_CLEANED = 2000
"""Longest alt text that is cleaned and measured, in code points; DataComp's and LAION's captions are far shorter."""
LONGEST_UNCOMPOSED = 4 * LONGEST_CLEANED
"""A longer text has more than LONGEST_CLEANED code points in NFC too: NFC composes at most four into one (UAX 15)."""

# Every option is set, so that a new default of ftfy changes no caption. NFC is ours, character references extract's.
_FTFY = TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=True,
    fix_encoding=True,
    restore_byte_a0=True,
    replace_lossy_sequences=True,
    decode_inconsistent_utf8=True,
    fix_c1_controls=True,
    fix_latin_ligatures=True,
    fix_character_width=False,  # it would also make Chinese punctuation ASCII; letters and digits: _FULL_WIDTH
    uncurl_quotes=False,
    fix_line_breaks=True,
    fix_surrogates=True,
    remove_control_chars=True,
    normalization=None,
    explain=False,
)

# Only real elements: "x<y and y>z" is not markup. As in a browser, inline elements join the text around them, and all
# others split it. [^<>]* stops at the next bracket, so matching is linear.
_INLINE_TAG = re.compile(
    r"</?(?:a|abbr|b|big|cite|code|del|em|font|i|ins|label|mark|q|s|small|span|strike|strong|sub|sup|time|tt|u|wbr)"
    r"(?:[\s/][^<>]*)?>|<!--[^<>]*>",
    re.IGNORECASE,
)
_BLOCK_TAG = re.compile(
    r"</?(?:article|aside|blockquote|body|br|button|caption|center|dd|div|dl|dt|figcaption|figure|footer|form|h[1-6]|"
    r"head|header|hr|html|iframe|img|input|li|link|main|meta|nav|noscript|o:p|ol|option|p|picture|pre|script|section|"
    r"select|source|style|svg|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul|video)(?:[\s/][^<>]*)?>",
    re.IGNORECASE,
)

_INVISIBLE_CHARACTERS = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # controls that are not white space
    "\u00ad\u034f\u180e\u200b\ufeff"  # soft hyphen, grapheme joiner, zero-width spaces, byte order mark
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction marks, embeddings, overrides, isolates
    "\u2060-\u2065\u206a-\u206f\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e007f"  # invisible operators, tags
    "\u115f\u1160\u3164\uffa0\u2800"  # fillers: letters and a braille cell that show nothing
    "\ud800-\udfff\ue000-\uf8ff\U000f0000-\U0010ffff"  # surrogates, private use (icon fonts)
)
_INVISIBLE = re.compile(f"[{_INVISIBLE_CHARACTERS}]")

_FULL_WIDTH = {ord(character) + 0xFEE0: character for character in string.ascii_letters + string.digits + "@"}

# Every character on which a step of `repaired` acts; ftfy's own heuristic finds mojibake.
_REPAIRABLE = re.compile(
    f"[<{_INVISIBLE_CHARACTERS}"
    "\x0b\r\x1c-\x1f\x85\u2028\u2029"  # line breaks, and separators that ftfy takes for controls
    "\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\ufb00-\ufb06"  # ligatures
    "\uff10-\uff19\uff20-\uff3a\uff41-\uff5a\u200c\u200d\ufffc]"  # full-width letters and digits, joiners, object
)

# Zero-width (non-)joiners carry meaning between letters of the Arabic, Indic, Burmese, Khmer and Mongolian scripts.
_JOINER = re.compile("[\u200c\u200d]")
_JOINED_SCRIPT = re.compile("[\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc]")
_VIRAMA = 9
_EMOJI_SELECTOR = "\ufe0f"

MAX_ACCENTS = 4
"""Marks with a combining class (accents, cantillation) that one letter may carry (docs/faults.md, T4)."""
MAX_MARKS = 8
"""Marks of any kind on one letter: the longest Burmese syllables need six vowel signs and medials."""

_MARKS = "".join(chr(code) for code in range(0x10000) if unicodedata.category(chr(code))[0] == "M")
_PERHAPS_TOWER = re.compile(f"[{re.escape(_MARKS)}]{{{MAX_ACCENTS + 1}}}|[\U00010000-\U0010ffff]")
"""Without so many marks in a row, or a character beyond the first plane, there is no tower to cut."""

# ftfy's heuristic takes 20 to 50 µs. It matches only a sign or an accented letter next to another non-ASCII character,
# or one of a few letters. This pattern matches more (ftfy 6.3; a test compares the results).
_SIGNS = "\x80-\u036f\u0402\u0490\u0491\u2000-\u25ff\uf8ff\ufb01\ufb02\ufffd"
_PERHAPS_MOJIBAKE = re.compile(f"[{_SIGNS}][^\\x00-\\x7f]|[^\\x00-\\x7f][{_SIGNS}]|[\u0152\u0153\xc2\xc3]")


def clean(text: str) -> str:
    """The caption in ``text``; ``text`` is at most LONGEST_CLEANED long (longer texts only cost more time).

    >>> clean("Café <b>au\\u200b lait</b>\\n")
    'Café au lait'
    """
    if needs_repair(text):
        text = repaired(text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        if _PERHAPS_TOWER.search(text):
            text = _without_towers(text)
    return " ".join(text.split())


def needs_repair(text: str) -> bool:
    """Whether `repaired` could change ``text``. It saves most captions 20 to 40 µs; a test shows equal results."""
    if _REPAIRABLE.search(text):
        return True
    return not text.isascii() and _PERHAPS_MOJIBAKE.search(text) is not None and is_bad(text)


def repaired(text: str) -> str:
    """``text`` without mojibake, tags, full-width letters and invisible characters."""
    text = fix_text(text, _FTFY)
    text = _BLOCK_TAG.sub(" ", _INLINE_TAG.sub("", text)).translate(_FULL_WIDTH)
    text = _INVISIBLE.sub("", text)
    return _JOINER.sub(_meaningful_joiner, text)


def _meaningful_joiner(match: re.Match[str]) -> str:
    """The joiner itself inside an emoji sequence or a word of a joined script, else nothing.

    After a virama (combining class 9) a zero-width joiner also counts at the end of a word: Malayalam's chillu.
    """
    before = match.string[match.start() - 1 : match.start()]
    after = match.string[match.end() : match.end() + 1]
    in_word = _JOINED_SCRIPT.match(before) and _JOINED_SCRIPT.match(after)
    chillu = match.group() == "\u200d" and before != "" and unicodedata.combining(before) == _VIRAMA
    in_emoji = match.group() == "\u200d" and _is_emoji(before) and _is_emoji(after)
    return match.group() if in_word or chillu or in_emoji else ""


def _is_emoji(character: str) -> bool:
    """Symbols, skin tones and the arrows that emoji sequences use."""
    if not character:
        return False
    return character in {_EMOJI_SELECTOR, "\u2194", "\u2195"} or unicodedata.category(character) in {"So", "Sk"}


def _without_towers(text: str) -> str:
    """``text`` with at most MAX_ACCENTS accents and MAX_MARKS marks after any letter."""
    kept: list[str] = []
    marks = accents = 0
    for character in text:
        if unicodedata.category(character)[0] == "M":
            accent = unicodedata.combining(character) != 0
            if marks == MAX_MARKS or (accent and accents == MAX_ACCENTS):
                continue
            marks += 1
            accents += accent
        else:
            marks = accents = 0
        kept.append(character)
    return "".join(kept)
