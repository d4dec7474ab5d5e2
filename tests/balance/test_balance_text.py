"""The balance in stage text: matched entries as a column, its reasons, the cap before fetch, and what makes a key."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
import xxhash

from jobs.queries import build
from pipeline import funnel
from pipeline.balance.cap import counted, decided, drawn, let_through
from pipeline.balance.entries import read_queries
from pipeline.core.config_files import load_config
from pipeline.core.errors import InputError
from pipeline.core.progress import Reporter
from pipeline.core.runner import make_plan

ENTRIES = ["red fox", "fox", "lighthouse", "the", "phone"]
CAPTIONS = [
    "A red fox in the snow at dawn",
    "The lighthouse above a stormy sea",
    "A wooden boat on a quiet lake",
    "Call 212-555-0123 about this sofa",
    *(f"The harbour number {number} in winter" for number in range(60)),
]


def draw(pair_id: str, query: str, seed: int) -> float:
    return (xxhash.xxh64_intdigest(f"{seed}\0{pair_id}\0{query}".encode(), 42) >> 11) / 2**53


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A list of URLs with captions, the first ten of them a second time in another spelling, and a list of queries."""
    folder = tmp_path_factory.mktemp("given")
    urls = [f"http://img.test/{number}.jpg" for number in range(len(CAPTIONS))]
    again = [f"http://img.test/%3{number}.jpg" for number in range(10)]
    table = pa.table({"url": urls + again, "caption": CAPTIONS + CAPTIONS[:10]})
    pacsv.write_csv(table, folder / "urls.csv")
    (folder / "queries.json").write_text(json.dumps(ENTRIES))
    return SimpleNamespace(folder=folder, urls=folder / "urls.csv", queries=folder / "queries.json")


def opened(given: SimpleNamespace, folder: Path, **sets: Any) -> Any:
    settings = {"text.balance_queries": str(given.queries)} | {
        name.replace("__", "."): value for name, value in sets.items()
    }
    sets_ = [
        f"extract.inputs={json.dumps([str(given.urls)])}",
        *(f"{name}={json.dumps(value)}" for name, value in settings.items()),
    ]
    return funnel.open_run(str(folder), load_config(funnel.Config, sets=sets_), Reporter(quiet=True))


def judged(run: Any) -> dict[str, dict[str, Any]]:
    """Rows with their reason, by caption (equal rows of a pair fall together where they are judged alike)."""
    rows = [row.asDict() for row in run.judged("text").collect()]
    return {row["caption"]: row for row in sorted(rows, key=lambda row: -row["pair_rank"])}


def test_matched_entries_are_a_column_and_pairs_without_one_can_be_dropped_t14(spark, given, tmp_path: Path) -> None:
    """T14: no_query_match. A masked phone number is no phone."""
    run = opened(given, tmp_path, text__balance_unmatched="drop")
    funnel.build(run, until="text")
    rows = judged(run)
    assert rows[CAPTIONS[0]]["queries"] == ["fox", "red fox", "the"]
    assert (rows[CAPTIONS[1]]["queries"], rows[CAPTIONS[1]]["_reason"]) == (["lighthouse", "the"], None)
    assert (rows[CAPTIONS[2]]["queries"], rows[CAPTIONS[2]]["_reason"]) == ([], "no_query_match")
    masked = next(row for caption, row in rows.items() if caption.startswith("Call"))
    assert masked["queries"] == []
    assert {row["query_shares"] for row in rows.values()} == {row["is_let_through"] for row in rows.values()} == {None}
    assert run.manifest("text").dropped["no_query_match"] == 4
    assert not list(tmp_path.glob("text/queries/*"))  # the index is gone with the work it was for
    moved = tmp_path / "moved.json"
    moved.write_bytes(given.queries.read_bytes())
    run = opened(given, tmp_path, text__balance_queries=str(moved), text__balance_unmatched="drop")
    assert make_plan(funnel.BY_NAME["text"], run).is_current


def test_the_key_of_the_measurements_has_the_entries_and_not_their_file(spark, given, tmp_path: Path) -> None:
    def key(**sets: Any) -> list[Any]:
        run, text = opened(given, tmp_path / "never", **sets), funnel.BY_NAME["text"]
        context = run.context("text")
        return [*text.contents(context.config).items(), *map(context.setting, text.looks_at(context.config).settings)]

    twin = tmp_path / "twin.tsv"
    twin.write_text("origin\tentry\n" + "".join(f"x\t{entry.upper()}\n" for entry in reversed(ENTRIES)))
    more = tmp_path / "more.json"
    more.write_text(json.dumps([*ENTRIES, "boat"]))
    assert key(text__balance_queries=str(twin)) == key()
    assert len({*map(tuple, (key(), key(text__balance_queries=str(more)), key(text__balance_queries="")))}) == 3
    capped = {"text__balance_prefetch_factor": 2.0, "select__balance_t": 5}
    six, seeded = key(**capped | {"select__balance_t": 6}), key(**capped, select__balance_seed=1)
    assert len({*map(tuple, (key(), key(**capped), six, seeded))}) == 4
    assert key(select__balance_t=5) == key()


def test_the_cap_before_fetch_gives_all_rows_of_a_pair_one_verdict_t14(spark, given, tmp_path: Path) -> None:
    """T14: the same draws as in select, counted over the pairs that entered; what matches nothing is let through."""
    run = opened(given, tmp_path, text__balance_prefetch_factor=2.0, select__balance_t=5, select__balance_seed=4)
    funnel.build(run, until="text")
    rows = [row.asDict() for row in run.judged("text").collect()]
    counts = Counter(query for row in rows if row["pair_rank"] == 1 for query in row["queries"])
    assert counts["the"] == 62
    for row in rows:
        share = {query: 10 / max(counts[query], 10) for query in row["queries"]}
        through = not row["queries"] or any(draw(row["pair_id"], query, 4) < share[query] for query in row["queries"])
        assert row["is_let_through"] == through
        assert row["query_shares"] == ([share[query] for query in row["queries"]] or None)
        assert row["_reason"] == ("balance_cap" if not through else "duplicate_pair" if row["pair_rank"] > 1 else None)
    twins = Counter((row["_reason"], row["pair_rank"]) for row in rows)
    assert {("balance_cap", 2), ("duplicate_pair", 2), (None, 1)} <= twins.keys()


def test_words_of_a_runs_captions_are_counted_without_what_stands_for_personal_data(
    spark, given, tmp_path: Path
) -> None:
    funnel.build(opened(given, tmp_path / "run"), until="text")
    build(output=tmp_path / "list.tsv", run=str(tmp_path / "run"), min_count=1, min_pmi=-99.0)
    entries = read_queries(str(tmp_path / "list.tsv")).entries
    assert {"call", "about", "about this", "the"} <= {*entries}
    assert not {"phone", "call phone", "phone about", "call about"} & {*entries}


SETTINGS: Mapping[str, tuple[dict[str, Any], str]] = {
    "no list, unmatched": ({"text__balance_queries": "", "text__balance_unmatched": "drop"}, "names no list"),
    "no list, factor": ({"text__balance_queries": "", "text__balance_prefetch_factor": 2.0}, "names no list"),
    "no cap": ({"text__balance_prefetch_factor": 2.0}, "needs select.balance_t"),
    "small factor": ({"text__balance_prefetch_factor": 0.5, "select__balance_t": 5}, "0.5: it must be 0 or at least 1"),
    "no file": ({"text__balance_queries": "nosuch.tsv"}, "resource_missing: list of queries nosuch.tsv"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_cannot_work_are_refused_before_the_first_row_t16(given, tmp_path: Path, case: str) -> None:
    """T16: no row is read, nothing is written."""
    sets, text = SETTINGS[case]
    with pytest.raises(InputError, match=text):
        funnel.build(opened(given, tmp_path / "run", **sets), until="text")
    assert not list(tmp_path.glob("run/*/rows"))


def test_a_cap_before_fetch_leaves_nearly_the_set_that_there_would_be_without(spark) -> None:
    """Half of the pairs are lost between the two caps. Without its correction select would keep twice its cap."""
    rows = [(f"{number:032x}", ["dog", "the"] if number % 4 else ["the"]) for number in range(4_000)]
    pairs = spark.createDataFrame(
        [(*row, None) for row in rows], "pair_id string, queries array<string>, query_shares array<double>"
    )
    survivors = "conv(substr(pair_id, 32, 1), 16, 10) % 2 = 0"

    def kept(left: Any) -> set[str]:
        draws = drawn(left, 0)
        return {row["pair_id"] for row in decided(draws, counted(draws), 100).where("query_draw < query_p").collect()}

    through = let_through(pairs, 400, 0).where("is_let_through").drop("is_let_through")
    late, early = (
        kept(pairs.where(survivors)),
        kept(pairs.drop("query_shares").join(through, "pair_id").where(survivors)),
    )
    assert 150 < len(late) < 250
    assert len(late & early) > 0.85 * max(len(late), len(early))
