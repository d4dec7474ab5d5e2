"""The boundary around every reader of strangers' bytes: what a parser raises costs what it was reading, and no more.

Formats have more ways to be broken than their libraries have exceptions: a number that is none, a nesting that is too
deep, a field that is too long. So whatever is raised while bytes are read is a fault of these bytes, except what says
something of the machine: our own errors, too little memory, and errors of a disk or a network, which have an errno.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from pipeline.core.errors import PairmillError

T = TypeVar("T")
MAX_SAID_CHARS = 200


def is_of_input(error: Exception) -> bool:
    """Whether an exception says something of the bytes that were read, and nothing of the machine."""
    return not isinstance(error, PairmillError | MemoryError) and getattr(error, "errno", None) is None


def said(error: Exception) -> str:
    """What an exception says, in one short line."""
    text = next((line for line in str(error).splitlines() if line.strip()), "")
    if not text:
        return "ends too early" if is_cut(error) else type(error).__name__
    is_plain = isinstance(error, ValueError | OSError | EOFError) or type(error).__module__ != "builtins"
    return (text if is_plain else f"{type(error).__name__}: {text}")[:MAX_SAID_CHARS]


def is_cut(error: Exception) -> bool:
    """Whether what was read ends too early."""
    return isinstance(error, EOFError) or getattr(error, "is_cut", False)


def attempted(work: Callable[[], T], instead: Callable[[Exception], T]) -> T:
    """The result of ``work``, or what stands for it if the input makes it raise."""
    try:
        return work()
    except Exception as error:
        if not is_of_input(error):
            raise
        return instead(error)


def contained(items: Iterable[T], instead: Callable[[Exception, int], T]) -> Iterator[T]:
    """All items of a reader, and if the input makes it raise, one more that stands for the rest. ``instead`` gets the
    exception, and how many items came before it."""
    count = 0
    try:
        for count, item in enumerate(items, 1):  # noqa: B007 - counted
            yield item
    except Exception as error:
        if not is_of_input(error):
            raise
        yield instead(error, count)


class UpToFault(Generic[T]):
    """The items of a reader up to its exception, for those who hold some back: ``end`` raises it once these are out."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = items
        self._fault: Exception | None = None

    def __iter__(self) -> Iterator[T]:
        try:
            yield from self._items
        except Exception as error:
            self._fault = error

    def end(self) -> None:
        if self._fault:
            raise self._fault
