"""What became of one thing: one answer for any row that entered, by any of its names."""

from __future__ import annotations

import io

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipeline.audit.fate import Station, Why, why
from pipeline.audit.terminal import print_why
from pipeline.core.run import Run


def rows(run: Run, stage: str) -> list[dict]:
    files = run.manifest(stage).files["rows"]
    return [row for file in files for row in pq.read_table(run.storage.path(file.path)).to_pylist()]


def fates(found: Why) -> list[str]:
    return [station.full_name for station in found.stations]


@pytest.mark.parametrize("name", ["pair_id", "candidate_id", "url_id", "image_url", "sha256"])
def test_a_kept_pair_is_found_in_its_shard_by_any_of_its_names(toy: Run, name: str) -> None:
    """A10."""
    pair = rows(toy, "export")[0]
    kept = next(row for row in rows(toy, "text") if row["pair_id"] == pair["pair_id"] and row["pair_rank"] == 1)
    found = why(toy, (kept | pair)[name])
    assert {"text/kept", "fetch/kept", "select/kept", "export/kept"} <= set(fates(found))
    assert pair["pair_id"] in {sample.key for sample in found.samples}
    for sample in found.samples:
        keys = pq.read_table(toy.storage.path(f"corpus/{sample.shard}.parquet"))["key"].to_pylist()
        assert sample.key in keys
    assert found.answer.startswith("kept: in the corpus as corpus/0000")
    assert "2024-05-01T12:00:00Z" in {station.at for station in found.stations}


def test_a_dropped_candidate_names_stage_reason_value_and_threshold(toy: Run) -> None:
    """A10."""
    short = next(row for row in rows(toy, "text") if row["caption"] == "fox")
    found = why(toy, short["candidate_id"])
    assert fates(found) == ["extract/kept", "text/dropped/text_too_short"]
    assert (found.stations[-1].value, found.stations[-1].threshold) == ("3", "5")
    assert found.answer == "dropped: text/dropped/text_too_short"


def test_a_pair_whose_image_was_lost_says_why_the_image_was(toy: Run) -> None:
    """A10: the candidate leads to its pair, the pair to its image."""
    lost = next(row for row in rows(toy, "fetch") if row["outcome"] == "http_4xx")
    pair = next(row for row in rows(toy, "select") if row["url_id"] == lost["url_id"])
    found = why(toy, pair["pair_id"])
    assert fates(found)[-2:] == ["fetch/dropped/http_4xx", "select/dropped/image_dropped"]
    assert next(station.detail for station in found.stations if station.stage == "fetch") == "status 404"


def test_a_repeated_candidate_leads_to_the_pair_that_stands(toy: Run) -> None:
    """A10."""
    pair = rows(toy, "export")[0]["pair_id"]
    again = next(row for row in rows(toy, "text") if row["pair_id"] == pair and row["pair_rank"] == 2)
    found = why(toy, again["candidate_id"])
    assert "text/dropped/duplicate_pair" in fates(found)
    assert [sample.key for sample in found.samples] == [pair]


def test_a_page_answers_for_everything_on_it(toy: Run) -> None:
    """A10: page URLs are normalised like every key; a summary row says what was lost."""
    found = why(toy, "HTTP://shop.example:80/./1#top")
    assert {station.stage for station in found.stations} == {"extract", "text", "fetch", "select", "export"}
    assert "extract/dropped/alt_empty" in fates(found)


def test_a_run_that_is_not_done_says_so(half_toy: Run) -> None:
    """A10, A6."""
    pair = next(row for row in rows(half_toy, "text") if row["caption"].startswith("a wooden"))["pair_id"]
    found = why(half_toy, pair)
    assert found.not_run == ("fetch", "select", "export")
    assert found.samples == ()


@pytest.mark.parametrize(
    "key", ["f" * 32, "f" * 64, "http://nowhere.example/", "no id at all", "", "http://u:hunter2@x.example/"]
)
def test_something_unknown_is_an_answer_too(toy: Run, key: str) -> None:
    """A10, R22: exit 0; and a password in the question is not repeated."""
    found = why(toy, key)
    assert found.stations == ()
    stream = io.StringIO()
    print_why(found, Console(file=stream, width=100))
    assert "no stage of this run has seen it" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_every_row_that_entered_has_an_answer(half_toy: Run) -> None:
    """A10."""
    for row in rows(half_toy, "extract"):
        assert why(half_toy, row["candidate_id"]).stations


def test_tries_before_the_last_one_are_told_with_their_times() -> None:
    tried = ("2026-01-02T03:04:05+00:00 robots_unreachable: robots.txt: http_5xx: 500 \x1b[31m", "2026-01-02T03:05:05")
    station = Station("fetch", "image", "ab", "robots_unreachable", detail="not asked", at="03:05", tried=tried)
    console = Console(file=io.StringIO(), width=160)
    print_why(Why("x", (station,), (), ()), console)
    lines = [line.strip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert lines[1].startswith("before: 2026-01-02T03:04:05+00:00 robots_unreachable: robots.txt: http_5xx: 500 ")
    assert "\x1b" not in lines[1]
    assert lines[2] == "before: 2026-01-02T03:05:05"
