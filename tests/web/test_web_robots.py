"""robots.txt: what binds us, and what an unreachable one means."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.web.client import Client
from pipeline.web.reasons import NetReason
from pipeline.web.robots import MAX_BYTES, Robots, parse


def allows(text, path="/x"):
    return parse(text if isinstance(text, bytes) else text.encode()).allows(f"http://h.example{path}")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffUser-agent: *\nDisallow: /",
        "user-agent: a\nuser-agent: PairMill\nuser-agent: b\nDisallow: /",
        "User-agent: pairmill\n\n\nDisallow: /",
        "User-agent: pairmill\nAllow: /y\n\nUser-agent: *\nAllow: /\n\nUser-agent: PAIRMILL\nDisallow: /x",
        "User-agent: *\nAllow: /\nUser-agent: PairMill\nDisallow: /",
        "User-agent: PairMill/1.0\nDisallow: /",
        "User-agent: pairmill # that is us\nDisallow: / # all of it",
        "User-agent : pairmill\nDisallow : /",
        "User-agent: *\rDisallow: /\r",
        "<html>\nUser-agent: *\nDisallow: /\n</html>",
        "User-agent: *\nDisalow: /",
        "User-agent: *\nDisa\0llow: /",
        "User-agent: another\nSitemap: http://h.example/s.xml\nUser-agent: *\nDisallow: /",
    ],
)
def test_what_shuts_us_out(text):
    """C5, C8, C10"""
    assert not allows(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "User-agent: pairmill\nAllow: /\n\nUser-agent: *\nDisallow: /",
        "User-agent: *\nDisallow: /\n\nUser-agent: pairmill\nDisallow:",
        "User-agent: pair\nDisallow: /",
        "User-agent: pairmillbot\nDisallow: /",
        "User-agent: mill\nDisallow: /",
        "User-agent: other\nDisallow: /",
        "Disallow: /",
        "User-agent: *\nDisallow: /y",
        "<!doctype html><html><body>Not found: /x</body></html>",
    ],
)
def test_what_does_not_shut_us_out(text):
    """C8, C10"""
    assert allows(text)


def test_a_group_named_by_a_part_of_our_name_does_not_free_us_from_the_general_one():
    """C8: protego alone matches names by prefix"""
    assert not allows("User-agent: pair\nAllow: /\n\nUser-agent: *\nDisallow: /")


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ("Disallow: /*.json$", "/a.json", False),
        ("Disallow: /*.json$", "/a.json?x", True),
        ("Disallow: /a\nAllow: /a", "/a", True),
        ("Allow: /a\nDisallow: /ab", "/abc", False),
        ("Disallow: /%7Ejoe", "/~joe/x", False),
        ("Disallow: /~joe", "/%7ejoe/x", False),
        ("Disallow: /a%3cd", "/a%3Cd", False),
        ("Disallow: /caf%C3%A9", "/caf%C3%A9", False),
        ("Disallow: /café", "/caf%C3%A9", False),
        ("Disallow: /a%2Fb", "/a/b", True),
        ("Disallow: /p?q=", "/p?q=1", False),
        ("Disallow: *x", "/ax", False),
        ("Allow: /$\nDisallow: /", "/", True),
        ("Allow: /$\nDisallow: /", "/a", False),
    ],
)
def test_the_longest_match_decides_and_allow_wins_a_tie(rules, path, allowed):
    """C9"""
    assert allows(f"User-agent: *\n{rules}", path) is allowed


@pytest.mark.parametrize("pattern", ["*" * 5000, "/" + "*a" * 2500 + "$", "/" + "a*" * 2500])
def test_no_pattern_takes_long(pattern):
    """C9"""
    rules = parse(f"User-agent: *\nDisallow: {pattern}".encode())
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        rules.allows("http://h.example/" + "a" * 2499 + "b")
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.05


@pytest.mark.parametrize(
    "body",
    [
        b"x\n" * 100_000,
        b"\n" * 512_000,
        bytes(range(256)) * 2000,
        "User-agent: *\nDisallow: /".encode("utf-16"),
        b"Disallow:\n" * 50_000,
        b"\0" * 500_000,
    ],
)
def test_no_bytes_are_too_odd_or_too_slow(body):
    """C10"""
    seconds = []
    for _ in range(3):
        started = time.process_time()
        parse(body).allows("http://h.example/")
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.2


def test_utf_16_is_read_where_it_is_plain():
    """C10"""
    assert not allows("User-agent: *\nDisallow: /".encode("utf-16"))


def test_rules_count_up_to_500_kib_in_whole_lines():
    """C6"""

    def at(offset):
        head = b"User-agent: *\n"
        return head + b"#" * (offset - len(head) - 1) + b"\nDisallow: /x\n" + b"#" * 100_000

    assert not allows(at(400_000))
    assert allows(at(600_000))
    assert allows(at(MAX_BYTES - 11), "/x"), "a line cut in two is no rule"


@pytest.mark.parametrize(
    ("line", "delay"), [("5", 5.0), ("0.5", 0.5), ("banana", 0.0), ("-1", 0.0), ("nan", 0.0), ("inf", 0.0), ("", 0.0)]
)
def test_a_crawl_delay_is_kept_and_junk_is_ignored(line, delay):
    """C12"""
    assert parse(f"User-agent: *\nCrawl-delay: {line}\nDisallow: /y".encode()).crawl_delay_s == delay


@pytest.fixture
def verdicts(loop_server, web_config):
    """``verdicts(answer, n)``: the verdict on one URL n times, 30 ms apart, and the paths the server was asked for."""

    def run(answer, times=1, pause_s=0.0, url="http://site.example/x", **web):
        async def main():
            async with loop_server(answer) as server, Client(web_config(server.port, **web)) as client:
                robots, found = Robots(client), []
                for _ in range(times):
                    found.append(await robots.verdict(url))
                    await asyncio.sleep(pause_s)
                return found, server.paths

        return asyncio.run(main())

    return run


@pytest.mark.parametrize("status", ["404 X", "410 X", "401 X", "403 X", "400 X", "408 X", "425 X", "451 X"])
def test_a_missing_robots_txt_allows_all_and_is_remembered(verdicts, http, status):
    """C1"""
    found, paths = verdicts(http(b"User-agent: *\nDisallow: /", status), times=3)
    assert [verdict.reason for verdict in found] == [None] * 3
    assert paths == ["/robots.txt"]


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 500 X\r\nContent-Length: 22\r\n\r\nUser-agent: *\nAllow: /",
        b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 599 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nUser-agent: *\n",
        b"",
        b"junk",
        b"HTTP/1.1 206 X\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 302 X\r\nLocation: /robots.txt\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 X\r\nLocation: http://10.0.0.1:22/robots.txt\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_unreachable_robots_txt_is_asked_again_and_then_refuses_all(verdicts, sent):
    """C2, C3, C4, C7"""
    found, _ = verdicts(sent, times=5, pause_s=0.07)
    assert {verdict.reason for verdict in found} == {NetReason.ROBOTS_UNREACHABLE}
    assert [verdict.retry_in_s is None for verdict in found] == [False, False, True, True, True]
    assert "robots.txt: " in found[-1].detail


def test_no_full_answer_in_time_is_unreachable(verdicts):
    """C4"""

    async def handler(request, writer):
        await asyncio.sleep(5)

    found, _ = verdicts(handler, robots_timeout_s=0.1)
    assert found[0].reason is NetReason.ROBOTS_UNREACHABLE
    found, _ = verdicts(handler, robots_silence_s=0.1)
    assert found[0].detail == "robots.txt: deadline_exceeded: no answer in 0.1 s"
    assert found[0].reason is NetReason.ROBOTS_UNREACHABLE


def test_a_retry_after_lengthens_the_wait(verdicts, http):
    """C3"""
    for value, wait_s in (("100", 100), ("99999", 3600), ("junk", 0.05)):
        found, _ = verdicts(http(b"", "429 X", Retry_After=value))
        assert wait_s - 1 < found[0].retry_in_s <= wait_s


def test_a_host_that_comes_back_is_allowed_again(verdicts, http):
    """C2, C11"""
    answers = iter([http(b"", "500 X"), http(b"User-agent: *\nDisallow: /y")])

    async def handler(request, writer):
        return next(answers)

    found, _ = verdicts(handler, times=3, pause_s=0.07)
    assert [verdict.reason for verdict in found] == [NetReason.ROBOTS_UNREACHABLE, None, None]
    assert found[2].fetched_at.endswith("+00:00")


def test_five_hops_to_other_hosts_count_for_the_first_host(verdicts, http):
    """C7"""

    def chain(length):
        async def handler(request, writer):
            n = int(request.path.strip("/") or 0) if request.path != "/robots.txt" else 0
            return (
                http(b"", "301 X", Location=f"http://h{n + 1}.example/{n + 1}")
                if n < length
                else http(b"User-agent: *\nDisallow: /x")
            )

        return handler

    assert verdicts(chain(5))[0][0].reason is NetReason.ROBOTS_DISALLOW
    assert verdicts(chain(6))[0][0].reason is NetReason.ROBOTS_UNREACHABLE


def test_a_robots_txt_without_end_is_cut(verdicts):
    """C6"""

    async def handler(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nUser-agent: *\nDisallow: /x\n")
        while True:
            writer.write(b"# and so on\n" * 1000)
            await writer.drain()

    assert verdicts(handler)[0][0].reason is NetReason.ROBOTS_DISALLOW


def test_rules_that_are_too_old_are_fetched_again(verdicts, http):
    """C11"""
    answers = iter([http(b"User-agent: *\nDisallow: /y"), http(b"User-agent: *\nDisallow: /x"), http(b"", "500 X")])

    async def handler(request, writer):
        return next(answers)

    found, paths = verdicts(handler, times=3, pause_s=0.1, robots_max_age_s=0.08)
    assert [verdict.reason for verdict in found] == [None, NetReason.ROBOTS_DISALLOW, NetReason.ROBOTS_UNREACHABLE]
    assert len(paths) == 3


def test_a_crawl_delay_of_a_day_is_no_invitation(verdicts, http):
    """C12"""
    found, _ = verdicts(http(b"User-agent: *\nCrawl-delay: 86400"))
    assert found[0].reason is NetReason.CRAWL_DELAY_TOO_LONG
    assert verdicts(http(b"User-agent: *\nCrawl-delay: 5"))[0][0].crawl_delay_s == 5.0


def test_an_origin_that_can_never_be_reached_is_refused_at_once(verdicts, http):
    """C20, F11, F47"""
    found, paths = verdicts(http(), times=2, url="http://169.254.169.254/", resolve={})
    assert [verdict.reason for verdict in found] == [NetReason.ADDRESS_BLOCKED] * 2
    assert found[0].retry_in_s is None
    assert paths == []
    assert verdicts(http(), url="http://h.example:22/")[0][0].reason is NetReason.PORT_NOT_ALLOWED


def test_what_was_fetched_a_short_time_ago_is_not_asked_for_again(loop_server, web_config, http):
    """C11: by another lane or round, up to its age; what one has fetched it hands on once."""
    now = datetime.now(UTC)

    async def main():
        rules = http(b"User-agent: *\nDisallow: /b")
        async with loop_server(rules) as server, Client(web_config(server.port)) as client:
            robots = Robots(client)
            robots.remember("http://young.example:80", b"User-agent: *\nDisallow: /a", now.isoformat())
            robots.remember("http://old.example:80", b"", (now - timedelta(days=2)).isoformat())
            names = ("young", "young", "old")
            found = [
                await robots.verdict(f"http://{name}.example/{path}") for name, path in zip(names, "abb", strict=True)
            ]
            return found, server.paths, robots.drained(), robots.drained()

    found, paths, handed_on, again = asyncio.run(main())
    assert [verdict.reason for verdict in found] == [NetReason.ROBOTS_DISALLOW, None, NetReason.ROBOTS_DISALLOW]
    assert found[0].fetched_at == now.isoformat()
    assert paths == ["/robots.txt"]
    assert [(row["origin"], row["robots"]) for row in handed_on] == [
        ("http://old.example:80", b"User-agent: *\nDisallow: /b")
    ]
    assert again == []


def test_one_question_serves_all_who_wait(loop_server, web_config, http):
    async def main():
        async with (
            loop_server(http(b"User-agent: *\nDisallow: /y")) as server,
            Client(web_config(server.port)) as client,
        ):
            robots = Robots(client)
            await asyncio.gather(*(robots.verdict(f"http://h.example/{n}") for n in range(20)))
            return server.paths

    assert asyncio.run(main()) == ["/robots.txt"]
