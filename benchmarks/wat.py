"""Candidates of a WAT file against cc2dataset's function, megabytes of JSON a second of CPU time on one core.

The WAT is written here from the pages of the data folder beside the checkout, in Common Crawl's schema: for each page a
record of its request, its answer with all links, and its fetch. Both read it in interleaved rounds, and the fastest of
each counts. The peer is ``extract_documents_from_wat`` where cc2dataset is installed. Else it is the same work with
msgspec in place of simdjson (about 15% faster): each record into objects, images with alt, ``urljoin``, an md5. Ours
gives more: images without alt, keys, opt-outs, broken links and records, and what was lost.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import msgspec
from extract import PAGES, Page, read_pages
from fastwarc.warc import ArchiveIterator, WarcRecordType
from selectolax.lexbor import LexborHTMLParser

from pipeline.stages.extract.archives.wat import read_wat
from pipeline.stages.extract.config import Config

ROUNDS, COPIES = 5, 4
_PATHS = {"a": ("A@/href", "href"), "img": ("IMG@/src", "src"), "script": ("SCRIPT@/src", "src")}


def links_of(html: bytes) -> list[dict[str, str]]:
    """Links, images and scripts of a page, as a WAT lists them."""
    links = []
    for node in LexborHTMLParser(html).css("a[href], img[src], script[src]"):
        path, name = _PATHS[node.tag]
        link = {"path": path, "url": node.attributes[name] or ""}
        if node.tag == "a" and (text := node.text(strip=True)[:200]):
            link["text"] = text
        elif alt := node.attributes.get("alt"):
            link["alt"] = alt
        links.append(link)
    return links


def records_of(url: str, html: bytes) -> Iterator[bytes]:
    """The JSON of the three records of a page."""
    message = {"Method": "GET", "Version": "HTTP/1.1", "Path": "/"}
    answer = {"Response-Message": {"Status": "200"}, "Headers": {"Content-Type": "text/html"}}
    for payload in (
        {"HTTP-Request-Metadata": {"Request-Message": message, "Headers": {"User-Agent": "CCBot/2.0"}}},
        {"HTTP-Response-Metadata": answer | {"HTML-Metadata": {"Head": {}, "Links": links_of(html)}}},
        {"WARC-Metadata-Metadata": {"Metadata-Records": [{"Name": "fetchTimeMs", "Value": "70"}]}},
    ):
        warc = {"WARC-Type": "response", "WARC-Date": "2024-05-18T01:58:10Z", "WARC-Target-URI": url}
        envelope = {"Payload-Metadata": payload, "Format": "WARC/1.0", "WARC-Header-Metadata": warc}
        yield json.dumps({"Container": {"Filename": "a.warc.gz"}, "Envelope": envelope}, ensure_ascii=False).encode()


def write_wat(path: Path, pages: list[Page]) -> int:
    """A gzip member for each record, as Common Crawl has it; returns the bytes of JSON."""
    size = 0
    with path.open("wb") as file:
        for url, html in pages * COPIES:
            for block in records_of(url, html):
                head = (
                    f"WARC/1.0\r\nWARC-Type: metadata\r\nWARC-Target-URI: {url}\r\nContent-Length: {len(block)}\r\n\r\n"
                )
                file.write(gzip.compress(head.encode() + block + b"\r\n\r\n"))
                size += len(block)
    return size


def like_cc2dataset(stream: io.BytesIO) -> list[dict[str, str]]:
    """What cc2dataset does with a WAT, but for its JSON parser."""
    found = []
    for record in ArchiveIterator(stream, record_types=WarcRecordType.metadata, parse_http=False):
        envelope = msgspec.json.decode(record.reader.read())["Envelope"]
        answer = envelope["Payload-Metadata"].get("HTTP-Response-Metadata", {})
        page_url = envelope["WARC-Header-Metadata"]["WARC-Target-URI"]
        for link in answer.get("HTML-Metadata", {}).get("Links", []):
            if link.get("path") == "IMG@/src" and link.get("alt"):
                url, alt = link["url"], link["alt"]
                url = url if url.startswith(("http://", "https://")) else urljoin(page_url, url)
                if url.startswith(("http://", "https://")):
                    uid = hashlib.md5((alt + url).encode()).hexdigest()
                    found.append({"url": url, "alt": alt, "uid": uid, "page_url": page_url})
    return found


def peer() -> tuple[str, Callable[[io.BytesIO], list[dict[str, str]]]]:
    try:
        from cc2dataset.main import extract_documents_from_wat
    except ImportError:
        return "the work of cc2dataset with msgspec", like_cc2dataset
    return "cc2dataset", lambda stream: extract_documents_from_wat(stream, "image")


def cpu_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> int:
    if not PAGES.exists():
        print(json.dumps({"benchmark": "wat", "skipped": f"{PAGES.name} is not in ../shared/data"}))
        return 0
    name, theirs = peer()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pages.warc.wat.gz")
        size = write_wat(path, [page for page in read_pages(PAGES) if page[0].isascii()])
        ways: dict[str, Callable[[], list[object]]] = {
            "ours": lambda: list(read_wat(path, "", Config())),
            "peer": lambda: list(theirs(io.BytesIO(path.read_bytes()))),
        }
        rows = {way: len(work()) for way, work in ways.items()}
        rounds = [{way: cpu_seconds(work) for way, work in ways.items()} for _ in range(ROUNDS)]
    ours, other = (min(taken[way] for taken in rounds) for way in ways)
    figures = {"json_bytes": size, "rounds": ROUNDS, "rows": rows["ours"], "peer_pairs": rows["peer"]}
    speed = {
        "mb_per_cpu_s": round(size / 1e6 / ours, 1),
        "peer": name,
        "peer_mb_per_cpu_s": round(size / 1e6 / other, 1),
    }
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"benchmark": "wat"} | figures | speed | {"ratio": round(other / ours, 2)} | machine))
    return 0


if __name__ == "__main__":
    sys.exit(main())
