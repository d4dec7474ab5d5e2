"""Objects of a list in JSON: one per line, arrays of objects, or objects one after another over several lines.

Objects on lines are independent: a broken line is one broken row. An array is read element by element as it streams;
behind a broken element reading resumes at the next object (a comma, ``}`` or ``]``, then ``{``). Python's NaN is null.
"""

from __future__ import annotations

import codecs
import io
import json
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pipeline.stages.extract.lists.list_bytes import MAX_LINE_BYTES, opened

Values = dict[str, Any]
Numbered = tuple[int | str, Values | ValueError]  # line, of an array with the number of the element

HEAD_ROWS = 1000  # decide the columns

_DECODER = msgspec.json.Decoder(dict[str, Any])
_ANY = json.JSONDecoder()
_NEXT = re.compile(r"[,}\]]\s*(?=\{)")  # what is in an object stands behind a colon or [
_SPACE = re.compile(r"\s*")
_NO_JSON = ("NaN", "Infinity")  # which Python writes all the same


def json_rows(path: str | Path) -> Iterator[Numbered]:
    """Each object with its line. Raises EOFError if an array is cut off."""
    with opened(path) as file:
        layout = _layout(file)
    with opened(path) as file:
        yield from _by_line(file) if layout == "lines" else _one_by_one(file, layout == "array")


def _layout(file: io.BufferedReader) -> str:
    """array, lines, or values: objects that have lines of their own."""
    head = _head(file).decode("utf-8", "replace").lstrip()
    try:
        value, end = _ANY.raw_decode(head)
    except (ValueError, RecursionError):
        return "array" if head.startswith("[") else "lines"
    if isinstance(value, list):
        is_row = value and not any(isinstance(one, dict) for one in value)  # a line that is an array
        return "lines" if is_row else "array"
    return "values" if isinstance(value, dict) and "\n" in head[:end] else "lines"


def _head(file: io.BufferedReader) -> bytes:
    """The first bytes, as far as they can be read."""
    head = b""
    try:
        while len(head) < MAX_LINE_BYTES and (block := file.read1()):
            head += block
    except (OSError, EOFError, zlib.error):
        pass  # it is said where the rows are read
    return head


def _by_line(file: io.BufferedReader) -> Iterator[Numbered]:
    for number, line in enumerate(_lines(file), 1):
        if line := line.strip():
            yield number, _decoded(line)


def _decoded(line: bytes) -> Values | ValueError:
    try:
        return _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        if not any(word.encode() in line for word in _NO_JSON):
            return ValueError(str(error))
    try:
        return _object(json.loads(line))
    except (ValueError, RecursionError) as error:
        return ValueError(str(error))


def _object(value: Any) -> Values | ValueError:
    """What Python's decoder gives, with NaN as null."""
    if not isinstance(value, dict):
        return ValueError(f"Expected `object`, got `{type(value).__name__}`")
    return {name: None if isinstance(one, float) and math.isnan(one) else one for name, one in value.items()}


def _lines(file: io.BufferedReader) -> Iterator[bytes]:
    """Lines, each cut if it is longer than any row can be."""
    while line := file.readline(MAX_LINE_BYTES):
        yield line
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)


class _Window:
    """A text that streams: at least MAX_LINE_BYTES characters behind ``at``, or all there are."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file, self._decoder = file, codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text, self.at, self.line = "", 0, 1
        self.fault: Exception | None = None  # why there is no more
        self.move(0)

    def move(self, at: int) -> None:
        """Go on at ``at``; drops what is behind it from time to time."""
        self.line += self.text.count("\n", self.at, at)
        self.at = at
        if len(self.text) - self.at < MAX_LINE_BYTES and (more := self._read()):
            self.text, self.at = self.text[self.at :] + more, 0

    def is_cut_off(self, in_array: bool) -> bool:
        """Whether a broken value reaches to the end, where nothing closes it."""
        is_closed = not in_array or self.text.rstrip().endswith("]")
        return self.at == len(self.text) and (self.fault is not None or not is_closed)

    def _read(self) -> str:
        """Some more text; empty at the end, and where reading failed."""
        pieces, size = [], 0
        try:
            while size < 2 * MAX_LINE_BYTES and (block := self._file.read1()):
                pieces.append(block)
                size += len(block)
        except (OSError, EOFError, zlib.error) as error:
            self.fault = error
        return self._decoder.decode(b"".join(pieces), final=size == 0)

    def skip_space(self) -> str:
        """The next character that is not a space; empty at the end."""
        while (found := _SPACE.match(self.text, self.at)) and found.end() > self.at:
            self.move(found.end())
        return self.text[self.at : self.at + 1]


def _one_by_one(file: io.BufferedReader, in_array: bool) -> Iterator[Numbered]:
    """Objects one after another; of arrays between brackets, with commas."""
    window, of_arrays = _Window(file), in_array
    if in_array:
        window.skip_space()
        window.move(window.at + 1)
    number = 0
    while True:
        char = window.skip_space()
        if char == "," and in_array and number:
            window.move(window.at + 1)
            char = window.skip_space()
        if in_array and char == "]":
            window.move(window.at + 1)
            in_array = False
            continue
        if char == "[" and of_arrays and not in_array:  # another array behind the first
            window.move(window.at + 1)
            in_array = True
            continue
        if not char:
            break
        number += 1
        where = f"{window.line}, element {number}"
        values = _next_object(window)
        if isinstance(values, ValueError) and window.is_cut_off(in_array):
            break
        yield where, values
        if isinstance(values, ValueError) and not window.skip_space():
            in_array = False  # it hid the end of the array
    if window.fault or in_array:
        raise window.fault or EOFError("ends too early")


def _next_object(window: _Window) -> Values | ValueError:
    """The value at the window's place; behind a broken one the window goes on at the next object."""
    try:
        value, end = _ANY.raw_decode(window.text, window.at)
        is_too_long = end - window.at > MAX_LINE_BYTES
        window.move(end)
        return ValueError(f"more than {MAX_LINE_BYTES} characters") if is_too_long else _object(value)
    except (ValueError, RecursionError) as error:
        broken = ValueError(getattr(error, "msg", "nested too deep"))
    window.move(window.at + 1)
    while not (found := _NEXT.search(window.text, window.at)):
        if len(window.text) - window.at < MAX_LINE_BYTES:
            window.move(len(window.text))
            return broken
        window.move(len(window.text) - MAX_LINE_BYTES // 2)
    window.move(found.end())
    return broken
