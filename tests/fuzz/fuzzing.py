"""Mutations of sound inputs against the readers of strangers' bytes: ``make fuzz``.

Each target has seeds and reads one input. It fails if an exception leaves it, if it takes more time or memory than its
limits, or if what it gives does not add up. What fails is written below the folder that is named; a file of it put
into ``tests/fuzz/found/TARGET`` is replayed by ``make test``.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import resource
import tarfile
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.core import yaml12
from pipeline.core.errors import InputError
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages import srcset
from pipeline.stages.extract.pages.charset import decode
from pipeline.stages.extract.pages.html import candidates_of_page
from pipeline.stages.extract.raw.bodies import BodyTooLarge, body_of
from pipeline.stages.extract.raw.heads import head_of
from pipeline.stages.extract.raw.media_types import media_type_of
from pipeline.stages.extract.reasons import Reason
from pipeline.stages.extract.sources.inputs import find_inputs
from pipeline.stages.extract.split_rows import extract_split, extract_tables
from pipeline.stages.text.pii import redact
from pipeline.web import robots
from pipeline.web.optouts import from_headers, from_meta
from pipeline.web.urls import UrlError, join, normalise

MAX_BYTES = 2**16  # of an input
MAX_S = 5.0  # CPU time over one input, on a slow machine
MAX_GROWN_KIB = 2**19  # of memory, over one input
CONFIG = Config(caption_sources=["alt", "figcaption", "title", "og"])
PAGE = b'<html lang=de><meta charset=utf-8><meta name=robots content="noai"><base href=/x/><figure><picture><source srcset="a.webp 2x, b.jpg 300w"><img src=c.jpg alt="caf\xc3\xa9" title=t></picture><figcaption>f</figcaption></figure>'
TOKENS = [
    b"\0",
    b"\xff",
    b"[" * 2000,
    b"{" * 2000,
    b'"',
    b'""',
    b"\r\n",
    b"\n",
    b"\t",
    b" " * 2000,
    b"<",
    b"<!--",
    b"\\ud800",
    b"99999999999999999999",
    b"-1",
    b"NaN",
    b"a@b.c",
    b"%",
    b"&#x110000;",
    b"\xf0\x9f\x98\x80",
    b"\x1f\x8b\x08",
    b"WARC/1.0\r\n",
    b"Content-Length: 7\r\n",
    b"://",
]


class Target(NamedTuple):
    seeds: list[bytes]
    read: Callable[[bytes], None]


def of_files(name: str) -> Callable[[bytes], None]:
    """Reads a file of this name: both ways to read it agree, and each row has an outcome of the closed set."""

    def read(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(data)
            with suppress(InputError):
                for split in find_inputs([str(path)], "auto"):
                    rows = [row for batch in extract_split(split, CONFIG) for row in batch]
                    again = [row for table in extract_tables(split, CONFIG) for row in table.to_pylist()]
                    assert rows == again
                    assert {row["outcome"] for row in rows} <= {"ok", *Reason}
                    assert all(row["count"] > 0 and (row["outcome"] != "ok" or row["pair_id"]) for row in rows)

    return read


def read_page(data: bytes) -> None:
    rows = candidates_of_page(data, "https://a.example/b", None, None, (), CONFIG)
    assert rows == candidates_of_page(data, "https://a.example/b", None, None, (), CONFIG)
    pa.Table.from_pylist(rows)
    decode(data, data[:20].decode("latin-1"), "https://a.de/").text.encode("utf-8", "surrogatepass")


def read_head(data: bytes) -> None:
    head = head_of(data)
    from_headers(head.fields)
    media_type_of([data.decode("latin-1")])
    from_headers([(b"x-robots-tag", data)])
    from_meta("robots", data.decode("utf-8", "replace"))
    with suppress(BodyTooLarge):
        body_of(data[max(0, head.end) :], head, 2**20)


def read_text(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for url in (text, f"http://{text}", f"http://a.example/{text}"):
        with suppress(UrlError):
            known = normalise(url)
            assert normalise(known) == known
    with suppress(UrlError):
        join("http://a.example/b", text)
    for source in srcset.parse(text):
        assert source.url
    redact(data.decode("utf-8", "replace"), ["DE"])


def read_config(data: bytes) -> None:
    with suppress(ValueError):  # NotYaml, and a duplicate key
        yaml12.parse(data.decode("utf-8", "replace"))


def tar_of(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def record(kind: str, content_type: str, block: bytes) -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://a.example/\r\nWARC-Date: 2024-05-06T07:08:09Z\r\n"
    return f"{head}Content-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n"


def parquet(**options: object) -> bytes:
    out = io.BytesIO()
    urls = [f"https://i.example/{number}.jpg" for number in range(50)]
    pq.write_table(pa.table({"url": urls, "caption": ["a", "b"] * 25}), out, **options)
    return out.getvalue()


def targets() -> dict[str, Target]:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nX-Robots-Tag: nofollow, unavailable_after: 25 Jun 2010\r\nContent-Encoding: gzip\r\n\r\n"
    warc = record("response", "application/http", answer + gzip.compress(PAGE)) * 2
    link = {"path": "IMG@/src", "url": "/x.jpg", "alt": "a"}
    response = {
        "Response-Message": {"Status": "200"},
        "Headers": {"X": ["y"]},
        "HTML-Metadata": {"Head": {"Metas": [{"name": "robots", "content": "all"}]}, "Links": [link] * 3},
    }
    wat = {
        "Envelope": {
            "WARC-Header-Metadata": {"WARC-Target-URI": "http://a.example/"},
            "Payload-Metadata": {"HTTP-Response-Metadata": response},
        }
    }
    wats = record("metadata", "application/json", json.dumps(wat).encode()) * 2
    rows = [b'https://i.example/%d.jpg,"a ""b"", c"' % number for number in range(20)]
    table = b"url,caption\n" + b"\n".join(rows)
    objects = [json.dumps({"url": "https://i.example/a.jpg", "caption": ["a", "b"]}).encode()] * 9
    return {
        "tar": Target([tar_of(("index.tsv", b"name\turl\na.html\thttp://a.example/\n"), ("ä" * 120 + ".html", PAGE), ("a.html", PAGE))], of_files("x.tar")),
        "samples": Target([tar_of(*[(f"{n}.{end}", data) for n in "abc" for end, data in (("jpg", b"x" * 99), ("txt", b"text"), ("json", b'{"url": "http://a.example/a.jpg"}'))])], of_files("x.tar")),
        "warc": Target([warc, gzip.compress(warc), zstandard.compress(warc)], of_files("x.warc")),
        "wat": Target([wats, gzip.compress(wats)], of_files("x.wat")),
        "csv": Target([table, gzip.compress(table), table.replace(b",", b"\t"), table.decode().encode("utf-16")], of_files("x.csv")),
        "json": Target([b"\n".join(objects), b"[" + b",".join(objects) + b"]"], of_files("x.jsonl")),
        "parquet": Target([parquet(), parquet(compression="zstd", use_dictionary=False), parquet(row_group_size=7)], of_files("x.parquet")),
        "page": Target([PAGE, PAGE.decode().encode("utf-16"), b"<?xml version='1.0' encoding='koi8-r'?>" + PAGE], read_page),
        "head": Target([answer + gzip.compress(b"x" * 999), b"a: b\r\n c\r\nX-Robots-Tag: otherbot: noai\r\n\r\n"], read_head),
        "text": Target([b"http://b\xc3\xbccher.example:80/%7Ea/../b?utm_source=x#y", b"a.jpg 1x, b.jpg 2.5x, data:,x 300w", b"mail jo@shop.example.com or 030 1234567, 4111 1111 1111 1111, 10.0.0.1"], read_text),
        "robots": Target([b"User-agent: *\nDisallow: /a*b$\nAllow: /\nCrawl-delay: 3\n", b"\xef\xbb\xbfuser agent pairmill\r\rdisallow:/"], lambda data: robots.parse(data) and None),
        "config": Target([b"extract:\n  inputs: [a, 'b', \"c\"]\n  x: &a {b: no, c: 2020-01-01}\n"], read_config),
    }  # fmt: skip


def mutated(data: bytes, others: list[bytes], random: Random) -> bytes:
    """Some changes: bytes flipped, cut, doubled, moved, taken from others; of what is packed also within."""
    if data.startswith(b"\x1f\x8b") and random.random() < 0.7:
        with suppress(OSError, EOFError):
            return gzip.compress(mutated(gzip.decompress(data), others, random), mtime=0)
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at = random.randrange(len(out) + 1)
        end = min(len(out), at + random.choice((1, 2, 8, 64, 512)))
        kind = random.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            del out[at:end]
        elif kind == 2:
            out[at:at] = out[at:end] * random.choice((1, 2, 100))
        elif kind == 3:
            out[at:end] = random.choice(TOKENS)
        elif kind == 4:
            other = random.choice(others)
            begin = random.randrange(len(other))
            out[at:at] = other[begin : begin + 300]
        else:
            out[at:end] = random.randbytes(end - at)
    return bytes(out[:MAX_BYTES])


def fault_of(read: Callable[[bytes], None], data: bytes) -> str:
    """What is wrong with reading an input; empty if nothing is."""
    grown, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        read(data)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    if (took := time.process_time() - start) > MAX_S:
        return f"{took:.1f} s of CPU time"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown
    return f"{grown >> 10} MiB more memory" if grown > MAX_GROWN_KIB else ""


def fuzz(names: list[str], seconds: float, seed: int, folder: Path) -> dict[str, int]:
    """Reads mutations of all targets in turn; the number of inputs of each. Failures are written and told."""
    known, random, told = targets(), Random(seed), set[str]()
    done = dict.fromkeys(names, 0)
    end = time.monotonic() + seconds
    for turn in count():
        name = names[turn % len(names)]
        target = known[name]
        for _ in range(20):
            data = mutated(random.choice(target.seeds), target.seeds, random)
            if (fault := fault_of(target.read, data)) and fault[:40] not in told:
                told.add(fault[:40])
                path = folder / name / sha256(data).hexdigest()[:16]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                print(f"{path}: {fault}", flush=True)
            done[name] += 1
        if time.monotonic() > end:
            return done
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="*", default=list(targets()))
    parser.add_argument("--folder", type=Path, default=Path("fuzz-found"))
    arguments = parser.parse_args()
    print(fuzz(arguments.targets, arguments.seconds, arguments.seed, arguments.folder))
    return 1 if any(arguments.folder.rglob("*/*")) else 0


if __name__ == "__main__":
    raise SystemExit(main())
