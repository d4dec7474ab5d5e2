"""A lane over hosts that are slow, rude, dead and well."""

import asyncio
import contextlib
import itertools
import socket
import time
from collections import Counter
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from pipeline.core.errors import StageError
from pipeline.core.lanes import heard
from pipeline.core.storage import open_storage
from pipeline.web.client import Client
from pipeline.web.lane import Item, Lane, LanePolicy, in_groups
from pipeline.web.lane_news import saying
from pipeline.web.manners import site_of
from pipeline.web.netguard import NetGuard
from pipeline.web.pace import Pace
from pipeline.web.reasons import NetReason
from pipeline.web.robots import Robots


@pytest.fixture
def lane(loop_server, web_config, want):
    """``lane(answer, urls)``: {url: Answer} of one lane against one server, and that server."""

    def run(answer, urls, *, web=None, lookup=None, targets=None, retried=False, **policy):
        settings = {"delay_s": 0.0, **policy}
        settings.setdefault("want", want())

        async def main():
            async with loop_server(answer, keep=True) as server:
                config = web_config(server.port, **(web or {}))
                if targets:
                    config = web_config(resolve={"*": f"127.0.0.1:{server.port}", **targets}, **(web or {}))
                async with Client(config, NetGuard(config, lookup) if lookup else None) as client:
                    items = [Item(f"key{n}", url, n) for n, url in enumerate(urls)]
                    answers, given = {}, []
                    own = {site_of(urlsplit(url).hostname or "") for url in urls}
                    lane = Lane(LanePolicy(**settings), client, Robots(client), own)
                    groups = [replace(group, retried=retried) for group in in_groups(items)]
                    async for item, found in lane.run(groups):
                        answers[item.url] = found
                        given.append(item)
                    assert sorted(item.payload for item in given) == list(range(len(urls)))
                    assert len(asyncio.all_tasks() - {asyncio.current_task()}) <= server.connections  # the server's own
                return answers, server

        return asyncio.run(main())

    return run


def site(http, pages=b"page", robots=b"", **answers):
    """A handler: robots.txt, pages, and what ``answers`` gives for a path (bytes, or a list used up in order)."""

    async def handler(request, writer):
        if request.path == "/robots.txt":
            return http(robots)
        found = answers.get(request.path.strip("/"), http(pages))
        return (found.pop(0) if len(found) > 1 else found[0]) if isinstance(found, list) else found

    return handler


def reasons(answers):
    return Counter(answer.reason for answer in answers.values())


def test_every_item_gets_exactly_one_answer(lane, http):
    urls = [f"http://h{n % 7}.example/{n}" for n in range(60)] + [
        "http://u:secret@h.example/",
        "ftp://h.example/",
        "",
        "http://h.example:22/",
    ]
    answers, _ = lane(site(http), urls, per_host=2)
    assert len(answers) == 64
    assert reasons(answers) == {
        None: 60,
        "url_credentials": 1,
        "scheme_not_allowed": 1,
        "url_invalid": 1,
        "port_not_allowed": 1,
    }
    good = answers["http://h1.example/1"]
    assert (good.tries, good.body) == (1, b"page")
    assert good.robots_fetched_at.endswith("+00:00")


def test_a_forbidden_page_is_never_asked_for(lane, http):
    """C5, C8"""
    answers, server = lane(
        site(http, robots=b"User-agent: *\nDisallow: /no"), ["http://h.example/no", "http://h.example/yes"]
    )
    assert answers["http://h.example/no"].reason is NetReason.ROBOTS_DISALLOW
    assert answers["http://h.example/no"].tries == 0
    assert server.paths == ["/robots.txt", "/yes"]


def test_a_gap_is_kept_between_requests_robots_txt_and_hops_included(lane, http):
    """C13"""
    handler = site(http, a=http(b"", "302 X", Location="/b"))
    answers, server = lane(handler, [f"http://h.example/{path}" for path in ("a", "c", "d")], delay_s=0.15)
    times = server.times()
    assert len(times) == 5
    assert min(after - before for before, after in itertools.pairwise(times)) >= 0.13
    assert server.open_most == 1
    assert reasons(answers) == {None: 3}


def test_a_crawl_delay_is_kept(lane, http):
    """C12"""
    _, server = lane(
        site(http, robots=b"User-agent: *\nCrawl-delay: 0.2"),
        [f"http://h.example/{n}" for n in range(3)],
        per_host=4,
        rate_per_host=100.0,
    )
    times = server.times()
    assert (
        min(after - before for before, after in itertools.pairwise(times[1:])) >= 0.18
    )  # the server notes a request late on a busy machine


def test_a_crawl_delay_of_a_day_ends_the_host(lane, http):
    """C12"""
    answers, server = lane(
        site(http, robots=b"User-agent: *\nCrawl-delay: 86400"), [f"http://h.example/{n}" for n in range(3)]
    )
    assert reasons(answers) == {NetReason.CRAWL_DELAY_TOO_LONG: 3}
    assert server.paths == ["/robots.txt"]


@pytest.mark.parametrize("per_host", [1, 3])
def test_no_more_connections_to_a_host_than_agreed(lane, http, per_host):
    """C13"""

    async def handler(request, writer):
        await asyncio.sleep(0.02)
        return http()

    _, server = lane(handler, [f"http://h.example/{n}" for n in range(12)], per_host=per_host)
    assert server.open_most == per_host


def test_names_on_one_address_share_its_connections(lane, http):
    """C13"""

    async def handler(request, writer):
        await asyncio.sleep(0.03)
        return http()

    _, server = lane(handler, [f"http://h{n}.example/" for n in range(8)], max_address_connections=2)
    assert server.open_most == 2
    _, server = lane(handler, [f"http://h{n}.example/" for n in range(8)])
    assert server.open_most > 2


def test_a_slow_host_never_idles_the_others(lane, http):
    """R19"""

    async def handler(request, writer):
        if request.host == "slow.example":
            await asyncio.sleep(0.6)
        return http()

    _, server = lane(
        handler,
        ["http://slow.example/1"] + [f"http://h{n}.example/{m}" for n in range(5) for m in range(10)],
        max_hosts=2,
    )
    last_fast = max(r.time for r in server.requests if r.host != "slow.example")
    assert last_fast - server.requests[0].time < 0.6


@pytest.mark.parametrize("max_hosts", [1, 4])
def test_a_parked_host_never_blocks_others_and_is_not_forgotten(lane, http, max_hosts):
    """C2"""
    failures = [http(b"", "500 X")] * 2

    async def handler(request, writer):
        if request.path == "/robots.txt" and request.host.startswith("sick") and failures:
            return failures.pop()
        return http(b"", "404 X") if request.path == "/robots.txt" else http()

    urls = ["http://sick.example/1", "http://sick.example/2", "http://well.example/1"]
    answers, server = lane(handler, urls, max_hosts=max_hosts, web={"robots_waits_s": [0.6, 0.6, 0.6]})
    assert reasons(answers) == {None: 3}
    well = server.times("/1", "well")[0]
    assert well - server.requests[0].time < 0.6
    assert len(server.times("/robots.txt", "sick")) == 3


def test_a_host_whose_robots_txt_stays_away_is_refused_whole(lane, http):
    """C2, C4"""
    answers, server = lane(http(b"User-agent: *\nAllow: /", "500 X"), [f"http://h.example/{n}" for n in range(5)])
    assert reasons(answers) == {NetReason.ROBOTS_UNREACHABLE: 5}
    assert server.paths == ["/robots.txt"] * 3


def test_what_may_succeed_is_tried_three_times_and_what_cannot_once(lane, http):
    """C15, F21, F23"""
    handler = site(http, a=http(b"", "500 X"), b=[http(b"", "502 X"), http(b"late")], c=http(b"", "404 X"), d=http(b""))
    answers, server = lane(handler, [f"http://h.example/{path}" for path in "abcd"])
    found = {url[-1]: (answer.reason, answer.tries) for url, answer in answers.items()}
    assert found == {
        "a": (NetReason.HTTP_5XX, 3),
        "b": (None, 2),
        "c": (NetReason.HTTP_4XX, 1),
        "d": (NetReason.EMPTY_BODY, 1),
    }
    assert Counter(server.paths) == {"/robots.txt": 1, "/a": 3, "/b": 2, "/c": 1, "/d": 1}
    assert [line.partition(" ")[2] for line in answers["http://h.example/a"].tried] == ["http_5xx: 500"] * 2
    assert [line.partition(" ")[2] for line in answers["http://h.example/b"].tried] == ["http_5xx: 502"]
    gaps = [after - before for before, after in itertools.pairwise(server.times("/a"))]
    assert gaps[0] >= 0.015
    assert gaps[1] >= 0.03


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [({"Retry_After": "1"}, 1.0), ({"Retry_After": "-1"}, 0.5), ({"Retry_After": "abc"}, 0.5), ({}, 0.5)],
)
def test_a_limited_host_waits_whole_and_others_go_on(lane, http, headers, wait_s):
    """C14, F22"""
    limited = [http(b"", "429 X", **headers), http(b"fine")]

    async def handler(request, writer):
        if request.host == "limited.example" and request.path != "/robots.txt":
            return limited.pop(0) if len(limited) > 1 else limited[0]
        return http()

    urls = [f"http://limited.example/{n}" for n in range(4)] + [f"http://other.example/{n}" for n in range(4)]
    answers, server = lane(handler, urls, max_hosts=1, web={"rate_limit_default_s": 0.5})
    assert reasons(answers) == {None: 8}
    times = [r.time for r in server.requests if r.host == "limited.example" and r.path != "/robots.txt"]
    assert times[1] - times[0] >= wait_s - 0.01
    assert max(server.times(host="other")) - times[0] < wait_s


def test_a_host_that_asks_for_too_long_a_wait_ends_for_this_run(lane, http):
    """C14"""
    handler = site(http, pages=b"x", **{"0": http(b"", "503 X", Retry_After="31536000")})
    answers, server = lane(handler, [f"http://h.example/{n}" for n in range(5)])
    assert reasons(answers) == {NetReason.RATE_LIMITED: 5}
    assert server.paths == ["/robots.txt", "/0"]
    assert [answer.tries for answer in answers.values()] == [1, 0, 0, 0, 0]


def test_a_host_that_always_limits_gets_no_more_than_three_requests_an_item(lane, http):
    """F22"""
    answers, server = lane(site(http, a=http(b"", "429 X", Retry_After="0")), ["http://h.example/a"])
    assert answers["http://h.example/a"].tries == 3
    assert len(server.times("/a")) == 3


def test_a_host_without_connections_is_paused_and_then_given_up(lane, http):
    """F18, F50"""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = {"dead.example": f"127.0.0.1:{unused.getsockname()[1]}"}
        urls = [f"http://dead.example/{n}" for n in range(3)] + ["http://well.example/1"]
        answers, _ = lane(site(http), urls, targets=dead, max_hosts=1)
    assert reasons(answers) == {NetReason.ROBOTS_UNREACHABLE: 3, None: 1}

    async def only_robots(request, writer):
        if request.path == "/robots.txt":
            return http(b"User-agent: x")
        writer.transport.abort()
        return None

    started = time.monotonic()
    answers, server = lane(only_robots, [f"http://h.example/{n}" for n in range(40)], web={"tries": 1})
    assert reasons(answers) == {NetReason.CONNECT_FAILED: 40}
    assert Counter(answer.tries for answer in answers.values()) == {1: 20, 0: 20}
    assert 0.3 <= time.monotonic() - started < 3
    assert len({r.path for r in server.requests}) == 21


def test_a_name_that_does_not_exist_is_asked_once_for_all_its_items(lane, http):
    """F16"""
    asked = []

    def lookup(name):
        asked.append(name)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    answers, server = lane(
        site(http), [f"http://gone.example/{n}" for n in range(20)], lookup=lookup, web={"resolve": {}}
    )
    assert reasons(answers) == {NetReason.DNS_NOT_FOUND: 20}
    assert asked == ["gone.example"]
    assert server.connections == 0


def test_a_host_has_a_budget_of_pages(lane, http):
    """C26"""
    answers, server = lane(site(http), [f"http://h.example/{n}" for n in range(6)], host_budget=4)
    assert reasons(answers) == {None: 4, NetReason.HOST_BUDGET: 2}
    assert len(server.paths) == 5


def test_a_hop_is_judged_by_the_robots_txt_of_its_own_host(lane, http):
    """C19"""

    async def handler(request, writer):
        if request.path == "/robots.txt":
            return http(b"User-agent: *\nDisallow: /no" if request.host == "b.example" else b"")
        if request.host == "a.example":
            return http(b"", "302 X", Location="http://b.example" + request.path)
        return http(b"end")

    answers, server = lane(handler, ["http://a.example/no", "http://a.example/yes"])
    assert answers["http://a.example/no"].reason is NetReason.ROBOTS_DISALLOW
    assert answers["http://a.example/yes"].body == b"end"
    assert not server.times("/no", "b.example")


def test_a_hop_out_of_scope_is_not_followed(lane, http):
    """C19"""
    handler = site(http, a=http(b"", "302 X", Location="http://b.example/"))
    answers, server = lane(
        handler, ["http://a.example/a"], scope=lambda url: NetReason.ROBOTS_DISALLOW if "b.example" in url else None
    )
    assert answers["http://a.example/a"].reason is NetReason.ROBOTS_DISALLOW
    assert not server.times(host="b.example")


def test_hosts_that_redirect_to_each_other_do_not_lock_up(lane, http):
    async def handler(request, writer):
        await asyncio.sleep(0.01)
        if request.path.startswith("/end") or request.path == "/robots.txt":
            return http(b"end")
        other = "b" if request.host == "a.example" else "a"
        return http(b"", "302 X", Location=f"http://{other}.example/end{request.path[1:]}")

    urls = [f"http://{name}.example/{n}" for name in "ab" for n in range(10)]
    answers, server = lane(handler, urls, max_address_connections=1)
    assert reasons(answers) == {None: 20}
    assert server.open_most == 1


def test_a_fault_of_ours_is_an_answer_and_costs_no_other_item(lane, http, want):
    def check(head):
        if head.url.endswith("/1"):
            raise ZeroDivisionError("at http://user:secret@h.example/")

    answers, _ = lane(site(http), [f"http://h.example/{n}" for n in range(4)], want=want(check_head=check))
    assert reasons(answers) == {None: 3, NetReason.INTERNAL_ERROR: 1}
    assert "ZeroDivisionError" in answers["http://h.example/1"].detail
    assert "secret" not in answers["http://h.example/1"].detail


def test_the_rate_is_halved_under_strain_and_raised_slowly():
    async def main():
        pace = Pace(0.0, 10.0)
        now = asyncio.get_running_loop().time
        pace.strained(now())
        pace.strained(now() - 1)  # already under way when the first came
        assert pace.rate_per_s == 5.0
        for _ in range(10):
            pace.answered(now(), 0.2)
        assert 5.0 < pace.rate_per_s < 10.0
        pace.rate_per_s = 10.0
        pace.answered(now(), 0.5)  # more than twice its usual time
        assert pace.rate_per_s == 5.0
        pace.crawl_delay_s = 2.0
        assert pace.gap_s == 2.0

    asyncio.run(main())


def test_a_host_that_limits_is_asked_more_slowly(lane, http):
    """C14, F22"""
    handler = site(http, **{"0": [http(b"", "429 X", Retry_After="0"), http()]})
    _, server = lane(handler, [f"http://h.example/{n}" for n in range(4)], rate_per_host=20.0)
    times = server.times()[2:]
    assert min(after - before for before, after in itertools.pairwise(times)) >= 0.075


def test_leaving_early_leaves_no_task_behind(loop_server, web_config, want, http):
    async def handler(request, writer):
        await asyncio.sleep(0 if request.path in ("/robots.txt", "/0") else 30)
        return http()

    async def main():
        async with loop_server(handler) as server, Client(web_config(server.port)) as client:
            items = [Item(str(n), f"http://h{n % 3}.example/{n}") for n in range(9)]
            before = asyncio.all_tasks()
            async with contextlib.aclosing(
                Lane(LanePolicy(want(), delay_s=0.0), client, Robots(client)).run(in_groups(items))
            ) as answers:
                async for _item, answer in answers:
                    assert answer.reason is None
                    break
            left = asyncio.all_tasks() - before
            return [task for task in left if "_serve" not in repr(task.get_coro()) or "lane" in repr(task.get_coro())]

    assert asyncio.run(main()) == []


def test_a_slow_consumer_slows_the_lane(loop_server, web_config, want, http):
    async def main():
        async with loop_server(http(), keep=True) as server, Client(web_config(server.port)) as client:
            items = [Item(str(n), f"http://h{n % 4}.example/{n}") for n in range(80)]
            taken = 0
            lane = Lane(LanePolicy(want(), delay_s=0.0, max_hosts=2), client, Robots(client))
            async for _ in lane.run(in_groups(items)):
                if taken == 0:
                    await asyncio.sleep(0.3)
                    assert len(server.paths) < 16
                taken += 1
            return taken

    assert asyncio.run(main()) == 80


def test_cookies_of_one_answer_are_not_sent_with_the_next(lane, http):
    """F10"""
    _, server = lane(http(b"x", Set_Cookie="id=1"), [f"http://h.example/{n}" for n in range(3)])
    assert not any(b"cookie" in request.head.lower() for request in server.requests)


def test_a_lane_keeps_its_share_of_a_hosts_gap_and_connections(lane, http):
    """A host split over four lanes: each keeps four times the gap, and a fourth of the connections."""

    async def slower_than_the_gap(request, writer):
        await asyncio.sleep(0.25)
        return http()

    urls = [f"http://a.test/{n}" for n in range(4)]
    _, alone = lane(slower_than_the_gap, urls, delay_s=0.05, per_host=4)
    _, split_up = lane(slower_than_the_gap, urls, delay_s=0.05, per_host=4, shares={"a.test": 4})
    assert (alone.open_most > 1, split_up.open_most) == (True, 1)
    assert split_up.requests[-1].time - split_up.requests[0].time >= 4 * 4 * 0.05  # after robots.txt and three pages


def test_a_host_met_by_redirect_alone_is_shared_with_every_lane(lane, http):
    """What leads to it from eight lanes adds up to what one lane may ask of it."""
    urls = [f"http://a.test/{n}" for n in range(3)]
    answers = {str(n): http(b"", "302 Found", Location=f"http://cdn.test/{n}.jpg") for n in range(3)}
    answers |= {f"{n}.jpg": http(b"page") for n in range(3)}
    begun = time.monotonic()
    found, _ = lane(site(http, **answers), urls, delay_s=0.02, lanes=8)
    assert reasons(found) == {None: 3}
    assert time.monotonic() - begun >= 8 * 3 * 0.02


def test_http_and_https_of_a_name_share_its_pace(lane, http):
    """Origins have their own robots.txt, a name has one pace."""
    urls = [f"http://a.test{port}/{n}" for n in range(2) for port in ("", ":8080")]
    begun = time.monotonic()
    lane(site(http), urls, delay_s=0.1)
    assert time.monotonic() - begun >= 5 * 0.1  # two robots.txt and four pages


def test_the_end_of_a_round_refuses_what_waits_and_finishes_what_is_under_way(lane, http):
    async def slow(request, writer):
        if request.path == "/robots.txt":
            return http(b"")
        await asyncio.sleep(0.5)
        return http(b"page")

    urls = [f"http://a.test/{n}" for n in range(20)]
    found, _ = lane(slow, urls, ends_at=time.time() + 0.8)
    counted = reasons(found)
    assert counted[None] in (1, 2)
    assert counted[NetReason.ROUND_ENDED] == 20 - counted[None]
    assert all(found[url].tries == 0 for url in urls if found[url].reason)


def of_hosts(robots, pages):
    """A handler: what ``robots`` and ``pages`` give for a host's name, in turn."""

    async def handler(request, writer):
        name = request.host.partition(".")[0]
        found = (robots if request.path == "/robots.txt" else pages).get(name)
        return found.pop(0) if found and len(found) > 1 else found[0] if found else http_ok()

    return handler


def http_ok():
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


PATIENT = {"robots_waits_s": [60.0], "retry_waits_s": [30.0], "rate_limit_default_s": 60.0, "rate_limit_max_s": 99.0}


def test_hosts_that_are_parked_for_long_do_not_hold_up_the_end(lane, http):
    """F50: robots.txt that stays away, a limit, and a retry: each ends for its own reason, at once"""
    sick = of_hosts(
        {"silent": [http(b"", "500 X")]},
        {"limiting": [http(b"", "429 X", Retry_After="50")], "failing": [http(b"", "502 X")]},
    )
    urls = [f"http://{name}.example/{n}" for name in ("silent", "limiting", "failing", "well") for n in range(3)]
    begun = time.monotonic()
    answers, server = lane(sick, urls, web=PATIENT)
    assert time.monotonic() - begun < 10
    assert reasons(answers) == {
        None: 3,
        NetReason.ROBOTS_UNREACHABLE: 3,
        NetReason.RATE_LIMITED: 3,
        NetReason.HTTP_5XX: 3,
    }
    silent, limiting, failing = (answers[f"http://{name}.example/2"] for name in ("silent", "limiting", "failing"))
    assert (silent.detail, silent.tries) == ("not asked: robots.txt: http_5xx: 500", 0)
    assert limiting.detail == "not asked: 429, Retry-After: 50"
    assert (failing.detail, failing.status, failing.tries) == ("502", 502, 1)
    assert [line.partition(" ")[2] for line in silent.tried] == ["robots_unreachable: robots.txt: http_5xx: 500"]
    assert [line.partition(" ")[2] for line in limiting.tried] == ["rate_limited: 429, Retry-After: 50"]
    assert (failing.tried, answers["http://well.example/1"].tried) == ((), ())
    assert len(server.times("/robots.txt", "silent")) == 1


def test_what_is_due_within_the_tail_is_asked(lane, http):
    """A Retry-After within it is kept, and a host that answers again is not parked."""
    back = of_hosts({}, {"back": [http(b"", "429 X", Retry_After="1"), http(b"fine")]})
    urls = [f"http://back.example/{n}" for n in range(30)] + ["http://well.example/1"]
    answers, server = lane(back, urls, tail_s=1.2, delay_s=0.05, web=PATIENT)
    assert reasons(answers) == {None: 31}
    asked = server.times(host="back")
    assert asked[2] - asked[1] >= 0.99
    assert asked[-1] - asked[1] > 2  # longer than the tail

    never = of_hosts({"never": [http(b"", "500 X")]}, {})
    answers, server = lane(never, ["http://never.example/1"], tail_s=0.5, web={"robots_waits_s": [0.3, 60.0]})
    assert reasons(answers) == {NetReason.ROBOTS_UNREACHABLE: 1}
    assert len(server.paths) == 2


def test_parked_hosts_are_waited_for_while_others_are_asked(lane, http):
    back = of_hosts({"back": [http(b"", "500 X"), http(b"")]}, {})
    urls = ["http://back.example/1"] + [f"http://busy.example/{n}" for n in range(8)]
    answers, server = lane(back, urls, tail_s=0.1, delay_s=0.2, web={"robots_waits_s": [0.8, 60.0]})
    assert reasons(answers) == {None: 9}
    assert server.times("/1", "back")[0] < server.times(host="busy")[-1]


def test_what_is_left_over_is_counted(loop_server, web_config, want, http):
    async def main():
        handler = of_hosts({"gone": [http(b"", "500 X")]}, {})
        async with loop_server(handler, keep=True) as server, Client(web_config(server.port, **PATIENT)) as client:
            lane = Lane(LanePolicy(want(), delay_s=0.0), client, Robots(client))
            urls = [f"http://{name}.example/{n}" for name in ("gone", "well") for n in range(4)]
            async for _ in lane.run(in_groups([Item(url, url) for url in urls])):
                pass
            return lane.left_over

    left = asyncio.run(main())
    assert (left.urls, left.hosts) == ({"robots_unreachable": 4}, {"robots_unreachable": 1})


def test_an_item_may_be_followed_by_another_at_once(loop_server, web_config, want, http):
    """The second is asked for before all others are done, whether its host is still asked or already done."""

    async def main():
        async with loop_server(http(b"x"), keep=True) as server, Client(web_config(server.port)) as client:
            lane = Lane(LanePolicy(want(), delay_s=0.1), client, Robots(client))
            urls = [f"http://long.example/{n}" for n in range(8)] + ["http://short.example/0", "http://short.example/1"]
            given = []
            async for item, answer in lane.run(in_groups([Item(url, url) for url in urls])):
                given.append((item.url, answer.reason))
                if item.key == item.url:
                    second = "ftp://bad.example/" if item.url.endswith("long.example/3") else item.url + "/second"
                    lane.ask_too(Item("second", second))
            return given, server

    given, server = asyncio.run(main())
    assert len(given) == len(set(given)) == 20
    assert ("ftp://bad.example/", NetReason.SCHEME_NOT_ALLOWED) in given
    assert server.times("/1/second", "short")[0] < server.times("/7", "long")[0]


def hosts_of(dead: int, well: int) -> list[str]:
    return [f"http://dead{n}.example/" for n in range(dead)] + [f"http://well{n}.example/" for n in range(well)]


@pytest.fixture
def with_dead_hosts(lane, http):
    """``with_dead_hosts(dead, well)``: a lane of one URL per host, so many of which refuse all connections."""

    def run(dead, well, retried=False, **web):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            nowhere = f"127.0.0.1:{unused.getsockname()[1]}"
            targets = {f"dead{n}.example": nowhere for n in range(dead)}
            return lane(
                http(b"x"), hosts_of(dead, well), targets=targets, web={"robots_waits_s": [], **web}, retried=retried
            )[0]

    return run


def test_a_network_that_is_down_ends_the_round_before_anything_is_written_off(with_dead_hosts):
    """R18"""
    with pytest.raises(StageError, match="network_down: no connection to 200 of the first 200 hosts, the last one"):
        with_dead_hosts(200, 60)
    assert reasons(with_dead_hosts(200, 60, unreachable_share_max=1.0)) == {
        NetReason.ROBOTS_UNREACHABLE: 200,
        None: 60,
    }
    assert reasons(with_dead_hosts(90, 130)) == {NetReason.ROBOTS_UNREACHABLE: 90, None: 130}
    # what an earlier run did not get is asked again: such hosts are mostly dead
    assert reasons(with_dead_hosts(210, 0, retried=True)) == {NetReason.ROBOTS_UNREACHABLE: 210}
    assert reasons(with_dead_hosts(190, 0)) == {NetReason.ROBOTS_UNREACHABLE: 190}  # too few to tell


def test_only_so_many_hosts_are_waited_for(lane, http, monkeypatch):
    """Each takes memory: of more, the later ones are left to a later run."""
    monkeypatch.setattr("pipeline.web.lane.MAX_PARKED", 3)
    sick = of_hosts({f"h{n}": [http(b"", "500 X"), http(b"")] for n in range(8)}, {})
    urls = [f"http://h{n}.example/" for n in range(8)]
    answers, server = lane(sick, urls, web={"robots_waits_s": [1.5]})
    assert reasons(answers) == {None: 3, NetReason.ROBOTS_UNREACHABLE: 5}
    assert len(server.times("/robots.txt")) == 11


def test_robots_txt_of_the_next_host_is_asked_for_ahead(lane, http):
    """While another host is asked, and its answer does not matter until then."""

    async def handler(request, writer):
        await asyncio.sleep(0.3 if request.path != "/robots.txt" else 0)
        return http(b"User-agent: *\nDisallow: /no" if request.path == "/robots.txt" else b"x")

    urls = ["http://one.example/1", "http://one.example/2", "http://two.example/no"]
    answers, server = lane(handler, urls, max_hosts=1)
    assert reasons(answers) == {None: 2, NetReason.ROBOTS_DISALLOW: 1}
    assert server.times("/robots.txt", "two")[0] < server.times("/2", "one")[0]


def test_a_lane_that_is_done_or_waits_says_that_it_is_idle(loop_server, web_config, want, http, tmp_path):
    """R17: else a lane that is done would make another one's planned wait look like a standstill."""

    async def main():
        storage, states = open_storage(str(tmp_path)), []
        handler = of_hosts({"sick": [http(b"", "500 X"), http(b"")]}, {})
        async with loop_server(handler, keep=True) as server:
            web = web_config(server.port, robots_waits_s=[2.5])
            async with Client(web) as client:
                lane = Lane(LanePolicy(want(), delay_s=0.0), client, Robots(client))
                async with saying(lane, storage, "fetch", 0):
                    async for _ in lane.run(in_groups([Item("1", "http://sick.example/1")])):
                        states += heard(storage, "fetch")
                return states + heard(storage, "fetch")

    during, after = asyncio.run(main())
    assert (during.idle, during.parked, during.done) == (True, 1, 0)
    assert during.next_at is not None
    assert (after.idle, after.parked, after.done) == (True, 0, 1)
