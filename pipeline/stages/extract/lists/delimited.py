"""Rows of a list in CSV or TSV, with the line each begins on.

The delimiter (comma, semicolon, bar, tab) is the one that finds most column names in the header. Lines before the
header that are blank, begin with ``#`` or say ``sep=;`` (Excel) are skipped; blank lines are skipped anywhere.

Quotes are read as RFC 4180 has it: a quoted field ends at a quote before a delimiter or a line end, and quotes in it
are doubled. A row that breaks this is tried as Spark writes it, with a backslash before quotes. If that fails too,

    with commas   its first line is lost; the lines behind it are read as if it were not there
    with tabs     it is read without quotes if that gives the right number of columns (CC3M; an inch sign)

So a field of a TSV loses its quotes only if all of it is one well-formed quoted field. A quote that is never closed
may still meet a quote at the end of a later line. So a quoted field is broken, too, if one of its lines is a row of
the list (the right number of columns, and a URL where URLs are), or if a field behind it has a quote within.

Not DuckDB: its reader with a table of rejects (2.0.1, measured) loses up to two good rows behind an unclosed quote,
names another line, and reads the rest of the file without quotes if the broken row is among the first ones.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.stages.extract.lists.list_bytes import MAX_LINE_BYTES
from pipeline.stages.extract.lists.list_names import is_known

Fields = list[str]
Numbered = tuple[int, dict[str, str] | ValueError]

TAB = "\t"
_DELIMITERS = (",", ";", "|", TAB)
_SEPARATOR = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
_URL = re.compile(r"\s*(?:(?:[a-z][a-z0-9+.-]*:)?//|data:)", re.IGNORECASE)
_INSIDE = re.compile(r'(?:[^"]|"")*+')  # of a quoted field, quotes doubled
_INSIDE_SPARK = re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL)  # quotes after a backslash
_LINE_END = re.compile(r"\r\n|\r|\n")
_ESCAPED = re.compile(r'\\(["\\])')

csv.field_size_limit(MAX_LINE_BYTES)


class Header(NamedTuple):
    """The first row, what separates its fields, and its lines."""

    names: list[str]  # without spaces around them; "column 3" for one that is empty or there before
    delimiter: str
    lines: int


class _Broken(ValueError):
    """A row whose quotes cannot be read."""


class _Lines:
    """Lines with their ends, each cut at MAX_LINE_BYTES characters; some may be looked at before they are taken."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        self._ahead: deque[str] = deque()
        self.number = 0  # of the line taken last, from 1

    def take(self) -> str:
        """The next line; empty at the end."""
        self.number += 1
        return self._ahead.popleft() if self._ahead else self._read()

    def look(self, place: int) -> str:
        """The line that is taken after ``place`` others; empty behind the end."""
        while len(self._ahead) <= place and (line := self._read()):
            self._ahead.append(line)
        return self._ahead[place] if place < len(self._ahead) else ""

    def skip(self, count: int) -> None:
        for _ in range(count):
            self.take()

    def _read(self) -> str:
        line = rest = self._text.readline(MAX_LINE_BYTES)
        while rest and not rest.endswith(("\n", "\r")):
            rest = self._text.readline(MAX_LINE_BYTES)
        return line


class Delimited:
    """A list in CSV or TSV, read once from its first byte. Invalid UTF-8 bytes become lone surrogates."""

    def __init__(self, file: io.BufferedReader, container: str) -> None:
        self._lines = _Lines(file)
        self._url_place = -1
        self._width, self._delimiter = 0, TAB if container == "tsv" else ","
        self.header = self._header(container)
        self._width, self._delimiter = len(self.header.names), self.header.delimiter

    def rows(self, names: list[str]) -> Iterator[Numbered]:
        """Line and values of each row; the first of ``names`` is the column of URLs.

        Places from 1 instead of names: there is no header, and the first row is one like the others.
        """
        has_header = all(name in self.header.names for name in names)
        places = [self.header.names.index(name) if has_header else int(name) - 1 for name in names]
        self._url_place = places[0]
        self._lines.skip(self.header.lines if has_header else 0)
        pairs = list(zip(names, places, strict=True))
        take, delimiter, width = self._lines.take, self._delimiter, self._width
        while line := take():
            number = self._lines.number
            if '"' in line or len(line) >= MAX_LINE_BYTES:
                fields = self._fields(line)
            else:
                fields = line.rstrip("\r\n").split(delimiter)
            if isinstance(fields, ValueError):
                yield number, fields
            elif not line.strip(" \r\n"):
                continue
            elif len(fields) == width:
                values = {name: fields[place] for name, place in pairs}
                has_nul = "\0" in line and any("\0" in value for value in values.values())
                yield number, ValueError("NUL") if has_nul else values
            else:
                yield number, ValueError(f"{len(fields)} columns, the header has {width}")

    def _header(self, container: str) -> Header:
        """Looks at the first row and takes the lines before it."""
        delimiters = sorted(_DELIMITERS, key=lambda one: (one == TAB) != (container == "tsv"))
        while line := self._lines.look(0):
            if found := _SEPARATOR.fullmatch(line):
                delimiters = [found[1]]
            elif line.strip() and not (line.startswith("#") and not _names_columns(line, delimiters)):
                break
            self._lines.take()
        ways = [(*self._first_row(delimiter), delimiter) for delimiter in delimiters]
        names, lines, delimiter = max(ways, key=lambda way: (sum(map(is_known, way[0])), len(way[0]) > 1))
        return Header(names, delimiter, lines)

    def _first_row(self, delimiter: str) -> tuple[Fields, int]:
        self._delimiter = delimiter
        if not (line := self._lines.look(0)):
            return [], 0
        try:
            fields, more = self._gathered(line, _INSIDE, 1)
        except _Broken:
            fields, more = line.rstrip("\r\n").split(delimiter), 0
        fields[0] = fields[0].lstrip("# ")  # a header in a comment
        names, known = list[str](), set[str]()
        for place, field in enumerate(fields, 1):
            name = field.strip()
            names.append(name if name and name not in known else f"column {place}")
            known.add(names[-1])
        return names, more + 1

    def _fields(self, line: str) -> Fields | ValueError:
        """The fields of a row that has quotes; takes the further lines it has."""
        if len(line) >= MAX_LINE_BYTES:
            return ValueError(f"a line of more than {MAX_LINE_BYTES} characters")
        try:
            fields: Fields = next(csv.reader((line,), delimiter=self._delimiter, strict=True))
            if len(fields) == self._width:
                return fields
        except csv.Error:
            pass
        fault: ValueError | None = None
        for inside in (_INSIDE, _INSIDE_SPARK):
            try:
                fields, more = self._gathered(line, inside, 0)
            except _Broken as error:
                fault = fault or error
                continue
            if len(fields) == self._width:
                self._lines.skip(more)
                return fields
            fault = fault or ValueError(f"{len(fields)} columns, the header has {self._width}")
        if self._delimiter == TAB and len(plain := line.rstrip("\r\n").split(TAB)) == self._width:
            return plain
        return fault or []

    def _gathered(self, line: str, inside: re.Pattern[str], ahead: int) -> tuple[Fields, int]:
        """Fields of the row that begins with ``line``, and how many lines it goes on for; ``ahead`` of the lines to
        come are part of ``line``. Raises _Broken."""
        fields: Fields = []
        at = more = size = 0
        has_bare_quote = False
        while True:
            if more and has_bare_quote:  # the first quote was closed by one of another row
                raise _Broken("a quote is never closed")
            if not line.startswith('"', at):
                end = line.find(self._delimiter, at)
                fields.append(line[at:end] if end >= 0 else line[at:].rstrip("\r\n"))
                has_bare_quote |= '"' in fields[-1]
                if end < 0:
                    break
                at = end + 1
                continue
            field, line, at, more = self._quoted(line, at + 1, inside, ahead, more)
            fields.append(field)
            size += len(field)
            if more and size >= MAX_LINE_BYTES:
                raise _Broken("a quote is never closed")
            if line[at : at + 1] != self._delimiter:
                break
            at += 1
        if more and (has_bare_quote or self._hides_rows(fields)):  # it was closed by a quote of another row
            raise _Broken("a quote is never closed")
        return fields, more

    def _quoted(self, line: str, at: int, inside: re.Pattern[str], ahead: int, more: int) -> tuple[str, str, int, int]:
        """The quoted field from ``at``: its text, the line it ends on, where, and the further lines so far."""
        pieces, size, last = [], 0, ""
        while (found := inside.match(line, at)) and found.end() == len(line):
            pieces.append(found[0])
            size += len(found[0])
            line, at, more = self._lines.look(ahead + more), 0, more + 1
            if not line or size + len(line) >= MAX_LINE_BYTES or self._is_row(last.split(self._delimiter)):
                raise _Broken("a quote is never closed")
            last = line.rstrip("\r\n")
        end = found.end() if found else at
        pieces.append(line[at:end])
        if line[end : end + 1] != '"' or line[end + 1 : end + 2] not in ("", "\r", "\n", self._delimiter):
            raise _Broken("a quote is followed by text" if line[end : end + 1] == '"' else "a quote is never closed")
        text = "".join(pieces)
        text = text.replace('""', '"') if inside is _INSIDE else _ESCAPED.sub(r"\1", text)
        return text, line, end + 1, more

    def _is_row(self, parts: Fields) -> bool:
        """Whether these fields are a row with a URL where URLs are."""
        return 1 < len(parts) == self._width and self._url_place >= 0 and is_url(parts[self._url_place])

    def _hides_rows(self, fields: Fields) -> bool:
        """Whether a line within one of the fields, with the fields before or behind it, is a row."""
        for place, field in enumerate(fields):
            lines = _LINE_END.split(field)
            for number, line in enumerate(lines if len(lines) > 1 else ()):
                before = place if number == 0 else 0
                after = len(fields) - place - 1 if number == len(lines) - 1 else 0
                parts = line.split(self._delimiter)
                has_url = before <= self._url_place < before + len(parts)
                is_row = 1 < len(parts) == self._width - before - after
                if is_row and has_url and is_url(parts[self._url_place - before]):
                    return True
        return False


def _names_columns(line: str, delimiters: list[str]) -> bool:
    return any(is_known(name) for delimiter in delimiters for name in line.split(delimiter))


def is_url(field: str) -> bool:
    """Whether a field begins as the URL of an image does."""
    return _URL.match(field) is not None
