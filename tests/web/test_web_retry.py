"""Which failures are tried again, how often and when."""

import pytest

from pipeline.web.reasons import NetReason
from pipeline.web.retry import JITTER, LATER_RUNS, retry_wait_s


@pytest.mark.parametrize("reason", list(NetReason))
def test_a_retryable_reason_is_tried_again_unless_the_host_has_said_its_last_word(web_config, reason):
    wait_s = retry_wait_s(reason, 1, "key", web_config())
    assert (wait_s is not None) == (reason.retryable and reason not in LATER_RUNS)


def test_a_success_is_not_tried_again(web_config):
    assert retry_wait_s(None, 1, "key", web_config()) is None


@pytest.mark.parametrize(("tries", "again"), [(0, False), (1, True), (2, True), (3, False)])
def test_an_item_is_asked_for_as_often_as_the_settings_say(web_config, tries, again):
    """No request at all (0) is no try: what refused it will refuse it again."""
    assert (retry_wait_s(NetReason.HTTP_5XX, tries, "key", web_config(tries=3)) is not None) == again


def test_waits_grow_as_configured_and_the_last_one_repeats(web_config):
    web = web_config(tries=9, retry_waits_s=[1.0, 10.0])
    for tries, around in ((1, 1.0), (2, 10.0), (3, 10.0), (8, 10.0)):
        assert around * (1 - JITTER) <= retry_wait_s(NetReason.HTTP_5XX, tries, "key", web) <= around * (1 + JITTER)


def test_waits_are_spread_over_items_and_the_same_in_every_run(web_config):
    web = web_config(retry_waits_s=[1.0])
    waits = [retry_wait_s(NetReason.HTTP_5XX, 1, f"key{n}", web) for n in range(200)]
    assert waits == [retry_wait_s(NetReason.HTTP_5XX, 1, f"key{n}", web) for n in range(200)]
    assert min(waits) < 0.8
    assert max(waits) > 1.2
    assert sum(waits) / len(waits) == pytest.approx(1.0, abs=0.05)


def test_an_item_of_a_host_that_limits_us_has_no_wait_of_its_own(web_config):
    """F22"""
    assert retry_wait_s(NetReason.RATE_LIMITED, 1, "key", web_config()) == 0.0
