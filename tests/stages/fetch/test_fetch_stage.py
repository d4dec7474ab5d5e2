"""Stage fetch through Spark against real sockets: one request an image, reuse by row, retries, opt-outs, resume."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image
from pyspark.sql import functions as F

from pipeline.core.config import Decide, Field, InputContent, Operate, StageConfig
from pipeline.core.context import Context
from pipeline.core.errors import InputError
from pipeline.core.manifest import Manifest
from pipeline.core.parts import Part, committed
from pipeline.core.progress import Reporter
from pipeline.core.rules import Rule, col
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import make_plan, run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import open_storage
from pipeline.core.tables import spark_schema
from pipeline.core.user_rules import UserRule
from pipeline.smallweb.image_web import Fault, fault_of, images_of, serving_images
from pipeline.stages.fetch.spread import TO_ASK
from pipeline.stages.fetch.stage import Fetch, fetch_all
from pipeline.vision.pdq import pdq
from pipeline.web.config import WebConfig
from pipeline.web.urls import url_id
from schemas.fields import FLOATS, INT64, STRING, STRINGS, column, table

pytestmark = pytest.mark.usefixtures("spark")


class PairReason(StrEnum):
    LATE = "late"


class PairConfig(StageConfig):
    urls: InputContent[list[str]] = Field([], description="one pair each")
    sha256s: Operate[dict[str, list[str]]] = Field({}, description="of a URL, as the input lists them")
    boxes: Operate[dict[str, list[float]]] = Field({}, description="of a URL")
    first: Decide[int] = Field(1_000_000, description="pairs kept")


class Pairs(Stage[PairConfig]):
    """Stands where text stands: pairs with the URL that is asked for."""

    name, unit, key, keeps, fans_out = "text", "pair", "pair_id", ("pair", "pair_id"), True
    Config, Reason = PairConfig, PairReason
    adds = table(
        1,
        [column(name, STRING, name) for name in ("pair_id", "url_id", "request_url", "request_alternate")]
        + [
            column("place", INT64, "n"),
            column("image_sha256s", STRINGS, "listed"),
            column("image_boxes", FLOATS, "boxes"),
        ],
    )

    def contents(self, config: PairConfig) -> dict[str, str]:
        return {"urls": f"{config.urls} {config.sha256s} {config.boxes}"}

    def measure(self, context: Context[Any]) -> Measured:
        config = context.config
        values = [
            (
                hashlib.md5(b"%d" % n).hexdigest(),
                url_id(url),
                url,
                None,
                n,
                config.sha256s.get(url),
                config.boxes.get(url),
            )
            for n, url in enumerate(config.urls)
        ]
        return Measured(context.spark.createDataFrame(values, spark_schema(self.adds)))

    def rules(self, config: PairConfig) -> list[Rule]:
        return [Rule(PairReason.LATE, when=col("place") >= config.first, value=col("place"), threshold=config.first)]


class Config(StageConfig):
    text: Operate[PairConfig] = PairConfig()
    fetch: Operate[Fetch.Config] = Fetch.Config()
    web: Operate[WebConfig] = WebConfig()
    spark: Operate[SparkConfig] = SparkConfig()
    rules: Operate[list[UserRule]] = Field([], description="none")


STAGES = {"text": Pairs(), "fetch": Fetch()}
Build = Callable[..., tuple[Run, Manifest]]


def web_settings(port: int) -> dict:
    return {
        "contact": "https://contact.example/",
        "allow_networks": ["127.0.0.0/8"],
        "resolve": {"*": f"127.0.0.1:{port}"},
        "tries": 2,
        "retry_waits_s": [0.01],
        "robots_waits_s": [0.05],
        "connect_failures_pause_s": 0.05,
    }


@pytest.fixture
def build(tmp_path: Path, hosts, quiet: Reporter) -> Build:
    return builder(tmp_path, hosts.port, quiet)


def builder(folder: Path, port: int, reporter: Reporter) -> Build:
    def build(
        urls: list[str], first: int = 1_000_000, retry_failed: bool = False, **more: object
    ) -> tuple[Run, Manifest]:
        run = new_run(folder, port, reporter, urls, first, retry_failed, **more)
        with open_for_writing(run):
            return run, [run_stage(stage, run) for stage in run.stages.values()][-1]

    return build


def new_run(
    folder: Path,
    port: int,
    reporter: Reporter,
    urls: list[str],
    first: int = 1_000_000,
    retry_failed: bool = False,
    sha256s: dict[str, list[str]] | None = None,
    boxes: dict[str, list[float]] | None = None,
    **fetch: object,
) -> Run:
    sections = {
        "text": {"urls": urls, "first": first, "sha256s": sha256s or {}, "boxes": boxes or {}},
        "web": web_settings(port),
        "fetch": {"timeout_s": 5.0, "rate_per_host": 0.0, **fetch},
    }
    return Run(open_storage(str(folder / "run")), Config.model_validate(sections), STAGES, reporter, retry_failed)


def urls_of(count: int, hosts: int = 3) -> list[str]:
    return [f"http://img{number % hosts}.example/{number}.jpg" for number in range(count)]


def rows_of(run: Run) -> dict[str, dict]:
    """Rows by path of the URL asked for."""
    rows = [row.asDict() for row in run.rows("fetch").collect()]
    found = {"/" + row["request_url"].split("/", 3)[3]: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_each_image_is_asked_for_once_and_has_one_row_whatever_its_pairs_f49(build: Build, hosts) -> None:
    """F49: many rows of one URL are one request."""
    run, manifest = build(urls_of(12) * 3)
    assert set(hosts.asked.values()) == {1}
    assert (manifest.rows_in, manifest.kept, manifest.measured) == (12, 12, 12)
    assert manifest.inputs[0].rows == 36
    assert manifest.facts["requests"] == 12
    assert len(rows_of(run)) == 12


def test_the_bytes_at_a_rows_place_are_its_stored_picture(build: Build, hosts, picture) -> None:
    hosts.pages["/1.jpg"] = (200, {"Content-Type": "image/jpeg"}, picture(1, 600, 300, "PNG"))
    run, _ = build(urls_of(7, hosts=1), part_images=3)
    rows = rows_of(run)
    for path, row in rows.items():
        with run.storage.path(row["image_file"]).open("rb") as stream:
            stream.seek(row["image_offset"])
            data = stream.read(row["image_bytes"])
        assert hashlib.sha256(data).hexdigest() == row["image_sha256"], path
        assert data[:2] == b"\xff\xd8"
    png, jpeg = rows["/1.jpg"], rows["/0.jpg"]
    assert (png["original_format"], png["original_width"], png["width"], png["height"]) == ("png", 600, 512, 256)
    assert jpeg["image_sha256"] == jpeg["sha256"]


def test_a_second_build_asks_nobody(build: Build, hosts) -> None:
    build(urls_of(6))
    hosts.log.clear()
    _, again = build(urls_of(6))
    _, decided = build(urls_of(6), min_side=90)
    assert hosts.log == []
    assert (again.measured, decided.measured) == (0, 0)
    assert decided.dropped == {"too_small": 6}


def test_a_loosened_input_fetches_only_the_new_images_and_a_tightened_one_none(build: Build, hosts) -> None:
    hosts.robots["img1.example"] = "User-agent: *\nDisallow: /7"
    build(urls_of(10), first=6)
    assert sorted(hosts.asked_robots) == [f"img{number}.example" for number in range(3)]
    hosts.log.clear()
    run, loosened = build(urls_of(10))
    assert len(hosts.asked_robots) == 3  # those of the first build still count
    assert rows_of(run)["/7.jpg"]["outcome"] == "robots_disallow"
    assert set(hosts.asked) == {f"/{number}.jpg" for number in (6, 8, 9)}
    assert (loosened.rows_in, loosened.measured) == (10, 4)
    hosts.log.clear()
    _, tightened = build(urls_of(10), first=3)
    assert hosts.log == []
    assert (tightened.rows_in, tightened.kept, tightened.measured) == (3, 3, 0)


def test_a_measure_setting_fetches_again_and_an_operate_setting_does_not_r14(build: Build, hosts, picture) -> None:
    """R14: what depends on the change is done again, all else reused; results of two settings are never mixed."""
    build(urls_of(3))
    hosts.log.clear()
    build(urls_of(3), per_host=1)
    assert hosts.log == []
    hosts.pages["/1.jpg"] = (200, {}, picture(77, width=70))
    run, _ = build(urls_of(3), jpeg_quality=80)
    assert set(hosts.asked.values()) == {1}
    assert rows_of(run)["/1.jpg"]["width"] == 70
    hosts.log.clear()
    run, back = build(urls_of(3))
    assert hosts.log == []
    assert back.measured == 0
    assert rows_of(run)["/1.jpg"]["width"] == 96


@dataclass
class Mixed:
    """One input with all kinds of answers, built, built again, then with --retry-failed after two hosts got well."""

    manifests: list[Manifest]
    rows: list[dict[str, dict]]
    asked: list[Counter[str]]
    hosts_asked: set[str]
    ledger: list[dict]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, _hosts) -> Mixed:
    hosts = _hosts
    hosts.clear()
    hosts.pages |= {
        "/1.jpg": (200, {"X-Robots-Tag": "noai"}, b""),
        "/2.jpg": (200, {"tdm-reservation": "1"}, b""),
        "/3.jpg": (302, {"Location": "http://cdn.example/far.jpg", "X-Robots-Tag": "noai"}, b""),
        "/4.jpg": (200, {"Content-Type": "image/jpeg"}, b"<html>sorry</html>"),
        "/5.jpg": (404, {}, b""),
        "/6.jpg": (500, {}, b""),
        "/7.jpg": (503, {}, b""),
        "/9.jpg": (302, {"Location": "http://closed.example/far.jpg"}, b""),
    }
    hosts.wait_s["/8.jpg"] = 10.0
    hosts.robots["closed.example"] = "User-agent: *\nDisallow: /\n"
    urls = [
        *urls_of(10, hosts=1),
        "http://closed.example/secret.jpg",
        "http://img0.example:22/port.jpg",
        "http://img0.example/ok.jpg",
    ]
    build = builder(tmp_path_factory.mktemp("mixed"), hosts.port, Reporter(quiet=True))
    found = Mixed([], [], [], set(), [])
    for retry_failed in (False, False, True):
        hosts.log.clear()
        run, manifest = build(urls, retry_failed=retry_failed, timeout_s=2.0)
        found.manifests.append(manifest)
        found.rows.append(rows_of(run))
        found.asked.append(hosts.asked)
        found.hosts_asked |= {line.split(" ")[0] for line in hosts.log}
        if found.asked[-1]:
            files = [str(run.storage.path(record.path)) for record in manifest.files["ledger"]]
            found.ledger.append({row["key"]: row["reason"] for row in run.spark.read.parquet(*files).collect()})
        else:
            del hosts.pages["/6.jpg"]
            hosts.wait_s.clear()
    return found


def test_every_image_has_one_outcome_and_a_bad_one_costs_no_other(mixed: Mixed) -> None:
    """F25, F47 and others in one build: 13 in, each kept or with one reason."""
    outcomes = {path: row["outcome"] for path, row in mixed.rows[0].items()}
    assert outcomes == {
        "/0.jpg": "ok",
        "/1.jpg": "optout_xrobots",
        "/2.jpg": "optout_tdm",
        "/3.jpg": "optout_xrobots",
        "/4.jpg": "not_an_image",
        "/5.jpg": "http_4xx",
        "/6.jpg": "http_5xx",
        "/7.jpg": "http_5xx",
        "/8.jpg": "deadline_exceeded",
        "/9.jpg": "robots_disallow",
        "/secret.jpg": "robots_disallow",
        "/port.jpg": "port_not_allowed",
        "/ok.jpg": "ok",
    }
    manifest = mixed.manifests[0]
    assert (manifest.rows_in, manifest.kept, sum(manifest.dropped.values())) == (13, 2, 11)
    assert sorted(mixed.ledger[0].values()) == sorted(outcome for outcome in outcomes.values() if outcome != "ok")


def test_an_opted_out_image_is_not_stored_o1_o5(mixed: Mixed) -> None:
    """O1: X-Robots-Tag. O5: tdm-reservation. The body is not read, nothing of it is measured."""
    for path, signal in (("/1.jpg", "optout_xrobots"), ("/2.jpg", "optout_tdm")):
        row = mixed.rows[0][path]
        assert row["optouts"] == [signal]
        assert (row["sha256"], row["image_file"], row["served_bytes"]) == (None, None, None)


def test_an_opt_out_on_a_redirect_counts_for_the_image_o12(mixed: Mixed) -> None:
    """O12: a hop carries noai; where it leads is not asked."""
    assert mixed.rows[0]["/3.jpg"]["outcome"] == "optout_xrobots"
    assert "cdn.example" not in mixed.hosts_asked


def test_what_robots_txt_forbids_is_never_requested_o11(mixed: Mixed) -> None:
    """O11: robots.txt of the image's host is asked at fetch time, of a host met by redirect too."""
    assert mixed.hosts_asked == {"img0.example"}


def test_a_failure_is_tried_again_at_once_only_where_that_can_help_f1_f21_f23(mixed: Mixed) -> None:
    """F21: 404 is final. F23: 5xx is tried web.tries times. F1: so is a silent server, each within its deadline."""
    asked = mixed.asked[0]
    assert [asked[f"/{number}.jpg"] for number in range(10)] == [1, 1, 1, 1, 1, 1, 2, 2, 2, 1]
    assert [mixed.rows[0][f"/{number}.jpg"]["tries"] for number in (0, 5, 6, 8)] == [1, 1, 2, 2]


def test_a_stored_failure_is_a_measurement_that_a_build_reuses(mixed: Mixed) -> None:
    assert mixed.asked[1] == {}
    assert mixed.rows[1] == mixed.rows[0]


def test_only_what_can_succeed_is_asked_again_and_only_on_demand_r23(mixed: Mixed) -> None:
    """R23: --retry-failed; final and kept rows are untouched, each row has one outcome, the newest."""
    first, retried = mixed.rows[0], mixed.rows[2]
    assert set(mixed.asked[2]) == {"/6.jpg", "/7.jpg", "/8.jpg"}
    assert {path: row["try_number"] for path, row in retried.items() if row["try_number"] > 1} == {
        "/6.jpg": 2,
        "/7.jpg": 2,
        "/8.jpg": 2,
    }
    assert {path: retried[path]["outcome"] for path in ("/6.jpg", "/7.jpg", "/8.jpg")} == {
        "/6.jpg": "ok",
        "/7.jpg": "http_5xx",
        "/8.jpg": "ok",
    }
    assert all(retried[path] == first[path] for path in first if path not in mixed.asked[2])
    manifest = mixed.manifests[2]
    assert (manifest.rows_in, manifest.kept, manifest.measured) == (13, 4, 3)


def test_a_host_is_in_one_lane(build: Build, hosts, tmp_path: Path, quiet: Reporter) -> None:
    """What one task asks for is committed in its own parts: no part pair shares a host, over more lanes than hosts."""
    run, manifest = build(urls_of(24, hosts=4), lanes=7, part_images=100)
    stored = run.spark.read.parquet(*[str(run.storage.path(record.path)) for record in manifest.files["store"]])
    host = F.regexp_extract("request_url", "//([^/]+)/", 1)
    assert {row["parts"] for row in stored.groupBy(host).agg(F.countDistinct("part").alias("parts")).collect()} == {1}


def test_a_round_ends_in_time_and_a_later_one_asks_only_for_the_rest_f50(build: Build, hosts) -> None:
    """F50: a few of forty images are asked for before the round's time is over."""
    urls = urls_of(40, hosts=1)
    hosts.wait_s |= {f"/{number}.jpg": 1.0 for number in range(40)}
    run, first = build(urls, max_hours=6 / 3600, per_host=1)
    asked = Counter(row["outcome"] for row in rows_of(run).values())
    assert set(asked) == {"ok", "round_ended"}
    assert 1 <= asked["ok"] == len(hosts.log) < 40
    assert first.dropped == {"round_ended": asked["round_ended"]}
    hosts.log.clear()
    hosts.wait_s.clear()
    run, second = build(urls, max_hours=1.0, retry_failed=True)
    assert len(hosts.log) == asked["round_ended"]
    assert second.kept == 40


def test_a_round_does_not_wait_for_the_turn_of_a_slow_host(build: Build, hosts) -> None:
    """A crawl delay of a minute does not hold a round that has ended."""
    hosts.robots["img0.example"] = "User-agent: *\nCrawl-delay: 50\n"
    begun = time.monotonic()
    run, _ = build(urls_of(3, hosts=1), max_hours=2 / 3600)
    assert time.monotonic() - begun < 40
    assert Counter(row["outcome"] for row in rows_of(run).values())["round_ended"] >= 2


def test_no_contact_no_request(tmp_path: Path, quiet: Reporter) -> None:
    run = Run(open_storage(str(tmp_path)), Config(), STAGES, quiet)
    with pytest.raises(InputError, match=r"web\.contact is empty"):
        run.stages["fetch"].check(run.context("fetch"))


def test_no_pairs_is_a_valid_run_r19(build: Build, hosts) -> None:
    """R19: 0 rows."""
    _, manifest = build([])
    assert (manifest.rows_in, manifest.kept, manifest.measured) == (0, 0, 0)


def test_a_lost_part_is_fetched_again_r15(build: Build, hosts) -> None:
    """R15: the pictures of the store are in the manifest; a damaged file is found before use."""
    run, manifest = build(urls_of(6, hosts=1), part_images=2)
    assert len(manifest.files["images"]) == 3
    run.storage.path(manifest.files["images"][0].path).write_bytes(b"cut")
    hosts.log.clear()
    run, again = build(urls_of(6, hosts=1), part_images=2)
    assert len(hosts.log) == 2
    assert (again.rows_in, again.kept, again.measured) == (6, 6, 2)


@pytest.fixture
def blocklists(tmp_path: Path, picture):
    """Settings of lists that hold the pictures of these seeds."""

    def of(kind: str, *seeds: int) -> dict[str, object]:
        (tmp_path / "key").write_bytes(b"sixteen or more random bytes")
        pictures = {
            "sha256": lambda data: hashlib.sha256(data).hexdigest(),
            "md5": lambda data: hashlib.md5(data).hexdigest(),
            "pdq": lambda data: pdq(Image.open(io.BytesIO(data)).convert("RGB"))[0].hex(),
        }
        path = tmp_path / f"{kind}{seeds}"
        path.write_text("".join(f"{pictures[kind](picture(seed))}\n" for seed in seeds))
        return {f"blocked_{kind}": [str(path)], "blocklist_key": str(tmp_path / "key")}

    return of


@pytest.mark.parametrize("kind", ["sha256", "md5", "pdq"])
def test_nothing_of_a_blocklisted_image_is_written(build: Build, hosts, picture, blocklists, kind) -> None:
    for seed in (1, 2):
        hosts.pages[f"/{seed}.jpg"] = 200, {"Content-Type": "image/jpeg"}, picture(seed)
    run, manifest = build([f"http://img.example/{seed}.jpg" for seed in (1, 2)], **blocklists(kind, 1))
    assert (manifest.kept, manifest.dropped) == (1, {"blocklisted": 1})
    row = rows_of(run)["/1.jpg"]
    told = {name for name, value in row.items() if value is not None}
    assert told == {"url_id", "request_url", "outcome", "detail", "tries", "try_number", "fetched_at", "optouts"}
    assert row["detail"].startswith("hmac-sha256 ")
    kept = b"".join(path.read_bytes() for path in run.storage.path("fetch").rglob("*") if path.is_file())
    assert picture(2) in kept
    assert picture(1) not in kept
    assert hashlib.sha256(picture(1)).hexdigest().encode() not in kept


def test_a_list_that_grows_hides_what_was_fetched_before_and_asks_nobody(
    build: Build, hosts, picture, blocklists
) -> None:
    hosts.pages["/1.jpg"] = 200, {}, picture(1)
    urls = [f"http://img.example/{seed}.jpg" for seed in (1, 2)]
    build(urls)
    hosts.log.clear()
    run, manifest = build(urls, **blocklists("sha256", 1))
    assert hosts.log == []
    assert manifest.dropped == {"blocklisted": 1}
    row = rows_of(run)["/1.jpg"]
    assert {row[name] for name in ("sha256", "phash", "image_file", "final_url")} == {None}


def test_bytes_that_are_not_those_the_input_lists_go_f42(build: Build, picture, hosts) -> None:
    """F42: the hash is that of the body as received, what stands after the picture's end included."""
    for path in ("/as-listed.jpg", "/other.jpg", "/one-of-two.jpg", "/more.jpg"):
        hosts.pages[path] = 200, {}, picture(1) + (b"trailing" if path == "/more.jpg" else b"")
    sha256, other = hashlib.sha256(picture(1)).hexdigest(), "ab" * 32
    listed = {
        "/as-listed.jpg": [sha256],
        "/other.jpg": [other],
        "/one-of-two.jpg": sorted([sha256, other]),
        "/more.jpg": [sha256],
    }
    urls = {path: f"http://img.example{path}" for path in listed}
    run, manifest = build(list(urls.values()), sha256s={urls[path]: hashes for path, hashes in listed.items()})
    assert (manifest.kept, manifest.dropped) == (2, {"hash_mismatch": 2})
    assert not manifest.dropped.keys() & set(Fetch.retryable)
    rows = rows_of(run)
    assert {path: row["expected_sha256"] for path, row in rows.items()} == {
        "/as-listed.jpg": None,
        "/other.jpg": other,
        "/one-of-two.jpg": None,
        "/more.jpg": sha256,
    }


def test_boxes_are_blurred_before_anything_is_stored_and_other_boxes_fetch_again(build: Build, picture, hosts) -> None:
    hosts.pages["/1.jpg"] = 200, {}, picture(1)
    url = "http://img.example/1.jpg"
    run, _ = build([url], boxes={url: [0.0, 0.0, 0.5, 1.0]})
    (row,) = rows_of(run).values()
    assert row["blurred_boxes"] == [0.0, 0.0, 0.5, 1.0]
    assert row["sha256"] == hashlib.sha256(picture(1)).hexdigest() != row["image_sha256"]
    kept = b"".join(path.read_bytes() for path in run.storage.path("fetch/store").iterdir())
    assert picture(1) not in kept
    hosts.log.clear()
    build([url], boxes={url: [0.0, 0.0, 0.5, 1.0]})
    assert hosts.log == []
    run, again = build([url])
    (row,) = rows_of(run).values()
    hosts.log.clear()
    _, back = build([url], boxes={url: [0.0, 0.0, 0.5, 1.0]})
    assert (hosts.log, back.measured) == ([], 0)
    assert (again.measured, row["blurred_boxes"], row["image_sha256"]) == (1, None, row["sha256"])


KILLED_LANE = """
import json, sys
import pyarrow as pa
from pipeline.core.storage import open_storage
from pipeline.stages.fetch.config import Config
from pipeline.stages.fetch.image_lane import run_fetch_lane
from pipeline.web.config import WebConfig

root, key, web, settings, rows = (json.loads(text) for text in sys.argv[1:])
batch = pa.RecordBatch.from_pylist(rows, schema=pa.schema([("url_id", pa.string()), ("request_url", pa.string()), ("try_number", pa.int32()), ("host", pa.string()), ("share", pa.int32()), ("origin", pa.string()), ("boxes", pa.list_(pa.float64()))]))
config = Config(per_host=1, rate_per_host=0.0, **settings)
list(run_fetch_lane(iter([batch]), open_storage(root), frozenset(), key, config, WebConfig(**web)))
"""


def kill_a_lane(run: Run, hosts, urls: list[str], settings: dict, ready: Callable[[list[Part]], bool]) -> None:
    """Start a lane as a process, and kill it when its committed parts are as wanted."""
    with open_for_writing(run):
        run_stage(run.stages["text"], run)
        key = make_plan(run.stages["fetch"], run).measure_key
    rows = [
        {"url_id": url_id(url), "request_url": url, "try_number": 1, "share": 1, "boxes": None}
        | {"host": urlsplit(url).hostname, "origin": url.rpartition("/")[0]}
        for url in sorted(urls, key=lambda url: url.rpartition("/")[0])
    ]
    arguments = [json.dumps(value) for value in (run.storage.root, key, web_settings(hosts.port), settings, rows)]
    lane = subprocess.Popen([sys.executable, "-c", KILLED_LANE, *arguments])
    deadline = time.monotonic() + 60
    while not ready(committed(run.storage, "fetch")):
        assert time.monotonic() < deadline
        assert lane.poll() is None
        time.sleep(0.02)
    lane.kill()
    lane.wait(10)


def test_a_lane_killed_while_it_waits_for_the_last_host_asks_for_no_stored_image_again_r9(
    build: Build, hosts, tmp_path: Path, quiet: Reporter
) -> None:
    """R9, F50: the host limits us for a minute, and all else is done."""
    urls = urls_of(6)
    hosts.pages["/5.jpg"] = (429, {"Retry-After": "50"}, b"")
    run = new_run(tmp_path, hosts.port, quiet, urls)

    def ready(parts: list[Part]) -> bool:
        return sum(part.stats["rows"] for part in parts) >= 4 and "/5.jpg" in hosts.asked

    kill_a_lane(run, hosts, urls, {"part_seconds": 0.3, "tail_s": 100.0}, ready)
    stored = sum(part.stats["rows"] for part in committed(run.storage, "fetch"))
    hosts.log.clear()
    hosts.pages.clear()
    _, manifest = build(urls)
    assert "/5.jpg" in hosts.asked
    assert len(hosts.asked) == 6 - stored
    assert (manifest.kept, manifest.measured) == (6, 6 - stored)


def test_a_killed_lane_loses_only_the_part_in_flight_r9(build: Build, hosts, tmp_path: Path, quiet: Reporter) -> None:
    """R9: kill -9; no request is repeated for rows already written, and nothing of the open part is left."""
    urls = urls_of(9, hosts=1)
    hosts.wait_s |= {"/7.jpg": 60}
    run = new_run(tmp_path, hosts.port, quiet, urls)
    kill_a_lane(run, hosts, urls, {"part_images": 2}, lambda parts: "/7.jpg" in hosts.asked and len(parts) >= 3)
    written = {
        row.request_url for row in run.spark.read.parquet(str(run.storage.path("fetch/store/*.parquet"))).collect()
    }
    assert len(written) == 6
    hosts.wait_s.clear()
    hosts.log.clear()
    _, manifest = build(urls, part_images=2)
    assert set(hosts.asked) == {"/6.jpg", "/7.jpg", "/8.jpg"}
    assert (manifest.rows_in, manifest.kept, manifest.measured) == (9, 9, 3)
    listed = {record.path for role in ("store", "images") for record in manifest.files[role]}
    assert {f"fetch/store/{name}" for name in run.storage.names("fetch/store")} == listed


def test_a_second_attempt_at_a_lane_asks_only_what_the_first_did_not_commit_r10(
    build: Build, hosts, tmp_path, quiet
) -> None:
    """R10: a worker dies after some parts; no row is lost, none is there twice, none is asked for twice."""
    urls = urls_of(6, hosts=2)
    run, first = build(urls)
    hosts.log.clear()
    todo = run.spark.createDataFrame(
        [(url_id(url), url, 1, None, None) for url in [*urls, *urls_of(9, hosts=1)[6:]]], TO_ASK
    )
    fetch_all(todo, [], run.context("fetch", first.measure_key))  # a list made before any of it was committed
    assert set(hosts.asked) == {"/6.jpg", "/7.jpg", "/8.jpg"}
    assert sum(part.stats["rows"] for part in committed(run.storage, "fetch")) == 9


OUTCOMES = {
    None: "ok",
    Fault.SILENT: "deadline_exceeded",
    Fault.SLOW: "deadline_exceeded",
    Fault.ENDLESS: "body_too_large",
    Fault.TRUNCATED: "truncated_body",
    Fault.MISSING: "http_4xx",
    Fault.LIMITED: "ok",
    Fault.MOVED: "ok",
    Fault.LOOP: "too_many_redirects",
    Fault.PIXEL_BOMB: "too_many_pixels",
    Fault.GZIP_BOMB: "body_too_large",
    Fault.HTML: "not_an_image",
}
RETRYABLE = {"deadline_exceeded", "truncated_body"}
HOSTS = 40


def check(tmp_path: Path, quiet: Reporter, tar: Path, count: int, faults: float) -> None:
    """Fetch ``count`` images with faults among them; then again what may succeed; then nothing."""
    urls = [f"http://img{number % HOSTS}.example/{number}.jpg" for number in range(count)]
    log = tmp_path / "server.log"
    with serving_images([tar], faults, log) as port:
        fetch = partial(builder(tmp_path, port, quiet), urls, timeout_s=2.0, max_bytes=2**20)
        run, first = fetch()
        rows = {int(row["request_url"].rpartition("/")[2][:-4]): row["outcome"] for row in run.rows("fetch").collect()}
        expected = {number: OUTCOMES[fault_of(number, faults)] for number in range(count)}
        assert rows == expected
        counted = Counter(expected.values())
        assert first.rows_in == count == first.kept + sum(first.dropped.values())
        before = len(requests(log))
        _, second = fetch(retry_failed=True)
        again = {int(path.rpartition("/")[2][:-4]) for _, path in requests(log)[before:]}
        assert again == {number for number, outcome in expected.items() if outcome in RETRYABLE}
        assert (second.rows_in, second.measured) == (count, sum(counted[reason] for reason in RETRYABLE))
        _, third = fetch()
        assert third.measured == 0


def requests(log: Path) -> list[tuple[str, str]]:
    return [(line["host"], line["path"]) for line in map(json.loads, log.read_text().splitlines())]


@pytest.fixture
def drawn_tar(tmp_path: Path, picture) -> Path:
    """Thirty small pictures."""
    path = tmp_path / "drawn.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(30):
            member = tarfile.TarInfo(f"{number}.jpg")
            member.size = len(data := picture(number))
            tar.addfile(member, io.BytesIO(data))
    return path


def test_among_faults_of_every_kind_every_url_is_accounted_for_f1_f50(drawn_tar, tmp_path, quiet) -> None:
    """F1 F2 F3 F5 F8 F9 F21 F22 F25 F28 F50"""
    assert {fault_of(number, 0.4) for number in range(70)} == {None, *Fault}
    check(tmp_path, quiet, drawn_tar, 70, 0.4)


@pytest.mark.long
def test_all_images_of_flickr8k_with_one_in_twenty_at_fault(shared_data, tmp_path, quiet) -> None:
    """F50"""
    tar = shared_data / "flickr8k-images.tar"
    check(tmp_path, quiet, tar, len(images_of([str(tar)])), 0.05)
