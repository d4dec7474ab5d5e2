"""What a server may send before its body: a strict reading of HTTP/1 heads under aiohttp's lenient one.

aiohttp parses answers leniently (bare LF, any number of interim answers) and bounds a header line, not the
block. Here the bytes are watched as they come: at most 64 KiB and 100 header lines over the answer and all its
1xx forerunners, no bare LF, no NUL, one well-formed Content-Length, and no byte beyond it (RFC 9112).
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import BadHttpMessage

MAX_HEAD_BYTES = 65_536
MAX_HEAD_LINES = 100

_BARE = re.compile(rb"(?<!\r)\n|\0")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:([^\r]*)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.IGNORECASE)


class GuardedProtocol(ResponseHandler):
    """A connection; ``fault`` says what was wrong with the answer under way, None for a well-formed one."""

    def __init__(self, loop: Any) -> None:
        super().__init__(loop=loop)
        self.fault: str | None = None
        self.address = ""
        self.asked_at = loop.time()  # when the last request left, on the event loop's clock
        self._restart()

    def _restart(self) -> None:
        self._head: bytes | None = b""  # None once the final head is complete
        self._budget_bytes = MAX_HEAD_BYTES
        self._budget_lines = MAX_HEAD_LINES
        self._body_left: int | None = None  # bytes still declared; None where nothing is
        self._wire_left: int | None = None  # bytes that may still come, framing included; None: no limit yet
        self.overrun = False

    def connection_made(self, transport: Any) -> None:
        """Remember who was dialled."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""

    def set_response_params(self, **params: Any) -> None:
        """aiohttp announces a request: the next bytes begin a head."""
        self.fault = None
        self.asked_at = self._loop.time()
        self._restart()
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Watch, then hand on; a head at fault is not handed on, bytes beyond the declared length neither."""
        if self._wire_left is not None:
            self._wire_left -= len(data)
            if self._wire_left < 0 and self.transport is not None:
                self.overrun = True
                self.transport.abort()
                return
        body = data if self._head is None else self._read_heads(data)
        if self._body_left is not None:
            self._body_left -= len(body)
            if self._body_left < 0:
                self.fault = "more bytes than declared"
                data, self._body_left = data[: len(data) + self._body_left], 0
        if self.fault and self._head is not None:
            self.set_exception(BadHttpMessage(self.fault))
        else:
            super().data_received(data)
        if self.fault and self.transport is not None:
            self.transport.close()

    def limit_body(self, most: int) -> None:
        """Let a body of at most ``most`` bytes come, and as much again as its framing may honestly take. Chunks of one
        byte with long extensions are no honest framing."""
        self._wire_left = most + most // 8 + MAX_HEAD_BYTES

    def _read_heads(self, data: bytes) -> bytes:
        """Consume interim heads and the final one; what is left over belongs to the body."""
        while self._head is not None and data and not self.fault:
            seen = max(len(self._head) - 3, 0)
            come = self._head + data  # nothing is copied where a head begins
            end = come.find(b"\r\n\r\n", seen)
            head, data = (come[: end + 4], come[end + 4 :]) if end >= 0 else (come, b"")
            self._head = head
            self.fault = self._fault_of(head, seen)
            if end < 0 or self.fault:
                break
            self._budget_bytes -= len(head)
            self._budget_lines -= head.count(b"\r\n") - 2  # status line and blank line are no header lines
            self._end_head(head)
        return data

    def _fault_of(self, head: bytes, seen: int) -> str | None:
        """What is wrong with a head, as far as it has come; ``seen`` bytes were judged before."""
        if not b"HTTP/1.".startswith(head[:7]) and not head.startswith(b"HTTP/1."):
            return f"no HTTP/1 answer: {head[:32]!r}"
        if len(head) > self._budget_bytes or head.count(b"\r\n", 0, -2) - 1 > self._budget_lines:
            return f"head over {MAX_HEAD_BYTES} bytes or {MAX_HEAD_LINES} lines"
        bare = _BARE.search(head, seen)
        return f"bare {bare[0]!r} in the head" if bare else None

    def _end_head(self, head: bytes) -> None:
        """An interim answer is followed by another head; the final one says how long the body is."""
        status = _STATUS.match(head)
        if status is None:
            self.fault = f"bad status line: {head[:32]!r}"
        elif status[1].startswith(b"1") and status[1] != b"101":
            self._head = b""
            self._budget_lines -= 1
        else:
            lengths = {length.strip() for length in _LENGTH.findall(head)}
            if len(lengths) > 1 or not all(length.isdigit() and len(length) < 20 for length in lengths):
                self.fault = f"bad Content-Length: {b', '.join(sorted(lengths))[:64]!r}"
                return
            self._head = None
            if lengths and not _CHUNKED.search(head) and status[1] not in (b"204", b"304"):
                self._body_left = int(lengths.pop())
