"""WARC files: one gzip member per record, so that a reader needs only offset and length.

ISO 28500 (WARC 1.1), written by fastwarc. A response record holds the headers as they were received, byte for
byte, and the body without framing and codings: equal bodies have equal payload digests however they
were sent. Headers that would describe the bytes on the wire are kept under another name, as Common Crawl does
(``X-Crawl-Content-Encoding: gzip``), and the true ``Content-Length`` is added; a reader that decodes by headers
is not misled.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO

from fastwarc.stream_io import GzipWriter
from fastwarc.warc import WarcRecord, WarcRecordType

from pipeline.core.storage import NewFile
from pipeline.web.client import Answer

_OF_THE_WIRE = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
_RENAMED = b"X-Crawl-"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is in its file, bytes."""

    offset: int
    length: int


class WarcWriter:
    """Appends records to a binary stream; a warcinfo record comes first. ``user_agent`` names the crawler."""

    def __init__(self, stream: NewFile | BinaryIO, user_agent: str) -> None:
        self._stream = stream
        self._info_id = self._write_info(user_agent)

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._stream.tell()

    def write_response(self, answer: Answer) -> Place:
        """Append the last answer of a page that was taken, under the URL that answered."""
        record = WarcRecord()
        record.init_headers(record_type=WarcRecordType.response)
        record.headers["WARC-Date"] = answer.fetched_at.replace("+00:00", "Z")
        record.headers["WARC-Target-URI"] = answer.final_url
        if answer.address:
            record.headers["WARC-IP-Address"] = answer.address
        record.headers["WARC-Warcinfo-ID"] = self._info_id
        record.is_http = True
        record.set_bytes_content(_http_message(answer))
        digest = hashlib.sha1(answer.body, usedforsecurity=False).digest()
        return self._write(record, digest)

    def _write_info(self, user_agent: str) -> str:
        product = user_agent.partition(" ")[0]  # the contact is for the sites, not for readers of the file
        fields = {
            "software": product,
            "http-header-user-agent": product,
            "format": "WARC File Format 1.1",
            "robots": "obey",
        }
        record = WarcRecord()
        record.init_headers(record_type=WarcRecordType.warcinfo)
        record.headers["Content-Type"] = "application/warc-fields"
        record.set_bytes_content("".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode())
        info_id = record.record_id
        assert info_id is not None
        self._write(record)
        return info_id

    def _write(self, record: WarcRecord, payload_digest: bytes | None = None) -> Place:
        offset = self._stream.tell()
        member = GzipWriter(self._stream, compression_level=6)
        record.write(member, checksum_data=True, payload_digest=payload_digest)
        member.finish()
        return Place(offset, self._stream.tell() - offset)


def _http_message(answer: Answer) -> bytes:
    """Status line and headers as received, but for those of the wire; then the decoded body."""
    status = HTTPStatus(answer.status or HTTPStatus.OK)
    lines = [f"HTTP/{answer.version} {status.value} {status.phrase}".encode()]  # the server's own phrase is not kept
    for name, value in answer.raw_headers:
        renamed = _RENAMED + name if name.lower() in _OF_THE_WIRE else name
        lines.append(renamed + b": " + value)
    lines.append(b"Content-Length: %d" % len(answer.body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + answer.body
