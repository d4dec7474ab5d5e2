"""select: the choices among rows, made last, among the pairs that passed all other stages.

Reads   clip  scored pairs
Adds    caption_rank, repeated, duplicate_of, duplicate_bits, image_of; domain, domain_rank;
        query, query_count, query_draw, query_p
Source  order of choice among copies: ours (most pixels as served, then CLIP score, caption length, pair_id);
        balance: WIT (Radford et al., 2021), as MetaCLIP has it (Xu et al., "Demystifying CLIP Data", 2023)

After a changed setting only keys, hashes and scores are read. First the pairs of a duplicate cluster are visited,
best first (`pipeline/stages/select/greedy.py`): one whose image is a copy of an image that stays is dropped, by the
limits of ``dedup``; any other stays as a representative of its own. With ``select.whole_cluster`` the best pair
represents all. A representative's image keeps ``select.captions_per_image`` captions, its own and those of its
copies. A caption that it already has is never kept twice.

Then ``select.images_per_domain`` caps the images of one registered domain, drawn by url_id, which is a hash: a site
of a million photographs is one site. An image is dropped with all its captions; its copies are dropped before.

These pairs are balanced (`pipeline/stages/select/query_cap.py`): a pair stays with probability t / max(count, t)
for each query its caption names, where count is the number of pairs left that name it. So at most about
``select.balance_t`` pairs stay per query, and rare queries keep all. Pairs that name no query are not capped.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from pipeline.copies.signature import CopyLimits
from pipeline.core.config import Field, Measure, StageConfig
from pipeline.core.context import Context, LooksAt
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.rules import Compare, Rule, col
from pipeline.core.stage import Measured, Stage
from pipeline.core.tables import rewritten, spark_schema, together
from pipeline.stages.select.greedy import Choice, choose
from pipeline.stages.select.query_cap import SCRATCH, balance
from schemas.pairs import CHOICE_COLUMNS, IMAGE_COLUMNS, PAIR_COLUMNS
from schemas.select import ADDS, DOMAIN_RANKS, DRAWS

COPY_LIMITS = ("dedup.max_distance", "dedup.max_distance256", "dedup.max_chroma")
RANKED_FOLDER, DOMAINS_FOLDER = "select/ranked", "select/domains"


class Reason(StrEnum):
    """Which choice a pair lost."""

    DUPLICATE_IMAGE = "duplicate_image"
    DOMAIN_CAP = "domain_cap"  # its registered domain has enough images before it
    BALANCE_CAP = "balance_cap"  # each query it names has so many pairs that its draw was not among the kept ones


class Config(StageConfig):
    """How many pairs stay per duplicate cluster and per query. Measure settings: ranks and draws depend on them."""

    captions_per_image: Measure[int] = Field(
        1, ge=1, description="pairs kept per image, its copies included, with distinct captions"
    )
    whole_cluster: Measure[bool] = Field(
        False, description="keep one image per duplicate cluster, even if others are not copies of it"
    )
    images_per_domain: Measure[int] = Field(
        0, ge=0, description="images kept per registered domain, drawn by url_id, copies included; 0: no cap"
    )
    balance_t: Measure[int] = Field(
        0, ge=0, description="approximate pairs kept per query (WIT, MetaCLIP at 400 million pairs: 20000); 0: no cap"
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
    carries: ClassVar = (*PAIR_COLUMNS, *CHOICE_COLUMNS, *IMAGE_COLUMNS, "clip_score")
    measure_version = 3  # 3: greedy inside a cluster
    Reason, adds = Reason, ADDS

    def looks_at(self, config: Config) -> LooksAt:
        """The limits of dedup for copies: with other limits other pairs stay, even if no cluster changes."""
        return LooksAt(settings=COPY_LIMITS)

    def check(self, context: Context[Config]) -> None:
        """Only one of the two settings may give the cap."""
        if context.config.balance_t and context.config.balance_tail_share:
            raise InputError(
                ErrorCode.CONFIG_INVALID, "select.balance_t and balance_tail_share are both set: choose one"
            )

    def measure(self, context: Context[Config]) -> Measured:
        """One row per pair, ranked, and drawn if a cap is set; windows and joins over keys, queries and scores."""
        schema, config = context.schema, context.config
        later = {*DOMAIN_RANKS.names[1:], *DRAWS.names[1:]}
        ranked_schema = pa.schema([field for field in schema if field.name not in later])
        choice = Choice(CopyLimits(*map(context.setting, COPY_LIMITS)), config.captions_per_image, config.whole_cluster)
        ranked = self._ranked(context.kept("clip"), choice, ranked_schema)
        if not (config.images_per_domain or is_capped(config)):
            return Measured(_filled(ranked, schema))
        # Written before it is counted: every step of a cap reads it, and Spark would rank again for each.
        pairs, _ = rewritten(ranked, context.storage, RANKED_FOLDER, ranked_schema)
        left = pairs.where((F.col("caption_rank") <= config.captions_per_image) & ~F.col("repeated"))
        scratch: tuple[str, ...] = (RANKED_FOLDER,)
        if config.images_per_domain:
            ranks, _ = rewritten(domain_ranks(left), context.storage, DOMAINS_FOLDER, DOMAIN_RANKS)
            pairs, left = pairs.join(ranks, "pair_id", "left"), left.join(ranks, "pair_id", "left")
            left = left.where(F.coalesce("domain_rank", F.lit(0)) <= config.images_per_domain)
            scratch = (RANKED_FOLDER, DOMAINS_FOLDER)
        if not is_capped(config):
            return Measured(_filled(pairs, schema), scratch=scratch)
        balanced = balance(left, context.storage, config.balance_t, config.balance_tail_share, config.balance_seed)
        drawn = _filled(pairs.join(balanced.draws, "pair_id", "left"), schema)
        return Measured(drawn, files={"queries": balanced.queries}, facts=balanced.facts, scratch=(*scratch, *SCRATCH))

    def _ranked(self, scored: DataFrame, choice: Choice, schema: pa.Schema) -> DataFrame:
        """The rows with the columns of CHOICES. One task streams each cluster."""
        best_first = [
            (F.col("original_width").cast("long") * F.col("original_height")).desc(),
            F.col("clip_score").desc_nulls_last(),
            F.col("caption_chars").desc(),
            F.col("pair_id"),
        ]
        clusters = together(scored.select(*self.carries), "cluster_id")
        rows = clusters.sortWithinPartitions("cluster_id", *best_first)

        def chosen(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return choose(batches, choice)

        return rows.mapInArrow(chosen, spark_schema(schema))

    def rules(self, config: Config) -> list[Rule]:
        """The ledger's detail is the representative's pair_id, or the query that came nearest to keeping the pair.

        A representative is first and never repeated. A pair that names no query has no draw, and stays.
        """
        rank = col("caption_rank")
        rules = [
            Rule(
                Reason.DUPLICATE_IMAGE,
                when=(rank > config.captions_per_image) | col("repeated"),
                value=rank,
                threshold=config.captions_per_image,
                detail=col("duplicate_of"),
            ),
        ]
        if config.images_per_domain:
            place = col("domain_rank")
            most = config.images_per_domain
            rules.append(
                Rule(
                    Reason.DOMAIN_CAP,
                    when=place > most,
                    value=place,
                    threshold=most,
                    detail=col("domain"),
                    nulls_ok=True,
                )
            )
        if is_capped(config):
            lost = Compare(">=", col("query_draw"), col("query_p"))
            rules.append(
                Rule(
                    Reason.BALANCE_CAP,
                    when=lost,
                    value=col("query_count"),
                    detail=col("query"),
                    threshold=config.balance_t or None,
                    nulls_ok=True,
                )
            )
        return rules


def domain_ranks(left: DataFrame) -> DataFrame:
    """DOMAIN_RANKS of the pairs that are left. All pairs of one image share its place, in the domain that it came
    from; an image without a domain has none.
    """
    representatives = left.where("duplicate_of is null and image_domain != ''")
    pictures = representatives.select("image_of", F.col("image_domain").alias("domain"))
    place = F.row_number().over(Window.partitionBy("domain").orderBy("image_of"))
    ranked = pictures.withColumn("domain_rank", place.cast("long"))
    return left.select("pair_id", "image_of").join(ranked, "image_of").select(*DOMAIN_RANKS.names)


def _filled(rows: DataFrame, schema: pa.Schema) -> DataFrame:
    """The columns of ``schema``, null if a choice was not made."""
    missing = [field for field in spark_schema(schema) if field.name not in rows.columns]
    nothing = {field.name: F.lit(None).cast(field.dataType) for field in missing}
    return rows.withColumns(nothing).select(*schema.names)


def is_capped(config: Config) -> bool:
    return bool(config.balance_t or config.balance_tail_share)
