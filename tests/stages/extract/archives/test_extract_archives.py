"""Archives of other tools: records without HTTP headers, odd lines, codings and types."""

import gzip
import random
import time
import zlib
from collections import Counter

import brotli
import pytest
import zstandard
from warcio.archiveiterator import ArchiveIterator

from pipeline.stages.extract.archives.records import Record, read_records
from pipeline.stages.extract.archives.warc import read_warc
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.raw.bodies import body_of
from pipeline.stages.extract.raw.heads import head_of
from pipeline.stages.extract.raw.media_types import is_binary, media_type_of
from pipeline.stages.extract.sources.inputs import find_inputs

HTML = '<html lang="ru"><img src="a.jpg" alt="Красная лодка на озере">'
PAGE = HTML.encode()


def http(*headers: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"".join(line + b"\r\n" for line in (status, *headers))


def typed(record, media_type, body=PAGE, kind="resource", **more):
    """A record without HTTP headers, of this media type."""
    data = record(body, kind=kind, http=b"", **more)
    if media_type is None:
        return data.replace(b"Content-Type: application/warc-fields\r\n", b"")
    return data.replace(b"application/warc-fields", media_type)


def rows_of(path, **settings):
    return list(read_warc(path, "f", Config(**settings)))


def outcomes(rows):
    return sorted((row["outcome"], row["count"]) for row in rows)


@pytest.mark.parametrize("kind", ["resource", "conversion", "response"])
def test_pages_without_http_headers_are_read_x71(record, packed, kind):
    """X71: as warcit and wget write them; a response may have none if it was not requested by HTTP."""
    types = (
        b"text/html",
        b"TEXT/HTML; charset=windows-1251",
        b"application/xhtml+xml",
        b"text/html;charset=utf-8",
        None,
    )
    records = [
        typed(record, media_type, HTML.encode("cp1251") if media_type and b"1251" in media_type else PAGE, kind)
        for media_type in types
    ]
    rows = rows_of(packed(records))
    assert [row["alt_text"] for row in rows] == ["Красная лодка на озере"] * len(types)
    assert {row["image_url"] for row in rows} == {"https://site.example/dir/a.jpg"}


def test_what_is_no_page_among_resources_is_counted_x71(record, packed):
    """X71, X7"""
    others = [
        typed(record, b"image/jpeg"),
        typed(record, b"text/plain", kind="conversion"),  # a WET file
        typed(record, b"text/css"),
        typed(record, None, b"\xff\xd8\xff\xe0 JFIF"),
        typed(record, b"text/dns", b"20240506 site.example A 1.2.3.4", kind="response"),
        typed(record, b"text/html", kind="metadata"),
        typed(record, b"text/html", kind="revisit"),
        typed(record, b"text/html", kind="continuation"),
    ]
    assert outcomes(rows_of(packed(others))) == [("record_not_page", len(others))]


def test_a_resource_without_a_usable_address_keeps_its_images_with_one_x71(record, packed):
    """X71"""
    page = PAGE + b'<img src="https://i.example/b.jpg" alt="b">'
    for url in ("site.example/two.html", "file:///home/me/two.html", "urn:uuid:7"):
        assert outcomes(rows_of(packed([typed(record, b"text/html", page, url=url)]))) == [
            ("ok", 1),
            ("url_invalid", 1),
        ]


def test_a_resource_over_the_limit_is_said_x71(record, packed):
    """X71, X5"""
    path = packed([typed(record, b"text/html", PAGE + b" " * 200_000)])
    assert outcomes(rows_of(path, max_page_bytes=100_000)) == [("body_too_large", 1)]


def with_lf(data, *, where):
    """A record whose header lines end with LF: of the WARC header, of the HTTP header, of both; or every other one."""
    header, http_header, body = data.split(b"\r\n\r\n", 2)
    if where in ("warc", "both"):
        header = header.replace(b"\r\n", b"\n")
    if where in ("http", "both"):
        length, http_header = len(http_header), http_header.replace(b"\r\n", b"\n")
        block = len(http_header) + 2 + len(body.removesuffix(b"\r\n\r\n"))
        was = b"Content-Length: %d" % (length + 4 + len(body.removesuffix(b"\r\n\r\n")))
        assert was in header
        header = header.replace(was, b"Content-Length: %d" % block)
    ends = {True: b"\n\n", False: b"\r\n\r\n"}
    return header + ends[where != "http"] + http_header + ends[where != "warc"] + body


@pytest.mark.parametrize("is_packed", [True, False])
def test_header_lines_that_end_with_lf_alone_are_read_x72(record, packed, tmp_path, is_packed):
    """X72"""
    versions = (b"WARC/1.0", b"WARC/1.1", b"WARC/0.17", b"WARC/0.18")
    some = [with_lf(record(PAGE), where=where) for where in ("warc", "http", "both")]
    records = [one.replace(b"WARC/1.0", version) for version in versions for one in some]
    path = packed(records)
    if not is_packed:
        path = tmp_path / "a.warc"
        path.write_bytes(b"".join(records))
    rows = rows_of(path)
    assert outcomes(rows) == [("ok", 1)] * len(records)
    assert {row["page_date"] for row in rows} == {"2024-05-06T07:08:09Z"}


def test_a_file_without_a_single_cr_is_read_x72(record, tmp_path):
    """X72: written by hand, or changed by a version control system that repairs line ends."""
    bodies = [PAGE, b"<p>\n\nno image\n", PAGE]
    answer = b"HTTP/1.1 200 OK\nContent-Type: text/html\n\n"
    header = b"WARC/1.0\nWARC-Type: response\nWARC-Target-URI: https://site.example/\nContent-Length: %d\n\n"
    data = b"".join(header % len(answer + body) + answer + body + b"\n\n" for body in bodies)
    for name, content in (("a.warc", data), ("a.warc.gz", gzip.compress(data))):
        (tmp_path / name).write_bytes(content)
        assert outcomes(rows_of(tmp_path / name)) == [("ok", 1), ("ok", 1)]


def test_blank_lines_before_the_first_record_hide_no_archive_x72(record, tmp_path):
    """X72"""
    path = tmp_path / "a"
    path.write_bytes(b"\r\n\n" + record(PAGE))
    assert [split.format for split in find_inputs([str(path)], "auto")] == ["warc"]
    assert outcomes(rows_of(path)) == [("ok", 1)]


def test_an_answer_in_lower_case_is_one_x72(record, packed):
    """X72"""
    assert outcomes(rows_of(packed([record(PAGE, http=http(status=b"http/1.0 200 ok"))]))) == [("ok", 1)]


def test_what_comes_before_the_final_answer_is_skipped_x72(record, packed):
    """X72: interim answers (RFC 9110, section 15.2), and blank lines (RFC 9112, section 2.2)."""
    final = http(b"Content-Type: text/html")
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    before = [
        interim,
        interim + b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n",
        b"\r\n",
        b"\n\n",
        b"\r\n" + interim,
    ]
    assert outcomes(rows_of(packed([record(PAGE, http=one + final) for one in before]))) == [("ok", 1)] * len(before)
    no_pages = [interim, interim + http(status=b"HTTP/1.1 404 Not Found"), b"HTTP/1.1 101 Switching Protocols\r\n"]
    assert outcomes(rows_of(packed([record(PAGE, http=one) for one in no_pages]))) == [("record_not_page", 3)]


@pytest.mark.parametrize(
    "pack", [zlib.compress, brotli.compress, lambda body: b"\x89PNG\r\n\x1a\n" + zlib.compress(body)]
)
def test_a_page_that_is_no_text_is_one_row_x73(record, packed, pack):
    """X73: packed though its headers do not say so, or not a page at all."""
    body = PAGE + random.Random(7).randbytes(2000).hex().encode()
    (row,) = rows_of(packed([record(pack(body))]))
    assert (row["outcome"], row["page_url"]) == ("bad_encoding", "https://site.example/dir/page.html")
    assert row["detail"].endswith(": the body is no text")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "cp1251", "iso2022_jp", "utf-32-le", "gb18030", "cp037"])
def test_no_text_is_taken_for_binary_x73(codec):
    text = HTML.replace("Красная", "赤い") if codec == "iso2022_jp" else HTML
    assert not is_binary(text.encode(codec, "replace") * 40)


def test_endless_headers_take_no_time_x74():
    """X74"""
    for value in ("text/html; charset=" + " " * 10**6, '"' * 10**6, "text/html;" + 'a="' * 10**6, "," * 10**6):
        start = time.process_time()
        media_type_of([value])
        assert time.process_time() - start < 1


def test_folded_and_odd_header_lines_are_read_x72(record, packed):
    """X72"""
    headers = b"HTTP/1.1 200 OK\r\nno colon here\r\ncontent-TYPE:\r\n\ttext/html;\n charset=windows-1251\r\nX: \xff\r\n"
    rows = rows_of(packed([record(HTML.encode("cp1251"), http=headers)]))
    assert [row["alt_text"] for row in rows] == ["Красная лодка на озере"]
    endless = record(b"", http=b"HTTP/1.1 200 OK\r\nContent-Type: text/html").replace(b"html\r\n", b"html\r\r", 1)
    assert outcomes(rows_of(packed([endless]))) == [("record_malformed", 1)]


ZSTD = zstandard.ZstdCompressor().compress(PAGE)
GZIP = gzip.compress(PAGE, mtime=0)
LONG = PAGE + b"".join(b'<img src="%d.jpg" alt="%d">' % (i, i * i) for i in range(9000))


def test_bodies_in_zstd_are_pages_x70(record, packed):
    """X70"""
    type_, coding = b"Content-Type: text/html", b"Content-Encoding: zstd"
    bodies = [ZSTD, ZSTD[:0] + zstandard.ZstdCompressor(write_checksum=True).compress(PAGE), PAGE]
    assert outcomes(rows_of(packed([record(body, http=http(type_, coding)) for body in bodies]))) == [("ok", 1)] * 3
    bomb = zstandard.ZstdCompressor().compress(PAGE + bytes(50_000_000))
    path = packed([record(bomb, http=http(type_, coding))])
    assert outcomes(rows_of(path, max_page_bytes=100_000)) == [("body_too_large", 1)]


UNDECODABLE = [
    (b"aes128gcm", bytes(range(256))),
    (b"compress", b"\x1f\x9d\x90" + bytes(99)),
    (b"gzip, gzip, gzip", gzip.compress(gzip.compress(GZIP))),
    (b"gzip", ZSTD),
    (b"zstd", GZIP),
    (b"br", GZIP),
    (b"zstd", ZSTD[:20]),
    (b"gzip", gzip.compress(GZIP)),  # packed twice, declared once
    (b"identity", GZIP),
    (b"", ZSTD),
]


def coded(record, coding, body):
    return record(body, http=http(b"Content-Type: text/html", b"Content-Encoding: " + coding))


def test_a_body_that_does_not_decode_is_one_row_x73(record, packed):
    """X73"""
    records = [coded(record, coding, body) for coding, body in UNDECODABLE]
    rows = rows_of(packed([*records, record(PAGE)]))
    assert outcomes(rows) == [("bad_encoding", 1)] * len(records) + [("ok", 1)]
    assert {row["page_url"] for row in rows} == {"https://site.example/dir/page.html"}
    assert rows[0]["detail"] == "pages.warc.gz at byte 0: cannot undo aes128gcm"


def test_a_plain_body_under_any_coding_is_a_page_x73(record, packed):
    """X73: archivers undo the coding and leave the header."""
    codings = (b"gzip", b"br", b"deflate", b"zstd", b"utf-8", b"none", b"gzip, br, zstd")
    assert outcomes(rows_of(packed([coded(record, coding, PAGE) for coding in codings]))) == [("ok", 1)] * len(codings)


PACKERS = {b"gzip": gzip.compress, b"deflate": zlib.compress, b"br": brotli.compress, b"zstd": zstandard.compress}


def test_a_coded_body_that_is_cut_gives_its_beginning_and_a_row_x73(record, packed):
    """X73"""
    for coding, packed_by in PACKERS.items():
        body = packed_by(LONG)
        rows = rows_of(packed([coded(record, coding, body[: len(body) // 2])]), max_page_images=10_000)
        found = Counter(row["outcome"] for row in rows)
        assert found["bad_encoding"] == 1
        assert 0 < found["ok"] < 9001


def test_chunks_that_break_off_are_said_x73(record, packed):
    """X73"""
    headers = http(b"Content-Type: text/html", b"Transfer-Encoding: chunked")
    chunk = b"%x\r\n%s\r\n" % (len(PAGE), PAGE)
    cases = [
        (chunk + b"0\r\n\r\n", [("ok", 1)]),
        (chunk, [("ok", 1)]),  # archivers leave the last one out
        (chunk + b"0\r\nX-Trailer: 1\r\n\r\n", [("ok", 1)]),
        (chunk + b"400\r\n<p>cut", [("bad_encoding", 1), ("ok", 1)]),
        (chunk + b"no size\r\n", [("bad_encoding", 1), ("ok", 1)]),
        (PAGE, [("ok", 1)]),
    ]
    for body, expected in cases:
        assert outcomes(rows_of(packed([record(body, http=headers)]))) == expected, body
    gzipped = http(b"Content-Type: text/html", b"Transfer-Encoding: gzip, chunked")
    assert outcomes(rows_of(packed([record(b"%x\r\n%s\r\n0\r\n\r\n" % (len(GZIP), GZIP), http=gzipped)]))) == [
        ("ok", 1)
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["text/html;charset=utf-8"], ("text/html", "utf-8")),
        (['Text/HTML ; Charset="windows-1251"'], ("text/html", "windows-1251")),
        (["text/html charset=utf-8"], ("text/html", "utf-8")),
        (["text/html; charset=gbk", "text/html"], ("text/html", "gbk")),
        (["text/plain; charset=gbk", "text/html"], ("text/html", None)),
        (["text/html, text/html;charset=gbk"], ("text/html", "gbk")),
        (["text/html", "image/png"], ("image/png", None)),
        (["text/html", "*/*"], ("text/html", None)),
        (['text/html; x="a, b/c"; charset=gbk'], ("text/html", "gbk")),
        (["html"], ("", None)),
        (["unknown/unknown"], ("", None)),
        (["", ";charset=utf-8"], ("", None)),
    ],
)
def test_odd_media_types_are_read_as_browsers_read_them_x74(values, expected):
    """X74: cases of Fetch, "extract a MIME type", and of Chromium for what it leaves open."""
    assert media_type_of(values) == expected


def test_the_type_decides_and_without_one_the_first_bytes_x74(record, packed):
    """X74"""
    xhtml = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><img src="a" alt="b"/></html>'
    pages = [
        (PAGE, http(b"Content-Type: unknown/unknown")),
        (PAGE, http(b"Content-Type: html")),
        (PAGE, http(b"Content-Type: ")),
        (xhtml, http(b"Content-Type: text/xml")),
        (xhtml, http(b"Content-Type: application/xml; charset=utf-8")),
        (PAGE, http(b"content-type: TEXT/HTML", b"Content-Type: text/html;charset=utf-8")),
        (GZIP, http(b"Content-Encoding: gzip")),
    ]
    others = [
        (PAGE, http(b"Content-Type: text/plain")),
        (b"<rss></rss>", http(b"Content-Type: application/xml")),
        (PAGE, http(b"Content-Type: application/json")),
        (b"{}", http(b"Content-Encoding: gzip")),
    ]
    path = packed([record(body, http=headers) for body, headers in pages + others])
    assert outcomes(rows_of(path)) == [("ok", 1)] * len(pages) + [("record_not_page", len(others))]


def by_us(path):
    for item in read_records(path, 2**24):
        assert isinstance(item, Record)
        head = head_of(item.data)
        block = item.data[head.end :]
        if block.startswith(b"HTTP/") and head.text("warc-type") == "response":
            answer = head_of(block)
            block, _ = body_of(block[answer.end :], answer, 2**24)
        yield head.text("warc-type"), head.text("warc-target-uri"), block


def by_warcio(path):
    with path.open("rb") as file:
        for record in ArchiveIterator(file):
            yield (
                record.rec_type,
                record.rec_headers.get_header("WARC-Target-URI") or "",
                record.content_stream().read(),
            )


def bodies_of(found):
    """warcio takes the HTTP headers of requests and revisits away as well; there only type and URL are compared."""
    return [(kind, url, b"" if kind in ("request", "revisit") else block) for kind, url, block in found]


def test_payloads_are_those_of_warcio_x70(record, packed):
    """X70, X71, X72, X73"""
    type_ = b"Content-Type: text/html"
    records = [
        record(b"a: b\r\n", kind="warcinfo", http=b""),
        record(GZIP, http=http(type_, b"Content-Encoding: gzip")),
        record(b"5\r\n<html\r\n1\r\n>\r\n0\r\n\r\n", http=http(type_, b"Transfer-Encoding: chunked")),
        record(PAGE, http=http(type_, b"Transfer-Encoding: chunked", b"Content-Encoding: gzip")),
        typed(record, b"text/html"),
        typed(record, b"text/plain", kind="conversion"),
        with_lf(record(PAGE), where="both"),
        record(b"", kind="revisit"),
    ]
    path = packed(records)
    assert bodies_of(by_us(path)) == bodies_of(by_warcio(path))


@pytest.mark.parametrize("name", ["aut-example", "cc-whirlwind", "pywb-iana", "resiliparse-warcfile"])
def test_payloads_of_real_archives_are_those_of_warcio_x70(shared_data, name):
    """X70"""
    path = shared_data / "warc" / f"{name}.warc.gz"
    assert bodies_of(by_us(path)) == bodies_of(by_warcio(path))
