"""The native HTML parser, isolated: pages are parsed in a child process that may die (pipeline.core.children).

Pages go to the child in batches, because each message costs two changes of process. If the child dies, the pages of
its batch are sent again one by one: only the page that crashes or hangs the parser or uses up memory is lost.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from pipeline.core.boundary import UpToFault
from pipeline.core.children import Child, ChildDied, allow, serve
from pipeline.stages.extract.candidates import Row
from pipeline.stages.extract.config import MIB, Config
from pipeline.stages.extract.pages.html import candidates_of_page

MAX_PARSER_BYTES = 512 * MIB  # beyond the child's memory after its start
BATCH_PAGES = 32
BATCH_BYTES = 4 * MIB  # of HTML; a larger page is a batch of its own
_GC_OBJECTS = 100_000  # rows and nodes have no cycles: hardly anything for the collector to find


class PageTask(msgspec.Struct, array_like=True):
    """A page to parse: what `candidates_of_page` takes, but for the settings."""

    html: bytes
    page_url: str
    page_date: str | None = None
    http_charset: str | None = None
    http_optouts: tuple[str, ...] = ()


Item = list[Row] | tuple[PageTask, list[Row]]
"""Rows, or a page with the rows that stand for it if the parser dies on it."""


class PageParser(Child):
    """``candidates_of_page`` in a child process."""

    def __init__(self, config: Config) -> None:
        super().__init__("pipeline.stages.extract.pages.page_parser", config.model_dump_json())

    def rows(
        self,
        html: bytes,
        page_url: str,
        page_date: str | None,
        http_charset: str | None,
        http_optouts: Sequence[str],
    ) -> list[Row] | None:
        """Rows of a page; None if the parser died."""
        return self.rows_of_batch([PageTask(html, page_url, page_date, http_charset, tuple(http_optouts))])[0]

    def rows_of_batch(self, tasks: Sequence[PageTask]) -> list[list[Row] | None]:
        """Rows of each page; None for a page on which the parser died."""
        try:
            answer = self.ask(msgspec.msgpack.encode(tasks), tries=2 if len(tasks) == 1 else 1)
        except ChildDied:
            return [None] if len(tasks) == 1 else [self.rows_of_batch([task])[0] for task in tasks]
        return _answers.decode(answer)

    def in_order(self, items: Iterable[Item]) -> Iterator[Row]:
        """All rows in the order of ``items``. Holds one batch; those before an exception of ``items`` come first."""
        held: list[Item] = []
        pages = n_bytes = 0
        reader = UpToFault(items)
        for item in reader:
            held.append(item)
            if isinstance(item, tuple):
                pages, n_bytes = pages + 1, n_bytes + len(item[0].html)
            if pages >= BATCH_PAGES or n_bytes >= BATCH_BYTES or len(held) >= 8 * BATCH_PAGES:
                yield from self._flushed(held)
                held, pages, n_bytes = [], 0, 0
        yield from self._flushed(held)
        reader.end()

    def _flushed(self, held: list[Item]) -> Iterator[Row]:
        tasks = [item[0] for item in held if isinstance(item, tuple)]
        found = iter(self.rows_of_batch(tasks) if tasks else [])
        for item in held:
            if isinstance(item, tuple):
                rows = next(found)
                yield from item[1] if rows is None else rows
            else:
                yield from item


_answers = msgspec.msgpack.Decoder(list[list[Row] | None])
_tasks = msgspec.msgpack.Decoder(list[PageTask])


def _answer(message: bytes, config: Config) -> bytes:
    """The rows of each page; None if parsing raised. Each page has its time."""
    answers: list[list[Row] | None] = []
    for task in _tasks.decode(message):
        allow(config.parse_timeout_s)
        try:
            answers.append(
                candidates_of_page(
                    task.html, task.page_url, task.page_date, task.http_charset, task.http_optouts, config
                )
            )
        except MemoryError:
            raise
        except Exception:  # any error affects only this page
            answers.append(None)
    return msgspec.msgpack.encode(answers)


if __name__ == "__main__":
    _config = Config.model_validate_json(sys.argv[1])
    gc.set_threshold(_GC_OBJECTS)
    serve(lambda message: _answer(message, _config), _config.parse_timeout_s, MAX_PARSER_BYTES)
