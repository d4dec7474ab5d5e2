"""The native HTML parser, isolated: pages are parsed in a child process that may die (pipeline.core.children).

Only the page that crashes or hangs the parser or uses up memory is lost; the child is replaced for the next page.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from pipeline.core.children import Child, ChildDied, serve
from pipeline.stages.extract.candidates import Row
from pipeline.stages.extract.config import MIB, Config
from pipeline.stages.extract.html import candidates_of_page

MAX_PARSER_BYTES = 512 * MIB  # beyond the child's memory after its start


class _Task(msgspec.Struct, array_like=True):
    html: bytes
    page_url: str
    page_date: str | None
    http_charset: str | None
    http_optouts: tuple[str, ...]


class PageParser(Child):
    """``candidates_of_page`` in a child process."""

    def __init__(self, config: Config) -> None:
        super().__init__("pipeline.stages.extract.page_parser", config.model_dump_json())

    def rows(
        self,
        html: bytes,
        page_url: str,
        page_date: str | None,
        http_charset: str | None,
        http_optouts: Sequence[str],
    ) -> list[Row] | None:
        """Rows of a page; None if the parser died."""
        task = _Task(html, page_url, page_date, http_charset, tuple(http_optouts))
        try:
            answer = self.ask(msgspec.msgpack.encode(task))
        except ChildDied:
            return None
        return msgspec.msgpack.decode(answer, type=list[Row] | None)


def _answer(message: bytes, config: Config) -> bytes:
    """Rows of one page; None if parsing raised."""
    task = msgspec.msgpack.decode(message, type=_Task)
    try:
        rows = candidates_of_page(
            task.html, task.page_url, task.page_date, task.http_charset, task.http_optouts, config
        )
    except MemoryError:
        raise
    except Exception:  # any error affects only this page
        rows = None
    return msgspec.msgpack.encode(rows)


if __name__ == "__main__":
    _config = Config.model_validate_json(sys.argv[1])
    serve(lambda message: _answer(message, _config), _config.parse_timeout_s, MAX_PARSER_BYTES)
