"""What may be dialled, and what never sees a packet."""

import asyncio
import itertools
import socket
import threading
import time
from collections import deque
from ipaddress import ip_address

import pytest
from pydantic import ValidationError

from pipeline.web import lookups
from pipeline.web.client import Client
from pipeline.web.config import WebConfig
from pipeline.web.netguard import NetGuard, is_public
from pipeline.web.reasons import NetFault, NetReason

PRIVATE = [
    "127.0.0.1",
    "10.0.0.5",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "198.18.0.1",
    "203.0.113.1",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001::1",
    "fc00::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "100::1",
]
PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]


def no_lookup(name):
    raise AssertionError(f"looked up {name}")


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_globally_routable_is_blocked(address):
    """F11, F12"""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed_in_every_form(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost.",
        "localhost",
        "0",
        "169.254.169.254",
        "[::ffff:10.0.0.1]",
    ],
)
def test_every_spelling_of_a_private_address_is_blocked_and_sees_no_packet(loop_server, http, want, host):
    """C20, F11, F12"""

    async def main():
        async with loop_server(http()) as server:
            web = WebConfig(contact="a@b.example", allow_ports=[server.port])
            async with Client(web) as client:
                direct = await client.get(f"http://{host}:{server.port}/", want())
            return direct, server.connections

    answer, connections = asyncio.run(main())
    assert answer.reason is NetReason.ADDRESS_BLOCKED, answer
    assert connections == 0


def test_a_hop_is_judged_like_the_first_url(loop_server, http, web_config, want):
    """C20, F11, F12"""

    async def main(target):
        async with loop_server(http(b"", "302 Found", Location=target)) as server:
            config = web_config(resolve={"site.example": f"127.0.0.1:{server.port}"})
            async with Client(config, NetGuard(config, no_lookup)) as client:
                return await client.get("http://site.example/", want()), server.connections

    for target in ("http://169.254.169.254/latest/", "http://[::ffff:10.0.0.1]/", "http://167772165/"):
        answer, connections = asyncio.run(main(target))
        assert (answer.reason, connections) == (NetReason.ADDRESS_BLOCKED, 1)


def test_of_mixed_addresses_only_the_public_ones_are_dialled():
    """F13"""
    target = resolve(["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111"])
    assert target.addresses == ("8.8.8.8", "2606:4700::1111")
    with pytest.raises(NetFault, match="address_blocked"):
        resolve(["10.0.0.1", "::1"])


def resolve(addresses, **settings):
    async def main():
        guard = NetGuard(WebConfig(**settings), lambda name: addresses)
        try:
            return await guard.target("mixed.example", 80)
        finally:
            guard.close()

    return asyncio.run(main())


def test_a_name_that_changes_between_check_and_connect_is_looked_up_once(loop_server, http, web_config, want):
    """C21, F13: the second answer of the name is never asked for"""
    answers = itertools.chain([["127.0.0.1"]], itertools.repeat(["10.0.0.5"]))

    async def main():
        async with loop_server(http()) as server:
            config = web_config(resolve={}, allow_ports=[server.port])
            async with Client(config, NetGuard(config, lambda name: next(answers))) as client:
                return [await client.get(f"http://rebind.example:{server.port}/{n}", want()) for n in range(3)]

    assert [answer.address for answer in asyncio.run(main())] == ["127.0.0.1"] * 3
    assert next(answers) == ["10.0.0.5"]


def test_a_name_that_turns_private_is_blocked_when_looked_up_again(web_config, want, monkeypatch):
    """C21, F13"""
    monkeypatch.setattr(lookups, "AGE_S", 0.0)
    config = web_config(resolve={})

    async def main():
        async with Client(config, NetGuard(config, lambda name: ["10.0.0.5"])) as client:
            return await client.get("http://rebind.example/", want())

    assert asyncio.run(main()).reason is NetReason.ADDRESS_BLOCKED


def test_the_socket_itself_refuses_an_unchecked_address():
    """F13"""
    guard = NetGuard(WebConfig())
    with pytest.raises(OSError, match="may not be dialled"):
        guard.open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.0.0.5", 80)))
    guard.close()


def test_what_is_dialled_instead_is_judged_too(loop_server, http, want):
    """F47"""

    async def main(**settings):
        async with loop_server(http()) as server:
            web = WebConfig(contact="a@b.example", resolve={"*": f"127.0.0.1:{server.port}"}, **settings)
            async with Client(web) as client:
                return await client.get("http://any.example/", want()), server.connections

    blocked, connections = asyncio.run(main())
    assert (blocked.reason, connections) == (NetReason.ADDRESS_BLOCKED, 0)
    allowed, connections = asyncio.run(main(allow_networks=["127.0.0.0/8"]))
    assert (allowed.reason, connections) == (None, 1)


def test_the_most_exact_name_decides_what_is_dialled():
    async def main():
        guard = NetGuard(
            WebConfig(
                allow_networks=["127.0.0.0/8"],
                resolve={
                    "*": "127.0.0.1:1",
                    "A.example": "127.0.0.2:2",
                    "a.example:8080": "127.0.0.3:3",
                    "[::1]": "127.0.0.4:4",
                },
            ),
            no_lookup,
        )
        targets = [
            await guard.target(*url)
            for url in (("b.example", 80), ("a.example", 80), ("a.example", 8080), ("::1", 80), ("8.8.8.8", 80))
        ]
        guard.close()
        return [(target.addresses[0][-1], target.port) for target in targets]

    assert asyncio.run(main()) == [("1", 1), ("2", 2), ("3", 3), ("4", 4), ("1", 1)]


def gaierror(code, text):
    def lookup(name):
        lookup.calls += 1
        raise socket.gaierror(code, text)

    lookup.calls = 0
    return lookup


def test_a_name_that_does_not_exist_is_asked_once(web_config, want):
    """C22, F16"""
    lookup = gaierror(socket.EAI_NONAME, "Name or service not known")
    config = web_config(resolve={})

    async def main():
        async with Client(config, NetGuard(config, lookup)) as client:
            return [await client.get(f"http://gone.example/{n}", want()) for n in range(5)]

    assert {answer.reason for answer in asyncio.run(main())} == {NetReason.DNS_NOT_FOUND}
    assert lookup.calls == 1


@pytest.mark.parametrize(
    "lookup",
    [
        gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        gaierror(socket.EAI_FAIL, "Non-recoverable failure"),
    ],
)
def test_a_sick_resolver_is_not_remembered(web_config, want, lookup):
    """C22, F17"""
    config = web_config(resolve={})

    async def main():
        async with Client(config, NetGuard(config, lookup)) as client:
            return [await client.get("http://some.example/", want()) for _ in range(2)]

    assert {answer.reason for answer in asyncio.run(main())} == {NetReason.DNS_FAILED}
    assert lookup.calls == 2
    assert NetReason.DNS_FAILED.retryable


def test_a_resolver_that_does_not_answer_is_sick(web_config, want):
    """C22"""
    config = web_config(resolve={}, connect_timeout_s=0.1)
    release = threading.Event()

    async def main():
        async with Client(config, NetGuard(config, lambda name: release.wait(5) and ["8.8.8.8"])) as client:
            answer = await client.get("http://some.example/", want())
            release.set()
            return answer

    answer = asyncio.run(main())
    assert (answer.reason, answer.detail) == (NetReason.DNS_FAILED, "some.example: no answer in 0.1 s")


def test_no_more_than_64_lookups_are_in_flight():
    """C22, F17"""
    lock, now, most = threading.Lock(), 0, 0

    def lookup(name):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        return ["8.8.8.8"]

    async def main():
        guard = NetGuard(WebConfig(), lookup)
        await asyncio.gather(*(guard.target(f"h{n % 200}.site{n % 40}.example", 80) for n in range(400)))
        guard.close()

    asyncio.run(main())
    assert 32 < most <= 64


def test_names_of_one_domain_that_are_slow_hold_up_no_others(web_config):
    """F57: 64 of them are waiting, and a name of another domain is looked up at once"""
    release, asked = threading.Event(), []

    def lookup(name):
        asked.append(name)
        if "slow" in name:
            release.wait(20)
        return ["8.8.8.8"]

    async def main():
        guard = NetGuard(web_config(resolve={}, connect_timeout_s=0.3), lookup)
        slow = [asyncio.create_task(guard.target(f"h{n}.slow.example", 80)) for n in range(64)]
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        await guard.target("well.example", 80)
        took_s = time.monotonic() - begun
        given_up = (await asyncio.gather(*slow[:8], return_exceptions=True))[0]
        waiting = len([name for name in asked if "slow" in name])
        for task in slow[8:]:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        release.set()
        await guard.target("h63.slow.example", 80)
        guard.close()
        return took_s, given_up.detail, waiting, len(asked)

    took_s, given_up, waiting, asked_in_all = asyncio.run(main())
    assert took_s < 0.3
    assert given_up == "h0.slow.example: no answer in 0.3 s"
    assert waiting == 8  # the clock of the others has not begun
    assert asked_in_all == 10  # who was given up while it waited is never asked for


def test_a_sick_resolver_is_asked_more_slowly_and_that_is_said(monkeypatch):
    """F17"""
    monkeypatch.setattr(lookups, "WINDOW", 50)

    def lookup(name):
        if name < "h15":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return ["8.8.8.8"]

    async def main():
        found = lookups.Lookups(lookup, 5.0)
        found._failed = deque(maxlen=50)
        names = [f"h{n}.site{n}.example" for n in range(10, 60)]
        await asyncio.gather(*map(found.addresses, names), return_exceptions=True)
        few = found.sick
        await asyncio.gather(*(found.addresses(f"h1{n}.site.example") for n in range(50)), return_exceptions=True)
        found.close()
        return few, found.sick, found._under_way.size

    few, sick, size = asyncio.run(main())
    assert few == ""
    assert sick.endswith("of the last 50 look-ups of names failed: [Errno -3] Temporary failure in name resolution")
    assert size == 32


def test_allowed_ports_are_those_of_the_web_and_of_the_config():
    """F47"""
    assert WebConfig(allow_ports=[9000]).ports() == {80, 443, 8080, 8443, 9000}


@pytest.mark.parametrize(
    "settings",
    [
        {"allow_networks": ["10.0.0.1/8"]},
        {"allow_networks": ["private"]},
        {"resolve": {"*": "localhost:80"}},
        {"resolve": {"*": "127.0.0.1"}},
        {"resolve": {"a b": "127.0.0.1:80"}},
        {"resolve": {"*": "127.0.0.1:0"}},
        {"resolve": {"*": "127.0.0.1:http"}},
        {"allow_ports": [0]},
        {"connect_timeout_s": -1.0},
        {"connect_timeout_s": "10"},
        {"tries": 0},
        {"robots_max_age_s": 1e6},
        {"retry_waits_s": []},
        {"fecth": 1},
    ],
)
def test_a_bad_setting_is_refused(settings):
    with pytest.raises(ValidationError):
        WebConfig(**settings)
