"""Sockets fit what the system allows, and a machine that runs out of them blames no host (F56)."""

import asyncio
import errno
import json
import resource

import pytest

from pipeline.core import open_files
from pipeline.core.errors import InputError
from pipeline.web import sockets
from pipeline.web.client import Client

LANE = """
import asyncio, collections, json, os, resource, sys
from pipeline.web.client import Client, Want
from pipeline.web.config import WebConfig
from pipeline.web.lane import Item, Lane, LanePolicy, in_groups
from pipeline.web.robots import Robots

port, limit, later = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
web = WebConfig(contact="https://contact.example/", allow_networks=["127.0.0.0/8"], resolve={"*": f"127.0.0.1:{port}"})

async def main():
    async with Client(web) as client:
        if later:
            open_now = len(os.listdir("/dev/fd"))
            resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + later, limit))
        lane = Lane(LanePolicy(Want("*/*", 20.0, 9999), delay_s=0.0), client, Robots(client))
        found, most = collections.Counter(), 0
        async for item, answer in lane.run(in_groups(Item(str(n), f"http://h{n}.example/") for n in range(120))):
            found[answer.reason or "ok"] += 1
            if not later:
                most = max(most, len(os.listdir("/dev/fd")))
        print(json.dumps([found, lane.left_over.slowed, lane.left_over.urls, most]))

asyncio.run(main())
"""


async def slow(request, writer):
    await asyncio.sleep(0.2)
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_requests_fit_the_limit_of_open_files(beside_server):
    """F56"""
    out, server = beside_server(slow, LANE, sockets.RESERVE + 60, 0)
    found, slowed, left, most = json.loads(out)
    assert (found, slowed, left) == ({"ok": 120}, "", {})
    assert 10 < server.open_most <= 45
    assert most < sockets.RESERVE


def test_a_machine_without_sockets_blames_no_host_and_goes_on_more_slowly(beside_server):
    """F56"""
    out, server = beside_server(slow, LANE, 512, 30)
    found, slowed, left, _ = json.loads(out)
    assert (found, left) == ({"ok": 120}, {})
    assert slowed.startswith("Too many open files (ulimit -n: ")
    assert {request.path for request in server.requests} == {"/robots.txt", "/"}
    assert len(server.requests) == 240  # nothing was asked twice


def test_connections_of_a_host_are_closed_when_it_has_nothing_left(beside_server):
    script = LANE.replace("print(json", 'print(len([1 for f in os.listdir("/dev/fd")]));print(json')
    out, _ = beside_server(slow, script, 512, 0)
    assert int(out.splitlines()[0]) < 40


@pytest.mark.parametrize(
    ("code", "ipv4_only", "ours"),
    [
        *((code, False, True) for code in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)),
        (errno.EADDRNOTAVAIL, True, True),
        (errno.EADDRNOTAVAIL, False, False),  # an IPv6 host, and a machine without IPv6
        (errno.ECONNREFUSED, True, False),
        (errno.ENETUNREACH, True, False),
    ],
)
def test_which_errors_are_ours(code, ipv4_only, ours):
    assert sockets.is_ours(OSError(code, "x"), ipv4_only) is ours


def test_too_few_open_files_are_refused_with_the_number_needed(web_config, monkeypatch):
    monkeypatch.setattr(open_files, "left", lambda: 100)
    with pytest.raises(InputError, match=r"environment_invalid: this process may open only 100 more.*need 144.*ulimit"):
        Client(web_config())


def test_the_limit_is_raised_to_the_hard_one():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, before[1]))
        open_files.raise_limit()
        assert open_files.limit() == min(before[1], open_files.ENOUGH)
        assert open_files.limit() - 400 < open_files.left() < open_files.limit()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
