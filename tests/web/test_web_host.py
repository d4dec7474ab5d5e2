"""What waits at a host, in which order it is asked for, and who shares its pace."""

import asyncio

import pytest

from pipeline.web.host import MAX_RETRIES, ROUND_ENDED, Errand, Host, Hosts, Item, in_groups
from pipeline.web.manners import Manners, MannersByName
from pipeline.web.pace import Pace
from pipeline.web.parking import End, Pause
from pipeline.web.policy import LanePolicy
from pipeline.web.reasons import NetReason
from pipeline.web.urls import UrlError

GONE = End(NetReason.DNS_NOT_FOUND, "h.example")


def limited(seconds):
    return Pause(seconds, NetReason.RATE_LIMITED, "429")


def errand(name):
    return Errand(Item(name, f"http://h.example/{name}"))


@pytest.fixture
def host():
    """A host where the items a, b and c wait."""
    made = Host("http://h.example:80", Manners(Pace(0.0, 0.0), asyncio.Semaphore(1)))
    made.waiting.extend(errand(name) for name in "abc")
    return made


@pytest.fixture
def policy(want):
    def made(**settings):
        return LanePolicy(want(), **settings)

    return made


def names(host, now):
    """What is asked for now, one after the other."""
    found = []
    while (one := host.next(now)) is not None:
        found.append(one.item.key)
    return found


def test_items_are_asked_for_in_their_order(host):
    assert host.due_at() == 0.0
    assert names(host, now=5.0) == ["a", "b", "c"]
    assert host.due_at() is None


def test_a_retry_waits_until_it_is_due_and_then_comes_first(host):
    host.retry(errand("late"), 9.0)
    host.retry(errand("soon"), 7.0)
    assert host.next(6.0).item.key == "a"
    assert names(host, now=7.0) == ["soon", "b", "c"]
    assert host.due_at() == 9.0
    assert names(host, now=9.0) == ["late"]


def test_retries_due_at_the_same_time_keep_their_order(host):
    host.waiting.clear()
    for name in "zyx":
        host.retry(errand(name), 1.0)
    assert names(host, now=1.0) == ["z", "y", "x"]


def test_what_could_not_be_asked_for_is_the_next(host):
    host.put_back(host.next(0.0))
    assert names(host, now=0.0) == ["a", "b", "c"]


def test_a_parked_host_gives_nothing_until_its_longest_wait_is_over(host):
    host.park(limited(10.0), now=1.0)
    host.obey(limited(2.0), now=1.0)
    assert host.due_at() == 11.0
    assert (host.is_parked(10.9), host.is_parked(11.0)) == (True, False)
    assert names(host, now=10.9) == []
    assert names(host, now=11.0) == ["a", "b", "c"]


def test_no_retry_is_due_while_its_host_is_parked(host):
    host.waiting.clear()
    host.park(limited(10.0), now=0.0)
    host.retry(errand("a"), 3.0)
    assert host.due_at() == 10.0


def test_an_ended_host_gives_all_it_has_at_once_parked_or_not(host):
    host.park(limited(100.0), now=0.0)
    host.retry(errand("d"), 50.0)
    host.obey(GONE, now=0.0)
    assert host.due_at() == 0.0
    assert names(host, now=0.0) == ["d", "a", "b", "c"]
    assert host.ended == GONE


def test_a_host_that_is_given_up_ends_for_the_reason_it_was_parked_for(host):
    host.park(limited(10.0), now=0.0)
    host.park(Pause(5.0, NetReason.CONNECT_FAILED, "refused"), now=0.0)
    host.give_up()
    assert host.ended == End(NetReason.RATE_LIMITED, "not asked: 429")
    assert host.woken.is_set()
    host.give_up()
    host.obey(GONE, now=0.0)
    assert host.ended.reason is NetReason.RATE_LIMITED


def test_no_decision_changes_nothing(host):
    host.obey(None, now=0.0)
    assert (host.ended, host.parked_until) == (None, 0.0)


def test_items_go_by_origin_and_origins_of_one_name_share_its_pace(policy):
    urls = ["http://h.example/", "https://h.example/", "http://h.example:80/2", "http://g.example/", "ftp://h.example/"]
    groups = in_groups(Item(str(number), url) for number, url in enumerate(urls))
    assert [(group.origin, group.count) for group in groups] == [
        ("http://h.example:80", 2),
        ("https://h.example:443", 1),
        ("http://g.example:80", 1),
        ("", 1),
    ]
    hosts = Hosts(policy())
    plain, tls, other = (hosts.open(group) for group in groups[:3])
    assert names(plain, now=0.0) == ["0", "2"]
    assert plain is not tls
    assert plain.pace is tls.pace
    assert plain.pace is not other.pace


def test_items_are_read_when_they_are_asked_for(host):
    read = []
    host.waiting.clear()
    host.items, host.unread = (read.append(name) or errand(name).item for name in "xyz"), 3
    assert (host.left, host.due_at()) == (3, 0.0)
    host.put_back(host.next(0.0))
    assert read == ["x"]
    assert names(host, now=0.0) == ["x", "y", "z"]
    assert host.due_at() is None


def test_a_host_with_many_retries_reads_no_more_items(host):
    host.waiting.clear()
    host.items, host.unread = iter(Item(str(n), "http://h.example/") for n in range(5000)), 5000
    for _ in range(MAX_RETRIES):
        host.retry(host.next(0.0), 7.0)
    assert host.next(1.0) is None
    assert (host.due_at(), host.unread) == (7.0, 5000 - MAX_RETRIES)
    assert host.next(7.0).item.key == "0"


def test_only_so_many_idle_hosts_are_remembered_and_none_that_is_asked(policy, monkeypatch):
    monkeypatch.setattr("pipeline.web.host.MAX_IDLE", 3)
    hosts = Hosts(policy())
    asked = hosts.open(in_groups([Item("a", "http://asked.example/")])[0])
    met = [hosts.of(f"http://h{n}.example/") for n in range(5)]
    assert hosts.of("http://asked.example/") is asked
    assert [hosts.of(host.origin) is host for host in met[2:]] == [True] * 3
    pace = met[0].pace
    assert hosts.of("http://h0.example/") is not met[0]
    assert hosts.of("http://h0.example/").pace is pace  # of who still holds it


def test_an_item_without_a_host_is_refused_by_its_reason(policy):
    with pytest.raises(UrlError) as error:
        Hosts(policy()).add(Item("a", "ftp://h.example/"))
    assert error.value.reason is NetReason.SCHEME_NOT_ALLOWED


def test_after_the_round_no_host_is_asked_not_even_one_met_later(policy):
    hosts = Hosts(policy())
    hosts.add(Item("a", "http://h.example/"))
    gone = hosts.of("http://gone.example/")
    gone.obey(GONE, now=0.0)
    hosts.end()
    assert hosts.of("http://h.example/").ended == hosts.of("http://later.example/").ended == ROUND_ENDED
    assert gone.ended == GONE


@pytest.mark.parametrize(
    ("name", "share"),
    [("split.example", 4), ("whole.example", 1), ("www.whole.example", 1), ("met.example", 8), ("www.met.example", 8)],
)
def test_a_host_met_by_redirect_alone_is_shared_with_all_lanes(policy, name, share):
    settings = policy(delay_s=1.0, per_host=6, shares={"split.example": 4}, lanes=8)
    manners = MannersByName(settings, own={"split.example", "whole.example"})
    assert manners.share(name) == share
    assert manners.of(name).pace.gap_s == share * 1.0
