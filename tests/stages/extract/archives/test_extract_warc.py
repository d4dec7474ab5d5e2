"""WARC: which records are pages, and their bodies."""

import gzip
import tarfile
import time
import zlib
from io import BytesIO

import brotli
import pyarrow as pa
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline.stages.extract.archives.warc import read_warc
from pipeline.stages.extract.candidates import NO_PAGE, candidate
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages.html import candidates_of_page
from pipeline.stages.extract.pages.page_parser import BATCH_PAGES, PageParser, PageTask
from schemas.extract import ADDS

HTML = b'<html lang="en"><img src="/a.jpg" alt="a cat on a mat">'


def outcomes(rows):
    return sorted((row["outcome"], row["count"]) for row in rows)


def http(*headers: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + b"".join(header + b"\r\n" for header in headers)


def chunked(data: bytes, size: int = 7) -> bytes:
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_a_page_written_by_warcio_gives_its_candidate(tmp_path):
    out = BytesIO()
    writer = WARCWriter(out, gzip=True)
    headers = StatusAndHeaders("200 OK", [("Content-Type", "text/html"), ("X-Robots-Tag", "noai")], protocol="HTTP/1.1")
    url = "https://site.example/x/"
    writer.write_record(writer.create_warc_record(url, "response", BytesIO(HTML), http_headers=headers))
    path = tmp_path / "a.warc.gz"
    path.write_bytes(out.getvalue())
    (row,) = read_warc(path, "f", Config())
    assert list(row) == ADDS.names
    assert (row["outcome"], row["image_url"], row["alt_text"]) == ("ok", "https://site.example/a.jpg", "a cat on a mat")
    assert (row["page_url"], row["page_lang"], row["place"]) == (url, "en", 0)
    assert row["page_optouts"] == ["optout_xrobots"]
    assert row["page_date"].endswith("Z")
    pa.RecordBatch.from_pylist([row], schema=ADDS).validate(full=True)


def test_chunked_and_coded_bodies_are_undone(record, packed):
    """X5"""
    type_ = b"Content-Type: text/html"
    chunks, gz = b"Transfer-Encoding: chunked", b"Content-Encoding: gzip"
    bodies = [
        (chunked(HTML), http(type_, chunks)),
        (gzip.compress(HTML), http(type_, gz)),
        (chunked(gzip.compress(HTML)), http(type_, chunks, gz)),
        (zlib.compress(HTML), http(type_, b"Content-Encoding: deflate")),
        (brotli.compress(HTML), http(type_, b"Content-Encoding: br")),
        (HTML, http(type_, chunks)),  # stored plain under the headers of the coded body
        (HTML, http(type_, gz)),
        (HTML, http(type_, chunks, gz)),
    ]
    path = packed([record(body, http=header) for body, header in bodies])
    assert outcomes(read_warc(path, "f", Config())) == [("ok", 1)] * len(bodies)


def test_a_body_over_the_cap_is_said_and_never_unpacked_whole(record, packed):
    """X5"""
    bomb = gzip.compress(HTML + b" " * 50_000_000)
    coded = http(b"Content-Type: text/html", b"Content-Encoding: gzip")
    path = packed([record(bomb, http=coded), record(HTML + b" " * 300_000), record(HTML)])
    assert outcomes(read_warc(path, "f", Config(max_page_bytes=100_000))) == [("body_too_large", 1)] * 2 + [("ok", 1)]


def test_header_bytes_that_are_not_ascii_are_read_as_latin_1(record, packed):
    """X6"""
    headers = http(b"X-\xe9: \xff\xfe", b"Content-Type: text/html; title=\xe9", status=b"200 D\xe9j\xe0 vu")
    assert outcomes(read_warc(packed([record(HTML, http=headers)]), "f", Config())) == [("ok", 1)]


def test_records_that_are_no_pages_are_one_row_with_their_count(record, packed):
    """X7"""
    html = b"Content-Type: text/html"
    others = [
        record(b"software: x\r\n", kind="warcinfo", http=b""),
        record(b"", kind="request", http=b"GET / HTTP/1.1\r\nHost: site.example\r\n"),
        record(b"", kind="revisit"),
        record(b"a: b\r\n", kind="metadata", http=b""),
        record(HTML, http=http(html, status=b"404 Not Found")),
        record(HTML, http=http(html, status=b"301 Moved")),
        record(HTML, http=http(html, status=b"2000 OK")),
        record(b"GIF89a", http=http(b"Content-Type: image/gif")),
        record(b"{}", http=http()),
        record(HTML, http=b"no status line\r\n"),
    ]
    path = packed([*others, record(HTML), record(HTML, http=http())])
    rows = list(read_warc(path, "f", Config()))
    assert outcomes(rows) == [("ok", 1), ("ok", 1), ("record_not_page", len(others))]
    assert next(row["detail"] for row in rows if row["outcome"] == "record_not_page") == "pages.warc.gz"


def test_given_offsets_only_those_records_are_read(numbered, packed, tmp_path):
    records = numbered(20)
    path = packed(records)
    all_rows = list(read_warc(path, "f", Config()))
    offsets = [0]
    for record in records:
        offsets.append(offsets[-1] + len(gzip.compress(record, mtime=0)))
    rows = list(read_warc(path, "f", Config(), {offsets[3], offsets[7], 5}))
    assert rows[:2] == [all_rows[3], all_rows[7]]
    assert [(row["outcome"], row["detail"]) for row in rows[2:]] == [
        ("record_malformed", "no record at pages.warc.gz at byte 5")
    ]


def test_what_is_lost_has_a_key_of_its_own_that_knows_no_path(numbered, packed, tmp_path):
    path = packed(numbered(5))
    data = path.read_bytes()
    (tmp_path / "b.warc.gz").write_bytes(data[:-20])
    (tmp_path / "c.warc.gz").write_bytes(data[:-20])
    b, c = (list(read_warc(tmp_path / name, "fingerprint", Config())) for name in ("b.warc.gz", "c.warc.gz"))
    assert b[-1]["outcome"] == "archive_truncated"
    assert "byte" in b[-1]["detail"]
    assert [row["candidate_id"] for row in b] == [row["candidate_id"] for row in c]
    assert len({row["candidate_id"] for row in b}) == len(b)


def test_a_page_that_kills_or_hangs_the_parser_costs_itself_alone(record, packed):
    """X10"""
    hang = b"<img " + b"".join(b"a%d=1 " % i for i in range(300_000)) + b">"
    eats = b"".join(b"<font a=%d><p>" % i for i in range(4900))
    path = packed([record(HTML), record(hang), record(eats), record(b"<svg><template>" + HTML), record(HTML)])
    rows = list(read_warc(path, "f", Config(parse_timeout_s=0.5)))
    crashed = [row for row in rows if row["outcome"] == "parser_crash"]
    assert len(crashed) == 2
    assert rows[0]["outcome"] == "ok"
    assert rows[-1]["outcome"] == "ok"


def test_only_the_guilty_page_of_a_batch_is_lost_and_the_order_stays_x57():
    """X57: rows stand where their page or their lost record stood, over several batches."""
    hang = b"<img " + b"".join(b"a%d=1 " % i for i in range(300_000)) + b">"
    pages = [b"<img src=/%d.jpg alt='picture %d'>" % (number, number) for number in range(2 * BATCH_PAGES + 3)]
    pages[5] = pages[BATCH_PAGES + 1] = hang
    stand_in = [candidate(NO_PAGE, None, "https://lost.example/", "lost", Config())]
    items: list = [(PageTask(page, "https://site.example/"), stand_in) for page in pages]
    items.insert(9, [candidate(NO_PAGE, None, "https://between.example/", "between", Config())])
    with PageParser(Config(parse_timeout_s=0.5)) as parser:
        found = [row["alt_text"] for row in parser.in_order(items)]
    expected = ["lost" if page is hang else f"picture {number}" for number, page in enumerate(pages)]
    expected.insert(9, "between")
    assert found == expected


def test_a_batch_gives_the_rows_of_single_pages_x57(shared_data):
    """X57"""
    with tarfile.open(shared_data / "html_pages.tar.gz") as tar:
        pages = [tar.extractfile(member).read() for member in list(tar)[1:12]]
    alone = [candidates_of_page(page, "https://site.example/", None, None, (), Config()) for page in pages]
    with PageParser(Config()) as parser:
        assert parser.rows_of_batch([PageTask(page, "https://site.example/") for page in pages]) == alone


def test_the_parser_starts_again_after_a_death():
    """X10"""
    with PageParser(Config()) as parser:
        assert parser.rows(HTML, "http://a.example/", None, None, ())
        parser._child.kill()
        assert parser.rows(HTML, "http://a.example/", None, None, ()) is None
        started = time.monotonic()
        assert parser.rows(HTML, "http://a.example/", None, None, ())[0]["outcome"] == "ok"
        assert time.monotonic() - started < 30
