"""The cap on how many pairs a query keeps, on Spark: the rule, what cannot move it, and the set that plain Python keeps.

The pairs come from a stage that stands for clip; their queries are matched by the index where captions are real.
"""

from __future__ import annotations

import gzip
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from pipeline import funnel
from pipeline.audit import funnel_table, write_report
from pipeline.balance.cap import cap_of_tail_share
from pipeline.balance.folding import fold_texts
from pipeline.balance.index import Index, build_index
from pipeline.core.config import Operate, StageConfig
from pipeline.core.context import Context
from pipeline.core.errors import InputError
from pipeline.core.progress import Reporter
from pipeline.core.rules import Rule
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.stage import Measured, Stage, rows_schema
from pipeline.core.storage import open_storage
from pipeline.core.tables import write_file
from pipeline.core.user_rules import UserRule
from pipeline.funnel import BY_NAME
from pipeline.stages.clip.stage import Clip
from pipeline.stages.dedup.stage import Dedup
from pipeline.stages.select.stage import Select
from pipeline.stages.text.config import Config as TextConfig

SCORED = rows_schema(Clip(), BY_NAME)
PAIRS = pa.schema([SCORED.field(name) for name in Select.carries], metadata=SCORED.metadata)
Queries = Mapping[str, Sequence[str]]
"""By pair_id."""


class Scored(Stage[Clip.Config]):
    """Scored pairs, as clip would hand them on; from a table, in so many partitions."""

    name, unit, key, keeps, fans_out = "clip", "pair", "pair_id", ("pair", "pair_id"), True
    Config, Reason, adds = Clip.Config, Clip.Reason, PAIRS
    table: ClassVar[pa.Table]
    partitions: ClassVar[int] = 1

    def measure(self, context: Context[Any]) -> Measured:
        file = write_file(context.storage, "clip/given", PAIRS, [self.table])
        given = context.spark.read.parquet(str(context.storage.path(file.path)))
        return Measured(given.repartition(self.partitions))

    def rules(self, config: Clip.Config) -> list[Rule]:
        return []


class Config(StageConfig):
    text: Operate[TextConfig] = TextConfig()
    dedup: Operate[Dedup.Config] = Dedup.Config()
    clip: Operate[Clip.Config] = Clip.Config()
    select: Operate[Select.Config] = Select.Config()
    spark: Operate[SparkConfig] = SparkConfig()
    rules: Operate[list[UserRule]] = []  # noqa: RUF012


def pairs_of(queries: Queries, **columns: Mapping[str, Any]) -> pa.Table:
    """A table of pairs, each an image of its own unless ``columns`` say otherwise."""
    rows = [
        {"pair_id": pair_id, "url_id": pair_id, "cluster_id": pair_id, "caption_id": pair_id, "queries": list(some)}
        | {name: values.get(pair_id) for name, values in columns.items()}
        for pair_id, some in queries.items()
    ]
    return pa.Table.from_pylist(rows, schema=PAIRS)


@pytest.fixture(scope="module")
def choose(spark: object, tmp_path_factory: pytest.TempPathFactory):
    """choose(table, balance_t=...) runs select in a folder of its own: rows by pair_id, kept ids, manifest, queries."""

    def run_select(table: pa.Table, partitions: int = 1, **select: Any) -> SimpleNamespace:
        Scored.table, Scored.partitions = table, partitions
        config = Config.model_validate({"select": select})
        stages = {"clip": Scored(), "select": Select()}
        run = Run(open_storage(str(tmp_path_factory.mktemp("run"))), config, stages, Reporter(quiet=True))
        with open_for_writing(run):
            run_stage(run.stages["clip"], run)
            manifest = run_stage(run.stages["select"], run)
        read = {
            role: pa.concat_tables([pq.read_table(run.storage.path(file.path)) for file in files]).to_pylist()
            for role, files in manifest.files.items()
        }
        rows, ledger = ({row[key]: row for row in read[role]} for role, key in (("rows", "pair_id"), ("ledger", "key")))
        folders_left = {path.parent.name for path in Path(run.storage.root, "select").glob("*/*")}
        by_query = {row["query"]: (row["before"], row["after"]) for row in read.get("queries", [])}
        return SimpleNamespace(
            run=run,
            rows=rows,
            ledger=ledger,
            kept=rows.keys() - ledger.keys(),
            manifest=manifest,
            queries=by_query,
            folders=folders_left,
        )

    return run_select


def draw(pair_id: str, query: str, seed: int) -> float:
    """The documented formula, by another implementation of XXH64 than Spark's."""
    return (xxhash.xxh64_intdigest(f"{seed}\0{pair_id}\0{query}".encode(), 42) >> 11) / 2**53


def kept_by_hand(queries: Queries, cap: int, seed: int = 0) -> set[str]:
    """MetaCLIP's algorithm 1, a pair at a time; a pair that names nothing stays."""
    counts = Counter(query for some in queries.values() for query in some)
    return {
        pair_id
        for pair_id, some in queries.items()
        if not some or any(draw(pair_id, query, seed) < cap / max(counts[query], cap) for query in some)
    }


def matched(captions: Sequence[str], entries: Sequence[str]) -> Queries:
    index = Index.over(build_index(sorted({entry for entry in fold_texts(list(entries)) if entry})))
    found = index.match(pa.array(captions)).to_pylist()
    return {f"{number:032x}": some for number, some in enumerate(found)}


def skewed(pairs: int, seed: int) -> Queries:
    """Pairs with queries of very different counts: all name ``the``, five name ``rare``, some name nothing."""
    dice = random.Random(seed)
    queries: dict[str, list[str]] = {}
    for number in range(pairs):
        some = ["the", *(["dog"] if dice.random() < 0.3 else []), *(["red fox", "fox"] if dice.random() < 0.1 else [])]
        queries[f"{number:032x}"] = [] if number % 50 == 49 else sorted({*some, *(["rare"] if number < 5 else [])})
    return queries


QUERIES = skewed(1_000, 1)
COUNTS = Counter(query for some in QUERIES.values() for query in some)
CAP, SEED = 60, 9


@pytest.fixture(scope="module")
def balanced(choose) -> SimpleNamespace:
    """QUERIES under CAP."""
    return choose(pairs_of(QUERIES), balance_t=CAP, balance_seed=SEED)


def test_a_query_over_the_cap_keeps_about_so_many_and_a_small_one_all_t14(balanced) -> None:
    """T14: five rows of a query are untouched; a row over the cap in all its queries has the reason and the query."""
    assert balanced.kept == kept_by_hand(QUERIES, CAP, SEED)
    assert {f"{number:032x}" for number in range(5)} <= balanced.kept
    assert {pair_id for pair_id, some in QUERIES.items() if not some} <= balanced.kept
    assert balanced.manifest.dropped == {"balance_cap": len(QUERIES) - len(balanced.kept)}
    only_the = [pair_id for pair_id, some in QUERIES.items() if some == ["the"]]
    assert 0.5 < len(balanced.kept.intersection(only_the)) / (CAP * len(only_the) / COUNTS["the"]) < 2
    dropped = balanced.ledger[min(balanced.ledger)]
    assert (dropped["value"], dropped["threshold"]) == (str(COUNTS[dropped["detail"]]), str(CAP))
    assert dropped["detail"] in QUERIES[dropped["key"]]


def test_the_columns_say_why_a_pair_stays(balanced) -> None:
    p = {query: CAP / max(count, CAP) for query, count in COUNTS.items()}
    for pair_id, row in balanced.rows.items():
        if not QUERIES[pair_id]:
            assert [row[name] for name in ("query", "query_count", "query_draw", "query_p")] == [None] * 4
            continue
        _, nearest = min((draw(pair_id, query, SEED) / p[query], query) for query in QUERIES[pair_id])
        assert (row["query"], row["query_count"], row["query_p"]) == (nearest, COUNTS[nearest], p[nearest])
        assert row["query_draw"] == draw(pair_id, nearest, SEED)
        assert (pair_id in balanced.kept) == (row["query_draw"] < row["query_p"])


def test_the_table_of_queries_counts_before_and_after(balanced) -> None:
    after = Counter(query for pair_id in balanced.kept for query in QUERIES[pair_id])
    assert balanced.queries == {query: (COUNTS[query], after[query]) for query in COUNTS}
    assert balanced.queries["rare"] == (5, 5)
    facts = balanced.manifest.facts
    assert (facts["balance_t"], facts["matches_before"], facts["matches_after"]) == (CAP, COUNTS.total(), after.total())
    assert (facts["tail_matches_before"], facts["tail_matches_after"]) == (5, 5)
    assert balanced.folders == {"rows", "ledger", "queries"}


def test_the_audit_shows_the_distribution_before_and_after(balanced) -> None:
    run = balanced.run
    page = Path(write_report(run, funnel_table(run))).read_text()
    table = pq.read_table(run.storage.path("audit/tables/balance.parquet")).to_pylist()
    decades = {len(str(count)): [0, 0, 0] for count in COUNTS.values()}
    for query, (before, after) in balanced.queries.items():
        decades[len(str(before))] = [
            old + new for old, new in zip(decades[len(str(before))], (1, before, after), strict=True)
        ]
        assert f">{query}</td>" in page
    assert [[row["queries"], row["before"], row["after"]] for row in table] == [
        decades[digits] for digits in sorted(decades)
    ]
    assert [row["lowest"] for row in table] == [10 ** (digits - 1) for digits in sorted(decades)]
    assert "Balance over queries: at most about 60 pairs each" in page


def test_neither_partitions_nor_order_move_a_draw_t14(choose, balanced) -> None:
    """T14: the same rows and ledger for 1 and 7 partitions and another order of the rows."""
    table = pairs_of(QUERIES)
    shuffled = table.take(random.Random(0).sample(range(len(table)), len(table)))
    other = choose(shuffled, partitions=7, balance_t=CAP, balance_seed=SEED)
    assert other.rows == balanced.rows
    assert other.ledger == balanced.ledger
    assert other.queries == balanced.queries
    assert other.manifest.keeps.digest == balanced.manifest.keeps.digest


def test_growing_counts_only_take_pairs_away_and_another_seed_draws_anew(choose, balanced) -> None:
    more = {f"{number + 10_000:032x}": ["dog", "the"] for number in range(700)}
    kept_among_more = choose(pairs_of(QUERIES | more), balance_t=CAP, balance_seed=SEED).kept
    assert kept_among_more & QUERIES.keys() < balanced.kept
    assert kept_by_hand(QUERIES, CAP, SEED + 1) != balanced.kept


def test_a_derived_cap_is_as_a_given_one(choose) -> None:
    counts = sorted(COUNTS.values())
    derived = choose(pairs_of(QUERIES), balance_tail_share=(counts[0] + 1) / sum(counts), balance_seed=SEED)
    assert derived.manifest.facts["balance_t"] == counts[1]
    assert derived.kept == kept_by_hand(QUERIES, counts[1], SEED)


def test_counts_are_of_the_pairs_that_the_clusters_left(choose) -> None:
    """The copies of a picture do not make its queries common."""
    queries = {f"{number:032x}": ["fox"] for number in range(300)}
    one_picture = {pair_id: "c" for pair_id in queries if int(pair_id, 16) >= 60} | {
        f"{n:032x}": f"{n}" for n in range(60)
    }
    done = choose(pairs_of(queries, cluster_id=one_picture, sha256=one_picture), balance_t=61)
    assert done.manifest.dropped == {"duplicate_image": 239}
    assert {row["query_count"] for row in done.rows.values()} == {61, None}
    assert done.queries == {"fox": (61, 61)}


@pytest.mark.parametrize(("share", "cap"), [(0.0, 3), (0.05, 3), (0.29, 3), (0.3, 7), (0.31, 7), (0.99, 7)])
def test_a_tail_share_gives_the_largest_cap_whose_tail_is_no_larger(spark, share: float, cap: int) -> None:
    """Of ten matches three lie in a query of three, seven in a query of seven."""
    counts = spark.createDataFrame([("small", 3), ("large", 7)], "query string, count long")
    assert cap_of_tail_share(counts, share) == cap
    assert cap_of_tail_share(counts.limit(0), share) == 1


def test_without_a_cap_nothing_is_drawn(choose) -> None:
    done = choose(pairs_of(skewed(50, 7)))
    assert done.manifest.kept == 50
    assert {row["query_draw"] for row in done.rows.values()} == {None}
    assert "queries" not in done.manifest.files


def test_a_cap_of_two_sizes_is_refused(tmp_path: Path, quiet: Reporter) -> None:
    config = Config.model_validate({"select": {"balance_t": 5, "balance_tail_share": 0.1}})
    run = Run(open_storage(str(tmp_path)), config, {"select": Select()}, quiet)
    with pytest.raises(InputError, match="choose one"):
        Select().check(run.context("select"))


def test_a_cap_over_queries_needs_a_list_of_them() -> None:
    config = funnel.Config.model_validate({"select": {"balance_t": 5}})
    with pytest.raises(InputError, match=r"select\.balance_t needs a list of queries; set text\.balance_queries"):
        funnel.require_queries(config)


def flickr_captions(shared_data: Path, rows: int) -> list[str]:
    with gzip.open(shared_data / "flickr8k-captions.tsv.gz", "rt", encoding="utf-8") as lines:
        captions = [line.rstrip("\n").split("\t")[2] for line in lines][1:]
    return random.Random(8).sample(captions, rows)


def check_real_captions(choose, captions: list[str], cap: int) -> None:
    words = Counter(word for caption in captions for word in caption.casefold().split())
    words += Counter(" ".join(two) for caption in captions for two in pairwise(caption.split()))
    queries = matched(captions, [entry for entry, count in words.items() if count >= 20])
    done = choose(pairs_of(queries), partitions=3, balance_t=cap)
    assert done.kept == kept_by_hand(queries, cap)
    assert 0.1 < len(done.kept) / len(captions) < 0.9


def test_the_kept_set_is_that_of_plain_python(choose, shared_data: Path) -> None:
    laion = pq.read_table(shared_data / "laion_urls_10k.parquet")["caption"].to_pylist()
    check_real_captions(choose, flickr_captions(shared_data, 3_500) + laion[:1_500], cap=2)


@pytest.mark.long
def test_the_kept_set_of_fifty_thousand_captions_is_that_of_plain_python(choose, shared_data: Path) -> None:
    laion = pq.read_table(shared_data / "laion_urls_10k.parquet")["caption"].to_pylist()
    check_real_captions(choose, flickr_captions(shared_data, 50_000 - len(laion)) + laion, cap=5)
