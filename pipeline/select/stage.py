"""select: the choices among rows, made once, last, among the pairs that passed everything else.

Reads   clip  scored pairs
Adds    caption_rank, repeated, duplicate_of, duplicate_bits, image_of; query, query_count, query_draw, query_p
Source  order of choice among copies: ours (most pixels as served, then CLIP score, caption length, pair_id);
        balance: WIT (Radford et al., 2021), as MetaCLIP has it (Xu et al., "Demystifying CLIP Data", 2023)

A changed setting here runs over keys, hashes and scores only. First the pairs of a duplicate cluster are gone through,
best first (`pipeline/select/greedy.py`): one whose image is a copy of a picture that stays goes with it, by the limits
of ``dedup``; any other stays as a representative of its own. With ``select.whole_cluster`` the best pair represents
all. Beside a representative's picture stay ``select.captions_per_image`` captions of the pairs that go with it; a
caption that is already there says nothing new and never stays again.

What this leaves is balanced (`pipeline/select/balance.py`): a pair stays with probability t / max(count, t) for each
query its caption names, where count is the number of pairs left that name it. So at most about ``select.balance_t``
pairs stay by any one query, and rare ones keep all of theirs. Pairs that name none are not capped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import ClassVar

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.core.config import Field, Measure, StageConfig
from pipeline.core.errors import InputError
from pipeline.core.rules import Compare, Rule, col
from pipeline.core.run import Run
from pipeline.core.stage import Measured, Stage
from pipeline.core.tables import read_table, spark_schema, write_table
from pipeline.select.balance import SCRATCH, balance
from pipeline.select.greedy import Choice, choose
from schemas.pairs import IMAGE_COLUMNS, PAIR_COLUMNS, QUERY_COLUMNS
from schemas.select import ADDS, DRAWS

RANKED_FOLDER = "select/ranked"


class Reason(StrEnum):
    """Which choice a pair lost."""

    DUPLICATE_IMAGE = "duplicate_image"
    BALANCE_CAP = "balance_cap"  # of each query it names there are so many pairs that its draw was not among the kept


class Config(StageConfig):
    """How much of a duplicate cluster stays, and of a query. Measure settings: ranks and draws are made for them."""

    captions_per_image: Measure[int] = Field(
        1, ge=1, description="pairs kept beside one picture, its copies' included, with distinct captions"
    )
    whole_cluster: Measure[bool] = Field(
        False, description="keep one picture a duplicate cluster, though others may be no copies of it"
    )
    balance_t: Measure[int] = Field(
        0, ge=0, description="pairs kept of a query, about (WIT, MetaCLIP at 400 million pairs: 20000); 0: no cap"
    )
    balance_tail_share: Measure[float] = Field(
        0, ge=0, lt=1, description="instead of balance_t: share of matches in queries below it (MetaCLIP: 0.06); 0: off"
    )
    balance_seed: Measure[int] = Field(0, ge=0, description="seed of the draws")


class Select(Stage[Config]):
    """Chooses among the pairs of each duplicate cluster, then draws among the pairs of each query."""

    name = "select"
    unit, key = "pair", "pair_id"
    keeps = ("pair", "pair_id")
    reads = ("clip",)
    carries: ClassVar = (*PAIR_COLUMNS, *QUERY_COLUMNS, *IMAGE_COLUMNS, "clip_score")
    measure_version = 3  # 3: greedy inside a cluster
    Config, Reason, adds = Config, Reason, ADDS

    def measure_inputs(self, config: Config, run: Run) -> list[str]:
        """What dedup takes for a copy: with other limits other pairs stay, even where no cluster changes."""
        return [f"{name} {limit}" for name, limit in run.config_of("dedup").limits._asdict().items()]

    def check(self, config: Config, run: Run) -> None:
        """A cap needs queries, and one size."""
        if not _is_capped(config):
            return
        if config.balance_t and config.balance_tail_share:
            raise InputError("config_invalid", "select.balance_t and balance_tail_share are both set: choose one")
        if not run.config_of("text").balance_queries:
            raise InputError("config_invalid", "select.balance_t needs text.balance_queries, the list: set it")

    def measure(self, rows: Mapping[str, DataFrame], config: Config, run: Run, measure_key: str) -> Measured:
        """One row a pair, ranked, and drawn where a cap is set; windows and joins over keys, queries and scores."""
        schema = run.schema(self.name)
        ranked_schema = pa.schema([field for field in schema if field.name not in DRAWS.names[1:]])
        choice = Choice(run.config_of("dedup").limits, config.captions_per_image, config.whole_cluster)
        ranked = self._ranked(rows["clip"], choice, ranked_schema)
        if not _is_capped(config):
            nothing = {field.name: F.lit(None).cast(field.dataType) for field in spark_schema(DRAWS)[1:]}
            return Measured(ranked.withColumns(nothing))
        # Written before it is counted: every step of the balance reads it, and Spark would rank anew for each.
        written = write_table(ranked, run.storage, RANKED_FOLDER, ranked_schema)
        run.storage.sweep(RANKED_FOLDER, {record.path for record in written})
        pairs = read_table(run.spark, run.storage, written, ranked_schema)
        left = pairs.where((F.col("caption_rank") <= config.captions_per_image) & ~F.col("repeated"))
        balanced = balance(left, run, config.balance_t, config.balance_tail_share, config.balance_seed)
        drawn = pairs.join(balanced.draws, "pair_id", "left").select(*schema.names)
        scratch = (RANKED_FOLDER, *SCRATCH)
        return Measured(drawn, files={"queries": balanced.queries}, facts=balanced.facts, scratch=scratch)

    def _ranked(self, scored: DataFrame, choice: Choice, schema: pa.Schema) -> DataFrame:
        """The rows with the columns of CHOICES. A cluster is one task's, and streams through it."""
        best_first = [
            (F.col("original_width").cast("long") * F.col("original_height")).desc(),
            F.col("clip_score").desc_nulls_last(), F.col("caption_chars").desc(), F.col("pair_id"),
        ]  # fmt: skip
        rows = scored.select(*self.carries).repartition("cluster_id").sortWithinPartitions("cluster_id", *best_first)

        def chosen(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return choose(batches, choice)

        return rows.mapInArrow(chosen, spark_schema(schema))

    def rules(self, config: Config) -> list[Rule]:
        """The ledger's detail is the representative's pair_id, or the query that came nearest to keeping the pair.

        A representative is first and never repeated. A pair that names no query has no draw, and stays.
        """
        rank = col("caption_rank")
        rules = [
            Rule(Reason.DUPLICATE_IMAGE, when=(rank > config.captions_per_image) | col("repeated"), value=rank,
                 threshold=config.captions_per_image, detail=col("duplicate_of")),
        ]  # fmt: skip
        if _is_capped(config):
            lost = Compare(">=", col("query_draw"), col("query_p"))
            rules.append(Rule(Reason.BALANCE_CAP, when=lost, value=col("query_count"), detail=col("query"),
                              threshold=config.balance_t or None, nulls_ok=True))  # fmt: skip
        return rules


def _is_capped(config: Config) -> bool:
    return bool(config.balance_t or config.balance_tail_share)
