"""The rules of fetch on single rows, by pyarrow, and the closed set of reasons."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.core.rules import verdicts
from pipeline.stages.fetch.blocklist import NO_BLOCKLIST
from pipeline.stages.fetch.config import Config
from pipeline.stages.fetch.image_rows import Examiner, image_settings, measure_answer, refuse_opted_out, want
from pipeline.stages.fetch.reasons import RETRYABLE, Reason
from pipeline.stages.fetch.stage import Fetch
from pipeline.web.client import Answer, Head
from pipeline.web.reasons import NetReason
from schemas.fetch import ADDS

GOOD = {"outcome": "ok", "short_side": 64, "aspect": 5.0, "spread": 2.0, "entropy": 0.5}


def reason_of(config: Config | None = None, **columns: object) -> str | None:
    table = pa.Table.from_pylist([GOOD | columns], schema=ADDS)
    [found] = verdicts(table, Fetch().rules(config or Config()))
    return found and found.reason


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, None),
        ({"short_side": 63}, "too_small"),
        ({"short_side": 1, "aspect": 40.0}, "too_small"),
        ({"aspect": 5.01}, "aspect_ratio"),
        ({"spread": 1.99}, "blank_image"),
        ({"entropy": 0.49}, "low_entropy"),
        ({"spread": 1.99, "entropy": 0.0}, "blank_image"),
        ({"outcome": "http_4xx", "short_side": None}, "http_4xx"),
        ({"outcome": "decode_failed"}, "decode_failed"),
        ({"outcome": "rule_error"}, "rule_error"),
        ({"outcome": None}, "not_measured"),
        ({"spread": float("nan")}, "not_measured"),
    ],
)
def test_each_image_gets_the_first_reason_that_applies(columns: dict, reason: str | None) -> None:
    """F38, F39: blank pictures, spacers and banners, with the thresholds of docs/faults.md."""
    assert reason_of(**columns) == reason


def test_thresholds_are_settings() -> None:
    loose = Config(min_side=0, max_aspect=50, min_spread=0, min_entropy=0)
    assert reason_of(loose, short_side=1, aspect=40.0, spread=0.0, entropy=0.0) is None


@pytest.mark.parametrize("reason", NetReason)
def test_every_reason_of_the_network_drops_its_row(reason: NetReason) -> None:
    assert reason_of(outcome=reason.value) == reason.value


def test_reasons_are_one_closed_set_and_what_is_final_is_never_asked_again() -> None:
    assert len({reason.value for reason in Reason}) == len(list(Reason))
    assert set(RETRYABLE) < {reason.value for reason in Reason}
    assert {"http_5xx", "deadline_exceeded", "dns_failed", "connect_failed", "rate_limited"} <= set(RETRYABLE)
    assert not {"http_4xx", "not_an_image", "decode_failed", "robots_disallow", "optout_xrobots"} & set(RETRYABLE)


def test_an_opt_out_in_the_head_is_refused_before_the_body() -> None:
    assert (
        refuse_opted_out(Head("http://h.example/a", 200, (), ("optout_tdm", "optout_xrobots"))) is NetReason.OPTOUT_TDM
    )
    assert refuse_opted_out(Head("http://h.example/a", 200, (), ())) is None


def test_avif_is_asked_for_where_it_is_read() -> None:
    assert "image/avif" not in want(Config()).accept
    assert want(Config(avif=True)).accept.startswith("image/avif")
    assert image_settings(Config(avif=True)).limits.avif


def test_html_served_as_a_picture_is_no_image_f25() -> None:
    """F25: the first bytes decide, not the header."""
    answer = Answer(
        "http://h.example/a",
        "http://h.example/a",
        status=200,
        body=b"<!doctype html><p>gone",
        tries=1,
        raw_headers=((b"Content-Type", b"image/jpeg"),),
        fetched_at="2026-01-01T00:00:00+00:00",
    )
    with Examiner(image_settings(Config()), NO_BLOCKLIST) as examiner:
        row, picture = measure_answer(answer, examiner)
    assert picture is None
    assert (row["outcome"], row["content_type"], row["http_status"]) == ("not_an_image", "image/jpeg", 200)


def test_a_measured_picture_has_every_column_but_its_place(picture) -> None:
    answer = Answer("http://h.example/a", "http://h.example/b", status=200, body=picture(1, 600, 300, "JPEG"), tries=2)
    with Examiner(image_settings(Config(image_size=128)), NO_BLOCKLIST) as examiner:
        row, data = measure_answer(answer, examiner)
    assert row["outcome"] == "ok", row
    assert data is not None
    assert (row["original_width"], row["original_height"], row["width"], row["height"]) == (600, 300, 128, 64)
    of_its_place = {"try_number", "expected_sha256", "fetched_url", "image_file", "image_offset", "image_bytes"}
    assert set(ADDS.names) - set(row) == of_its_place
    assert reason_of(**row) is None
