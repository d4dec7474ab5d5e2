import asyncio
import io
import json
import signal
import subprocess
import sys
from urllib.parse import urljoin, urlsplit

import aiohttp
import pytest
from PIL import Image

from pipeline.core.errors import StageError
from pipeline.smallweb.server import serving
from pipeline.smallweb.site import Quarter, SiteSpec, build_site
from pipeline.smallweb.truth import Kind, read_pages, read_truth

FEW = Quarter(scenes=40, defects_each=10, wrong_captions=10, slow=5, rate_limited=2)
TINY = SiteSpec((FEW,), concepts=30, images_per_page=4)
GENEROUS_S = 60.0  # an answer that comes may come late on a busy machine
SHORT_S = 0.7


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return build_site(TINY, tmp_path_factory.mktemp("served") / "site").folder


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "requests.jsonl"


@pytest.fixture(scope="module")
def resolve(site, log):
    with serving(site, log) as resolve:
        yield resolve


@pytest.fixture(scope="module")
def by_kind(site):
    kinds = {}
    for truth in read_truth(site):
        kinds.setdefault(truth.kind, []).append(truth)
    return kinds


async def get(session, resolve, url):
    """One request without following redirects: status, headers and body."""
    parts = urlsplit(url)
    dialled = parts._replace(netloc=resolve[parts.netloc]).geturl()
    async with session.get(dialled, headers={"Host": parts.netloc}, allow_redirects=False) as answer:
        return answer.status, answer.headers, await answer.read()


def fetch(resolve, *urls, timeout_s=GENEROUS_S):
    async def fetch_all():
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": "test/1"}) as session:
            return await asyncio.gather(*(get(session, resolve, url) for url in urls), return_exceptions=True)

    return asyncio.run(fetch_all())


def urls_of(by_kind, kind):
    return [truth.image_url for truth in by_kind[kind]]


def test_good_images_are_served_whole_with_the_type_of_their_extension(resolve, by_kind):
    for url, (status, headers, body) in zip(urls := urls_of(by_kind, Kind.GOOD), fetch(resolve, *urls), strict=True):
        assert status == 200
        assert headers["Content-Type"] == f"image/{url.rpartition('.')[2].replace('jpg', 'jpeg')}"
        Image.open(io.BytesIO(body)).load()


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [(Kind.BROKEN_404, {404, 410}), (Kind.SERVER_ERROR, {500, 502, 503}), (Kind.HTML_AS_IMAGE, {200})],
)
def test_broken_images_answer_with_their_status(resolve, by_kind, kind, statuses):
    """F21, F23, F25"""
    assert {status for status, _, _ in fetch(resolve, *urls_of(by_kind, kind))} == statuses


def test_slow_images_cost_the_whole_timeout(resolve, by_kind):
    """F1, F2: some drip, some never answer."""
    answers = fetch(resolve, *urls_of(by_kind, Kind.SLOW), timeout_s=SHORT_S)
    assert all(isinstance(answer, TimeoutError) for answer in answers)


def test_a_cut_off_body_is_shorter_than_declared(resolve, by_kind):
    """F5"""
    answers = fetch(resolve, *urls_of(by_kind, Kind.CUT_OFF))
    assert all(isinstance(answer, aiohttp.ClientPayloadError) for answer in answers)


def test_a_busy_image_is_given_at_the_second_request(resolve, by_kind):
    """F22"""
    urls = urls_of(by_kind, Kind.RATE_LIMITED_ONCE)
    refused, given = fetch(resolve, *urls), fetch(resolve, *urls)
    assert [(status, headers["Retry-After"]) for status, headers, _ in refused] == [(429, "1")] * len(urls)
    assert [status for status, _, _ in given] == [200] * len(urls)


def test_reserved_images_say_so_in_a_header(resolve, by_kind):
    """O1"""
    for _, headers, _ in fetch(resolve, *urls_of(by_kind, Kind.NOAI_IMAGE)):
        assert headers["X-Robots-Tag"].lower().startswith("noai") or headers["X-Robots-Tag"] == "noimageai"


def test_redirects_lead_to_a_picture_in_as_many_hops_as_noted(resolve, by_kind):
    """F9"""
    for truth in by_kind[Kind.REDIRECT]:
        url, hops = truth.image_url, 0
        while (answer := fetch(resolve, url)[0])[0] != 200:
            url, hops = urljoin(url, answer[1]["Location"]), hops + 1
        assert truth.note == f"hops {hops}"
        Image.open(io.BytesIO(answer[2])).load()


def test_a_redirect_loop_comes_back_to_where_it_began(resolve, by_kind):
    """F9"""
    start = url = urls_of(by_kind, Kind.REDIRECT_LOOP)[0]
    for _ in range(2):
        status, headers, _ = fetch(resolve, url)[0]
        assert status == 302
        url = urljoin(url, headers["Location"])
    assert url == start


def test_the_trap_goes_on_for_ever(resolve):
    """C26: a calendar without end and a path that grows by itself."""
    (_, _, day), (_, _, far), (_, _, grown) = fetch(
        resolve, *(f"http://a.demo.test/trap/{path}" for path in ("1", "99999", "1/more/more/"))
    )
    assert b'href="/trap/2"' in day
    assert b'href="/trap/1/more/"' in day
    assert b'href="/trap/100000"' in far
    assert b'href="/trap/1/more/more/more/"' in grown


def test_robots_disallow_the_planted_paths(resolve, by_kind):
    rules = {
        host: answer[2].decode()
        for host, answer in zip(
            resolve, fetch(resolve, *(f"http://{host}/robots.txt" for host in resolve)), strict=True
        )
    }
    for truth in by_kind[Kind.ROBOTS_IMAGE]:
        parts = urlsplit(truth.image_url)
        assert parts.path.startswith("/members/")
        assert "Disallow: /members/" in rules[parts.netloc]
    for truth in by_kind[Kind.ROBOTS_PAGE]:
        parts = urlsplit(truth.page_url)
        assert parts.path.startswith("/private/")
        assert "Disallow: /private/" in rules[parts.netloc]


def test_pages_declare_their_charset_once_by_header_or_by_meta(resolve, site):
    pages = [page for page in read_pages(site) if page.charset]
    declared_by = set()
    for page, (status, headers, body) in zip(pages, fetch(resolve, *(page.url for page in pages)), strict=True):
        by_header = headers["Content-Type"] == f"text/html; charset={page.charset}"
        by_meta = f'<meta charset="{page.charset}">'.encode() in body
        assert status == 200
        assert by_header != by_meta
        assert by_header or headers["Content-Type"] == "text/html"
        declared_by.add(by_header)
    assert declared_by == {True, False}


def test_each_request_is_one_line_of_the_log_with_the_host_that_was_dialled(resolve, log):
    before = len(log.read_text().splitlines())
    fetch(resolve, "http://img.demo.test/no/such.jpg?a=1")
    (line,) = [json.loads(line) for line in log.read_text().splitlines()[before:]]
    assert line.pop("time") > 0
    assert line == {"host": "img.demo.test", "path": "/no/such.jpg?a=1", "status": 404, "user_agent": "test/1"}


def test_a_path_out_of_the_folder_is_not_found(resolve):
    async def raw_request():
        host, port = resolve["a.demo.test"].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /%2e%2e/truth.jsonl HTTP/1.1\r\nHost: a.demo.test\r\nConnection: close\r\n\r\n")
        status_line = await reader.readline()
        writer.close()
        return status_line

    assert b" 404 " in asyncio.run(raw_request())


def started(site, log):
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.smallweb.server", "--site", str(site), "--log", str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert json.loads(process.stdout.readline()).keys() == {"resolve"}
    return process


@pytest.mark.parametrize(
    "end", [lambda process: process.send_signal(signal.SIGTERM), lambda process: process.stdin.close()]
)
def test_the_server_ends_cleanly_when_told_or_left_alone(site, tmp_path, end):
    with started(site, tmp_path / "log.jsonl") as process:
        end(process)
        assert process.wait(5) == 0
        assert process.stderr.read() == b""


def test_a_server_that_cannot_start_is_an_error_not_a_hang(tmp_path):
    with pytest.raises(StageError, match="demo_server_failed"), serving(tmp_path / "nothing", tmp_path / "log.jsonl"):
        pass
