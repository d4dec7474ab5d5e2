"""The alternate URL of an image, asked for in the same lane after its first URL has failed for good. Without Spark."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.core.parts import committed, files_of
from pipeline.core.storage import open_storage
from pipeline.core.tables import read_file
from pipeline.stages.fetch.config import Config
from pipeline.stages.fetch.image_lane import run_fetch_lane
from pipeline.stages.fetch.reasons import RETRYABLE
from pipeline.web.config import WebConfig
from schemas.fetch import STORE

ASKED = pa.schema(
    [
        *((name, pa.string()) for name in ("url_id", "request_url", "host", "origin", "alternate_url")),
        *((name, pa.int32()) for name in ("try_number", "share")),
        ("boxes", pa.list_(pa.float64())),
    ]
)
Fetch = Callable[..., dict[str, dict]]


@pytest.fixture
def fetch(tmp_path: Path, hosts) -> Fetch:
    """``fetch({first path: alternate path})``: rows by first path. All are on one host."""

    def run(paths: dict[str, str | None], **settings: object) -> dict[str, dict]:
        web = WebConfig(
            contact="https://contact.example/",
            allow_networks=["127.0.0.0/8"],
            resolve={"*": f"127.0.0.1:{hosts.port}"},
            tries=2,
            retry_waits_s=[0.01],
            robots_waits_s=[0.05],
        )
        storage = open_storage(str(tmp_path / "run"))
        config = Config(timeout_s=5.0, rate_per_host=0.0, **settings)
        list(run_fetch_lane(asked(paths), storage, frozenset(), "key", config, web))
        records = files_of(committed(storage, "fetch"), "rows")
        rows = [row for record in records for row in read_file(storage, record, STORE.names).to_pylist()]
        found = {"/" + row["request_url"].split("/", 3)[3]: row for row in rows}
        assert len(found) == len(rows) == len(paths)
        return found

    return run


def asked(paths: dict[str, str | None]) -> Iterator[pa.RecordBatch]:
    host = "http://img.example"
    rows = [
        {
            "url_id": first,
            "request_url": host + first,
            "alternate_url": alternate and host + alternate,
            "host": "img.example",
            "origin": host,
            "try_number": 1,
            "share": 1,
            "boxes": None,
        }
        for first, alternate in paths.items()
    ]
    yield pa.RecordBatch.from_pylist(rows, schema=ASKED)


def test_the_alternate_is_asked_for_after_a_final_failure_x55(fetch: Fetch, hosts, picture) -> None:
    """X55: gone, not an image, or a format that is not read; ids stay those of the first URL."""
    hosts.pages |= {
        "/gone.jpg": (404, {}, b""),
        "/page.jpg": (200, {"Content-Type": "text/html"}, b"<html>not here"),
        "/cat.webp": (200, {}, picture(1, format_="AVIF")),
        "/small.jpg": (200, {}, picture(2)),
    }
    rows = fetch({"/gone.jpg": "/small.jpg", "/page.jpg": "/b.jpg", "/cat.webp": "/c.jpg", "/fine.jpg": "/never.jpg"})
    assert {path: row["outcome"] for path, row in rows.items()} == dict.fromkeys(rows, "ok")
    assert {path: row["fetched_url"] for path, row in rows.items()} == {
        "/gone.jpg": "http://img.example/small.jpg",
        "/page.jpg": "http://img.example/b.jpg",
        "/cat.webp": "http://img.example/c.jpg",
        "/fine.jpg": None,
    }
    gone = rows["/gone.jpg"]
    assert (gone["url_id"], gone["tries"], gone["http_status"], gone["detail"]) == ("/gone.jpg", 2, 200, None)
    assert hosts.asked["/never.jpg"] == 0
    assert set(hosts.asked.values()) == {1}


def test_if_both_fail_the_first_reason_counts_x55(fetch: Fetch, hosts) -> None:
    """X55: the reason of the alternate stands in detail."""
    hosts.pages |= {"/a.jpg": (404, {}, b""), "/b.jpg": (410, {}, b"")}
    row = fetch({"/a.jpg": "/b.jpg"})["/a.jpg"]
    assert (row["outcome"], row["http_status"], row["tries"], row["fetched_url"]) == ("http_4xx", 404, 2, None)
    assert row["detail"] == "404; alternate http://img.example/b.jpg: http_4xx 410"


def test_an_alternate_that_may_come_back_can_be_asked_for_again_x55(fetch: Fetch, hosts) -> None:
    """X55: by --retry-failed, which takes the rows with such an outcome."""
    hosts.pages |= {"/a.jpg": (404, {}, b""), "/b.jpg": (500, {}, b"")}
    row = fetch({"/a.jpg": "/b.jpg"})["/a.jpg"]
    assert (row["outcome"], row["http_status"], row["tries"], row["fetched_url"]) == ("http_5xx", 500, 3, None)
    assert row["detail"] == "alternate http://img.example/b.jpg: 500; first http_4xx 404"
    assert row["outcome"] in RETRYABLE


def test_the_alternate_has_to_pass_every_guard_x55(fetch: Fetch, hosts) -> None:
    """X55: robots.txt and opt-outs of the answer hold for it as for any URL."""
    hosts.robots["img.example"] = "User-agent: *\nDisallow: /private/\n"
    hosts.pages |= {f"/{n}.jpg": (404, {}, b"") for n in range(3)}
    hosts.pages["/noai.jpg"] = (200, {"X-Robots-Tag": "noai"}, b"")
    rows = fetch({"/0.jpg": "/private/a.jpg", "/1.jpg": "/noai.jpg"})
    assert [rows[path]["outcome"] for path in ("/0.jpg", "/1.jpg")] == ["http_4xx"] * 2
    assert "robots_disallow" in rows["/0.jpg"]["detail"]
    assert "optout_xrobots" in rows["/1.jpg"]["detail"]
    assert rows["/1.jpg"]["optouts"] == ["optout_xrobots"]
    assert hosts.asked["/private/a.jpg"] == 0


def test_no_other_url_is_asked_for_where_the_first_is_forbidden_or_may_come_back_x55(fetch: Fetch, hosts) -> None:
    """X55: an opt-out and robots.txt are answers; a server error is tried again by --retry-failed."""
    hosts.robots["img.example"] = "User-agent: *\nDisallow: /private/\n"
    hosts.pages |= {"/noai.jpg": (200, {"X-Robots-Tag": "noai"}, b""), "/busy.jpg": (500, {}, b"")}
    rows = fetch({"/private/a.jpg": "/1.jpg", "/noai.jpg": "/2.jpg", "/busy.jpg": "/3.jpg"})
    outcomes = [rows[path]["outcome"] for path in ("/private/a.jpg", "/noai.jpg", "/busy.jpg")]
    assert outcomes == ["robots_disallow", "optout_xrobots", "http_5xx"]
    assert not hosts.asked.keys() & {"/1.jpg", "/2.jpg", "/3.jpg"}


def test_alternates_keep_the_pace_of_their_host_x55(fetch: Fetch, hosts) -> None:
    """X55: one host, a gap between any two requests, in both rounds and between them."""
    hosts.pages |= {f"/{n}.jpg": (404, {}, b"") for n in range(2)}

    begun = time.monotonic()
    fetch({f"/{n}.jpg": f"/a{n}.jpg" for n in range(2)}, delay_s=0.4, per_host=4)
    assert time.monotonic() - begun > 3 * 0.4
