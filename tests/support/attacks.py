"""Texts made to slow a pattern down, from the pattern itself, and what time it takes over them.

A pattern is slow where it can read one stretch in many ways, or begins anew at every place of it. So each part that
repeats is fed: what leads up to it, then many of what it takes, then something that it does not.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from re import _constants as sre
from re import _parser as parser
from typing import Any

ENDS = ("", "\0")
MANY = 30  # a repeat with a smaller limit reads few characters
_OF_CATEGORY = {"DIGIT": "1", "SPACE": " ", "WORD": "a", "NOT_DIGIT": "a", "NOT_SPACE": "a", "NOT_WORD": " "}
_CHARACTERS = [chr(code) for code in (*range(32, 127), 9, 10, 13, 0, 0xE9, 0xC3, 0x20AC, 0x3042, 0x1F600)]


def attacks(pattern: re.Pattern[Any]) -> Iterator[tuple[str, str, str]]:
    """Head, what to repeat, and end of each text."""
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    flags = pattern.flags & ~(re.UNICODE if isinstance(pattern.pattern, bytes) else 0)
    found = dict.fromkeys(_fed(list(parser.parse(text, flags)), ""))
    for head, fed in found:
        for end in ENDS:
            yield head, fed, end
            if head:
                yield "", head + fed, end
                yield "", head, end


def _fed(nodes: list[Any], head: str) -> Iterator[tuple[str, str]]:
    """For each part that repeats: what leads up to it, and what it takes."""
    for op, value in nodes:
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            _, most, inner = value
            if most is sre.MAXREPEAT or most >= MANY:
                for sample in dict.fromkeys(_samples(list(inner))):
                    yield head, sample
            yield from _fed(list(inner), head)
        elif op is sre.SUBPATTERN:
            yield from _fed(list(value[-1]), head)
        elif op is sre.ATOMIC_GROUP:
            yield from _fed(list(value), head)
        elif op in (sre.ASSERT, sre.ASSERT_NOT):
            yield from _fed(list(value[1]), head)
        elif op is sre.BRANCH:
            for branch in value[1]:
                yield from _fed(list(branch), head)
        head += next(_samples([(op, value)]), "")


def _samples(nodes: list[Any]) -> Iterator[str]:
    """Some texts that match: each choice made once, where there is one."""
    parts = [list(dict.fromkeys(_of_node(op, value))) or [""] for op, value in nodes]
    yield "".join(part[0] for part in parts)
    for place, part in enumerate(parts):
        for other in part[1:6]:
            yield "".join(other if at == place else one[0] for at, one in enumerate(parts))


def _of_node(op: Any, value: Any) -> Iterator[str]:
    if op is sre.LITERAL:
        yield chr(value)
    elif op is sre.ANY or op is sre.NOT_LITERAL:
        yield from (char for char in ("a", " ", "<", '"') if op is sre.ANY or ord(char) != value)
    elif op is sre.IN:
        fitting = [char for char in _CHARACTERS if _is_in(char, value)] or [chr(_first(value))]
        yield from dict.fromkeys([fitting[0], fitting[-1], *(char for char in fitting if char in 'a1 "-./:<=')])
    elif op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        for sample in _samples(list(value[2])):
            yield sample * max(1, value[0])
    elif op is sre.SUBPATTERN:
        yield from _samples(list(value[-1]))
    elif op is sre.ATOMIC_GROUP:
        yield from _samples(list(value))
    elif op is sre.BRANCH:
        for branch in value[1]:
            yield next(_samples(list(branch)), "")


def _is_in(char: str, items: list[Any]) -> bool:
    is_not = items[0][0] is sre.NEGATE
    for op, value in items:
        if op is sre.LITERAL and chr(value) == char:
            return not is_not
        if op is sre.RANGE and value[0] <= ord(char) <= value[1]:
            return not is_not
        if op is sre.CATEGORY:
            kind = str(value).removeprefix("CATEGORY_").removeprefix("UNI_")
            if re.match({"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}.get(kind.removeprefix("NOT_"), "."), char):
                return is_not == kind.startswith("NOT_")
            if kind.startswith("NOT_"):
                return not is_not
    return is_not


def _first(items: list[Any]) -> int:
    """The first character of a set."""
    op, value = next((op, value) for op, value in items if op is not sre.NEGATE)
    if op is sre.CATEGORY:
        return ord(_OF_CATEGORY.get(str(value).removeprefix("CATEGORY_").removeprefix("UNI_"), "a"))
    return int(value[0] if op is sre.RANGE else value)


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """The shortest of some runs, in CPU time."""
    shortest = float("inf")
    for _ in range(times):
        start = time.thread_time()
        work()
        shortest = min(shortest, time.thread_time() - start)
    return shortest
