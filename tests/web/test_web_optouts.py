"""Opt-outs as owners write them."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.web.optouts import from_headers, from_meta

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def codes(*values, name=b"X-Robots-Tag"):
    return from_headers([(name, value.encode("latin-1")) for value in values], NOW)


@pytest.mark.parametrize(
    "value",
    [
        "noai",
        "noimageai",
        "noindex",
        "noimageindex",
        "none",
        "noml",
        "NoAI, nofollow",
        "nofollow,noai",
        "pairmill: noai",
        "PairMill:noai",
        "otherbot: nofollow, pairmill: noai",
        "*: noai",
        "nofollow;noai",
        "nofollow\r\n noai",
        "unavailable_after: 25 Jun 2010 15:00:00 GMT",
        "unavailable_after: Friday, 25-Jun-10 15:00:00 UTC",
        "unavailable_after: 2010-06-25",
        "pairmill: unavailable_after: 25 Jun 2010 15:00:00 PST",
        "max-snippet: 5, noai",
    ],
)
def test_an_opt_out_is_honoured_however_it_is_written(value):
    """O1, O2, O3"""
    assert codes(value) == ("optout_xrobots",)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nofollow",
        "nosnippet",
        "noarchive",
        "all",
        "index, follow",
        "otherbot: noai",
        "otherbot: nofollow, noai",
        "unavailable_after: 25 Jun 2090 15:00:00 GMT",
        "unavailable_after: banana",
        "max-image-preview: none-at-all",
        ": : :",
        "\xff\xfe",
        "unavailable_after:",
        "noaiplease",
    ],
)
def test_what_is_no_opt_out_for_us_is_none(value):
    """O2, O3"""
    assert codes(value) == ()


def test_all_lines_of_a_header_count():
    """O3"""
    assert codes("nofollow", "otherbot: none", "noai") == ("optout_xrobots",)


@pytest.mark.parametrize(
    ("value", "reserved"), [("1", True), ("0", False), (" 0 ", False), ("2", True), ("", True), ("yes", True)]
)
def test_any_reservation_but_zero_counts(value, reserved):
    """O5"""
    expected = ("optout_tdm",) if reserved else ()
    assert codes(value, name=b"TDM-Reservation") == expected
    assert from_meta("tdm-reservation", value) == expected


def test_a_policy_is_no_consent():
    """O5"""
    assert from_headers(
        [(b"tdm-policy", b"https://h.example/p.json"), (b"tdm-reservation", b"1"), (b"x-robots-tag", b"noai")]
    ) == ("optout_tdm", "optout_xrobots")
    assert from_headers([(b"tdm-policy", b"https://h.example/p.json")]) == ()


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("robots", "noai, noimageai", True),
        ("ROBOTS", "NoIndex", True),
        ("pairmill", "none", True),
        ("robots", "nofollow", False),
        ("googlebot", "noai", False),
        ("description", "noai", False),
    ],
)
def test_a_meta_element_opts_a_page_out(name, content, found):
    """O4"""
    assert from_meta(name, content, NOW) == (("optout_meta",) if found else ())


@pytest.mark.parametrize(
    "value",
    [
        "a" + " " * 60_000 + "b",
        " " * 60_000 + ":",
        "unavailable_after:," * 20_000,
        "a:" * 30_000,
        "unavailable_after: " + "1 " * 30_000,
    ],
)
def test_a_value_made_to_be_slow_is_not_x82(value):
    """X82, O3: one of these stopped a lane for ten seconds."""
    start = time.thread_time()
    assert codes(value) == codes(value + ", nofollow") == ()
    assert codes(value + ", robots: noai") == ("optout_xrobots",)
    assert time.thread_time() - start < 2


@given(st.binary(max_size=80))
def test_broken_values_never_raise(value):
    """O3"""
    headers = [(b"X-Robots-Tag", value), (b"X-Robots-Tag", b"unavailable_after: " + value), (b"tdm-reservation", value)]
    assert set(from_headers(headers)) <= {"optout_xrobots", "optout_tdm"}
    assert set(from_meta("robots", value.decode("latin-1"))) <= {"optout_meta"}
