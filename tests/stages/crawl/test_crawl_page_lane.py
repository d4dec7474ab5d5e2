"""A lane without Spark: what is written for each answer, and that a part counts as a whole or not at all."""

import gzip
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastwarc.warc import ArchiveIterator as FastArchive
from fastwarc.warc import WarcRecordType
from warcio.archiveiterator import ArchiveIterator as WarcioArchive

from pipeline.core.parts import committed, files_of
from pipeline.core.storage import LocalStorage
from pipeline.stages.crawl.config import Config
from pipeline.stages.crawl.page_lane import PageLane
from pipeline.web.host import origin_of
from pipeline.web.urls import url_id


@pytest.fixture
def ask(small_web, tmp_path):
    """``ask(urls, ...)``: the rows of one lane that asks for them, and its storage."""

    def run(*urls, storage=None, **settings):
        config = Config(**{"seeds": ["http://site.example/"], "delay_s": 0.0, "timeout_s": 5.0, **settings})
        storage = storage or LocalStorage(str(tmp_path))
        lane = PageLane(storage, config, small_web.config(), "key", 0)
        pages = [
            {"page_id": url_id(url), "page_url": url, "host": "site.example", "depth": 0, "try_number": 1}
            | {"origin": origin_of(url)}
            for url in sorted(urls, key=origin_of)
        ]
        list(lane(iter(pa.Table.from_pylist(pages).to_batches())))
        return answers(storage), storage

    return run


def answers(storage):
    rows = [
        row
        for file in files_of(committed(storage, "crawl"), "rows")
        for row in pq.read_table(storage.path(file.path)).to_pylist()
    ]
    return {row["page_url"].removeprefix("http://site.example"): row for row in rows}


def read_by_fastwarc(path):
    """(target, payload digest, whether it holds, body) of each response."""
    with path.open("rb") as stream:
        for record in FastArchive(stream, record_types=WarcRecordType.response, verify_digests=True):
            record.parse_http()
            target, digest = record.headers["WARC-Target-URI"], record.headers["WARC-Payload-Digest"]
            yield target, digest, record.verify_payload_digest(), record.reader.read()


def read_by_warcio(path):
    with path.open("rb") as stream:
        for record in WarcioArchive(stream, check_digests="raise"):
            if record.rec_type == "response":
                digest = record.rec_headers.get_header("WARC-Payload-Digest")
                yield record.rec_headers.get_header("WARC-Target-URI"), digest, True, record.content_stream().read()


def test_chunked_coded_and_plain_bodies_have_one_payload_digest_c30(ask, small_web, page, response):
    """C30: framing and codings are undone before the digest; both readers agree, and every file passes `gzip -t`."""
    body = page("/next")
    chunks = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    small_web.pages = {
        "http://site.example/plain": response(body),
        "http://site.example/chunked": head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
        "http://site.example/gzip": response(gzip.compress(body), Content_Encoding="gzip"),
    }
    rows, storage = ask(*small_web.pages)
    assert {row["outcome"] for row in rows.values()} == {"ok"}
    assert {row["body_bytes"] for row in rows.values()} == {len(body)}
    (warc,) = {row["warc_file"] for row in rows.values()}
    path = storage.path(warc)
    fast, slow = sorted(read_by_fastwarc(path)), sorted(read_by_warcio(path))
    assert fast == slow
    assert [record[0] for record in fast] == sorted(small_web.pages)
    assert len({digest for _, digest, _, _ in fast}) == 1
    assert all(holds and found == body for _, _, holds, found in fast)
    assert subprocess.run(["gzip", "-t", str(path)], check=False).returncode == 0


def test_odd_header_bytes_are_read_back_unchanged_c30(ask, small_web, page):
    """C30: bytes that are no ASCII and no UTF-8."""
    body = page()
    head = b"HTTP/1.1 200 Fine\r\nContent-Type: text/html\r\nX-Odd: caf\xe9 \xff\r\nX-odd: \xc3\xa9\r\n"
    small_web.pages = {"http://site.example/": head + b"Content-Length: %d\r\n\r\n" % len(body) + body}
    rows, storage = ask("http://site.example/")
    with gzip.open(storage.path(rows["/"]["warc_file"])) as stream:
        record = stream.read()
    assert b"\r\nX-Odd: caf\xe9 \xff\r\nX-odd: \xc3\xa9\r\n" in record
    assert b"\r\nX-Crawl-Content-Length: %d\r\n" % len(body) in record


def test_a_record_is_found_by_offset_and_length_alone(ask, small_web, page, response):
    small_web.pages = {f"http://site.example/{number}": response(page(str(number))) for number in range(5)}
    rows, storage = ask(*small_web.pages)
    for path, row in rows.items():
        data = storage.path(row["warc_file"]).read_bytes()[row["warc_offset"] :][: row["warc_length"]]
        assert f"WARC-Target-URI: http://site.example{path}\r\n".encode() in gzip.decompress(data)


def test_a_warc_begins_by_saying_what_wrote_it_and_names_nobody(ask, small_web, page, response):
    small_web.pages = {"http://site.example/": response(page())}
    rows, storage = ask("http://site.example/")
    with storage.path(rows["/"]["warc_file"]).open("rb") as stream:
        first = next(iter(FastArchive(stream)))
        assert first.record_type == WarcRecordType.warcinfo
        assert b"software: pairmill/" in (info := first.reader.read())
        assert b"contact.example" not in info


def test_only_html_is_a_page_and_other_bodies_are_not_read_c24(ask, small_web, page, response):
    """C24: the declared type decides; where there is none, the first bytes do."""
    untyped = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
    endless = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 4294967296\r\n\r\n"
    small_web.pages = {
        "http://site.example/pdf": response(b"%PDF", Content_Type="application/pdf"),
        "http://site.example/video": endless,
        "http://site.example/xhtml": response(page(), Content_Type="Application/XHTML+XML; charset=utf-8"),
        "http://site.example/untyped": untyped % (len(page()), page()),
        "http://site.example/bytes": untyped % (4, b"\x89PNG"),
    }
    rows, _ = ask(*small_web.pages)
    assert {path: row["outcome"] for path, row in rows.items()} == {
        "/pdf": "not_html",
        "/video": "not_html",
        "/xhtml": "ok",
        "/untyped": "ok",
        "/bytes": "not_html",
    }


def test_error_pages_and_broken_answers_leave_no_record_c15_c25(ask, small_web, page, response):
    """C15, C17, C19, C25: each with its reason; of none of them a body is kept."""
    cut = response(page() + b" " * 1000)[:-500]
    small_web.pages = {
        "http://site.example/gone": response(page(), "410 Gone"),
        "http://site.example/broken": response(page(), "500 Oops"),
        "http://site.example/large": response(b"<html>" + b"x" * 3000),
        "http://site.example/nowhere": response(b"", "302 Found"),
        "http://site.example/loop": response(b"", "302 Found", Location="/loop"),
        "http://site.example/two": cut.replace(b"Content-Length", b"Content-Length: 5\r\nContent-Length"),
    }
    rows, storage = ask(*small_web.pages, max_page_bytes=2048)
    assert {path: row["outcome"] for path, row in rows.items()} == {
        "/gone": "http_4xx",
        "/broken": "http_5xx",
        "/large": "body_too_large",
        "/nowhere": "too_many_redirects",
        "/loop": "too_many_redirects",
        "/two": "http_malformed",
    }
    assert storage.names("crawl/warc") == []
    assert rows["/broken"]["tries"] == 3
    assert rows["/gone"]["tries"] == 1


def test_a_redirect_out_of_scope_is_not_followed_c19(ask, small_web, page, response):
    """C19: scope is checked on every hop."""
    small_web.pages = {
        "http://site.example/away": response(b"", "301 Moved Permanently", Location="http://other.example/"),
        "http://site.example/old": response(b"", "301 Moved Permanently", Location="/new"),
        "http://site.example/new": response(page(), X_Robots_Tag="noai"),
        "http://other.example/": response(page()),
    }
    rows, _ = ask("http://site.example/away", "http://site.example/old")
    assert (rows["/away"]["outcome"], rows["/old"]["outcome"]) == ("out_of_scope", "ok")
    assert rows["/old"]["final_url"] == "http://site.example/new"
    assert rows["/old"]["optouts"] == ["optout_xrobots"]
    assert not any(request.host == "other.example" for request in small_web.requests)


def test_a_part_closes_by_pages_and_by_size(ask, small_web, page, response):
    small_web.pages = {f"http://site.example/{number}": response(page(str(number))) for number in range(7)}
    _, storage = ask(*small_web.pages, part_pages=3)
    assert sorted(part.stats["rows"] for part in committed(storage, "crawl")) == [1, 3, 3]


def test_a_warc_file_ends_at_its_size_limit(ask, small_web, page, response):
    small_web.pages = {f"http://site.example/{number}": response(page(str(number))) for number in range(4)}
    _, storage = ask(*small_web.pages, warc_max_bytes=1024)
    assert len(storage.names("crawl/warc")) > 1
    assert all(storage.path(f"crawl/warc/{name}").stat().st_size < 2048 for name in storage.names("crawl/warc"))


def test_a_lane_that_is_run_again_asks_only_for_what_is_missing_r10(ask, small_web, page, response):
    """R10, R12: a task whose worker died is done again by Spark; what it had committed stands."""
    small_web.pages = {f"http://site.example/{number}": response(page(str(number))) for number in range(4)}
    first, second = list(small_web.pages)[:2], list(small_web.pages)
    ask(*first)
    rows, storage = ask(*second)
    assert small_web.asked() == dict.fromkeys(second, 1)
    assert len(rows) == 4
    assert sum(part.stats["rows"] for part in committed(storage, "crawl")) == 4


def test_a_part_that_fails_to_commit_leaves_no_warc_file_c29(ask, small_web, page, response, tmp_path):
    """C29: parts commit as one; there is no unfinished file to mend."""
    small_web.pages = {f"http://site.example/{number}": response(page(str(number))) for number in range(4)}

    class FullDisk(LocalStorage):
        def create(self, relative: str, data: bytes) -> bool:
            raise OSError("no space for the record")

    with pytest.raises(OSError, match="no space"):
        ask(*small_web.pages, storage=FullDisk(str(tmp_path)))
    assert committed(LocalStorage(str(tmp_path)), "crawl") == []
    assert not list(Path(tmp_path).rglob("*.warc.gz"))


def test_every_request_names_us_and_a_contact_c31(ask, small_web, page, response):
    """C31, and C1: a robots.txt that is not there allows all."""
    small_web.pages = {"http://site.example/": response(page())}
    ask("http://site.example/")
    assert [request.path for request in small_web.requests] == ["/robots.txt", "/"]
    assert all(b"pairmill/" in r.head and b"crawl@contact.example" in r.head for r in small_web.requests)
