"""When a host waits, and when it is left to a later run."""

import pytest

from pipeline.web.client import Answer
from pipeline.web.parking import End, Pause, Silence, wait_asked_for
from pipeline.web.reasons import NetReason

URL = "http://h.example/"


def limited(seconds):
    return Pause(seconds, NetReason.RATE_LIMITED, "")


def answer(reason=None, **known):
    return Answer(URL, URL, reason, **{"tries": 1} | known)


def counted(silence, web, answers):
    return [silence.count(one, web) for one in answers]


@pytest.mark.parametrize(
    ("retry_after_s", "decision"),
    [
        (5.0, limited(5.0)),
        (0.0, limited(0.0)),
        (None, limited(0.2)),  # web.rate_limit_default_s
        (2.0, limited(2.0)),  # web.rate_limit_max_s
        (2.5, End(NetReason.RATE_LIMITED, "Retry-After 2.5 s (limit 2 s)")),
    ],
)
def test_a_host_that_limits_us_waits_as_it_asks_up_to_a_limit(web_config, retry_after_s, decision):
    limit = {"rate_limit_max_s": 10.0} if retry_after_s == 5.0 else {}
    found = wait_asked_for(answer(NetReason.RATE_LIMITED, status=429, retry_after_s=retry_after_s), web_config(**limit))
    assert found == decision


def test_a_refusal_of_ours_parks_nobody(web_config):
    """No host has answered: there is no status."""
    assert wait_asked_for(answer(NetReason.RATE_LIMITED), web_config()) is None


def test_a_name_that_does_not_exist_ends_its_host(web_config):
    found = wait_asked_for(answer(NetReason.DNS_NOT_FOUND, detail="gone.example"), web_config())
    assert found == End(NetReason.DNS_NOT_FOUND, "gone.example")


@pytest.mark.parametrize("reason", [None, NetReason.HTTP_5XX, NetReason.CONNECT_FAILED, NetReason.NOT_HTML])
def test_other_answers_concern_their_own_item_only(web_config, reason):
    assert wait_asked_for(answer(reason, status=500), web_config()) is None


def test_a_silent_host_is_paused_after_some_items_and_ended_after_some_pauses(web_config):
    web = web_config(connect_failures_limit=2, connect_failures_pauses=1, connect_failures_pause_s=7.0)
    decisions = counted(Silence(), web, [answer(NetReason.CONNECT_FAILED)] * 4)
    pause = Pause(7.0, NetReason.CONNECT_FAILED, "no answer to 2 URLs in a row")
    assert decisions == [None, pause, None, End(NetReason.CONNECT_FAILED, "no answer to 4 URLs in a row")]


@pytest.mark.parametrize("heard", [answer(status=200), answer(NetReason.HTTP_5XX, status=500), answer()])
def test_any_answer_ends_the_silence(web_config, heard):
    web = web_config(connect_failures_limit=2, connect_failures_pauses=0)
    lost = answer(NetReason.DEADLINE_EXCEEDED)
    assert counted(Silence(), web, [lost, heard, lost, heard, lost]) == [None] * 5


@pytest.mark.parametrize(
    "aside",
    [answer(NetReason.CONNECT_FAILED, hops=(URL,)), answer(NetReason.CONNECT_FAILED, tries=0), answer(tries=0)],
    ids=["redirected", "not asked for", "refused"],
)
def test_what_says_nothing_about_a_host_is_not_counted(web_config, aside):
    web = web_config(connect_failures_limit=2)
    lost = answer(NetReason.CONNECT_FAILED)
    assert counted(Silence(), web, [lost, aside, lost])[-1].seconds == web.connect_failures_pause_s
