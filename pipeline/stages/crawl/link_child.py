"""Asking for the links of a page: the parser runs in a child process that may die (`page_links.py`, its program)."""

from __future__ import annotations

import msgspec

from pipeline.core.children import Child, ChildDied
from pipeline.stages.crawl.config import Config
from pipeline.stages.crawl.links import Found

CPU_S = 10.0  # for one page; 20,000 links take 3 s
MAX_BYTES = 512 << 20  # of memory, beyond what the child holds after its start


class Page(msgspec.Struct, array_like=True):
    """An HTML page. ``robots``: its X-Robots-Tag values, joined with commas."""

    body: bytes
    url: str
    content_type: str = ""
    robots: str = ""


class LinkChild(Child):
    """``links_of_page`` in a child process, started with the first page and again after each death."""

    def __init__(self, config: Config) -> None:
        super().__init__("pipeline.stages.crawl.page_links", config.model_dump_json())

    def find(self, page: Page) -> Found:
        """The links of a page; none, and ``lost``, if the parser dies on it."""
        try:
            return msgspec.msgpack.decode(self.ask(msgspec.msgpack.encode(page)), type=Found)
        except ChildDied:
            return Found(lost=True)
