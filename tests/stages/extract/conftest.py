"""Archives made by hand, byte by byte, and the real ones that lie beside the checkout."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import SHARED

from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages.html import candidates_of_page

PAGE_URL = "https://site.example/dir/page.html"
SHARED_DATA = SHARED / "data"


def make_record(
    body: bytes,
    *,
    url: str = PAGE_URL,
    kind: str = "response",
    http: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n",
    length: int | str | None = None,
    end: bytes = b"\r\n\r\n",
) -> bytes:
    """A WARC record; ``length`` is what its header claims, when that is not the truth."""
    block = http + b"\r\n" + body if http else body
    content_type = "application/http; msgtype=response" if http else "application/warc-fields"
    header = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-05-06T07:08:09Z\r\n"
        f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{len(body):012d}>\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(block) if length is None else length}\r\n\r\n"
    )
    return header.encode() + block + end


@pytest.fixture
def record() -> Callable[..., bytes]:
    return make_record


@pytest.fixture
def numbered() -> Callable[[int], list[bytes]]:
    """``n`` records of different pages, each with one image that names its number."""

    def make(n: int) -> list[bytes]:
        padding = bytes(range(32, 60)) + bytes(range(64, 127))
        page = '<img src="/{0}.jpg" alt="picture {0}">'
        return [
            make_record(page.format(i).encode() + padding * (i % 7), url=f"https://site.example/{i}") for i in range(n)
        ]

    return make


@pytest.fixture
def packed(tmp_path: Path) -> Callable[[list[bytes]], Path]:
    """Writes one gzip member a record."""

    def write(records: list[bytes]) -> Path:
        path = tmp_path / "pages.warc.gz"
        path.write_bytes(b"".join(gzip.compress(record, mtime=0) for record in records))
        return path

    return write


@pytest.fixture
def page_rows() -> Callable[..., list[dict]]:
    """Rows of a page given as text or bytes."""

    def rows(
        html: str | bytes, *, url: str = PAGE_URL, charset: str | None = "utf-8", **settings: object
    ) -> list[dict]:
        data = html.encode() if isinstance(html, str) else html
        return candidates_of_page(data, url, None, charset, (), Config(**settings))

    return rows


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared test data is not beside this checkout")
    return SHARED_DATA
