"""text: a clean caption and its language for every candidate; the kept candidates are pairs.

Reads   extract  alt_text (raw; not handed on), image and page columns
Adds    caption and its measurements; counts over all candidates that entered
Source  length rule: LAION-400M (Schuhmann et al., 2021); langdetect with seed 0

All candidates of one pair get the same verdict, because the rules read only values that are equal for them or united
over all rows that entered. The last rule, `duplicate_pair`, keeps one. It is chosen by page URL and image URL, and only
among equal ones by candidate_id: that depends on the capture date, and another crawl of the same pages must give the
same corpus. An opt-out on any page that shows an image counts for every pair of that image. It is checked before the
image is requested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.core.beside import PLACE, beside, with_places
from pipeline.core.context import Context, LooksAt
from pipeline.core.rules import CoreReason, Rule, col
from pipeline.core.stage import Measured, Stage
from pipeline.core.tables import Through, each_once, with_columns, written
from pipeline.stages.text import named_queries
from pipeline.stages.text.captions import COLUMNS, URL_COLUMNS, measure_batch, measure_urls
from pipeline.stages.text.clean import LONGEST_CLEANED
from pipeline.stages.text.config import Config
from pipeline.stages.text.counts import COUNTED, with_counts
from pipeline.stages.text.language.names import require_languages
from pipeline.stages.text.named_queries import CHOICE_COLUMNS, IndexFile, measure_file
from pipeline.stages.text.pii import require_regions
from pipeline.stages.text.reasons import Reason
from pipeline.stages.text.terms import Lists, read_lists
from schemas.text import ADDS

CAPTIONS_FOLDER = "text/captions"
PII = ("emails", "phones", "ips", "cards")
OPTOUTS = (Reason.OPTOUT_META, Reason.OPTOUT_TDM, Reason.OPTOUT_XROBOTS)


class Text(Stage[Config]):
    """Cleans, detects, counts."""

    name = "text"
    unit, key = "candidate", "candidate_id"
    keeps = ("pair", "pair_id")
    reads = ("extract",)
    carries: ClassVar = (
        "candidate_id",
        "count",
        "pair_id",
        "url_id",
        "page_id",
        "image_url",
        "caption_source",
        "page_url",
        "page_lang",
    )
    measure_version = 3  # 3: references decoded once, card numbers as printed
    Reason, adds = Reason, ADDS

    def looks_at(self, config: Config) -> LooksAt:
        """Opt-outs on every page that shows an image and on redirects to it, and the cap of select, used early here."""
        cap = ("select.balance_t", "select.balance_seed") if config.balance_prefetch_factor else ()
        return LooksAt(rows=("crawl", "extract"), settings=cap)

    def contents(self, config: Config) -> Mapping[str, str]:
        """The entries of the lists, whatever the layout of their files."""
        lists, queries = _lists(config), named_queries.digest_of(config)
        return {"adult_terms": lists.digest} | ({"balance_queries": queries} if queries else {})

    def check(self, context: Context[Config]) -> None:
        """Reject unknown languages and countries and unreadable lists before any work starts."""
        config = context.config
        require_languages(config.languages, config.detector)
        require_regions(config.phone_regions)
        _lists(config)
        named_queries.require_list(context)

    def measure(self, context: Context[Config]) -> Measured:
        """One row per candidate: first the measures of its own text, then the counts over all rows that entered."""
        schema, storage, config = context.schema, context.storage, context.config
        names = (*self.carries, *COLUMNS, *URL_COLUMNS, *CHOICE_COLUMNS)
        captioned = pa.schema([schema.field(name) for name in names])
        entered = context.kept("extract").select(*self.carries, "alt_text")
        lists = _lists(config)
        captioner = _captioner(captioned, config, lists, named_queries.write_file(config, storage))
        # Written before it is counted: several counts read it, and Spark would detect every language again for each.
        files = written(entered, storage, CAPTIONS_FOLDER, captioned, captioner)
        counted = pa.schema([schema.field(name) for name in COUNTED])
        rows = with_places(context.spark, storage, files, counted)
        signals = _signals(context)
        counts = with_counts(rows, signals, _listed(context))
        requests = counts.join(_alternates(context, signals, lists), "url_id", "left")
        found = named_queries.with_first_cap(requests, context)
        added = [name for name in schema.names if name not in names]
        placed, add = beside(found.select(*PLACE.names, *added), storage, files, schema)
        return Measured(placed, scratch=(CAPTIONS_FOLDER, named_queries.INDEX_FOLDER), through=add)

    def rules(self, config: Config) -> list[Rule]:
        """What an owner forbids comes before our own rules."""
        signals = col("image_optouts")
        rules = [Rule(reason, when=signals.contains(reason.value), value=None) for reason in OPTOUTS]
        rules += [
            Rule(CoreReason.RULE_ERROR, when=col("raw_chars").is_null()),
            Rule(Reason.URL_BLOCKED, when=col("blocked_url"), value=None),
            Rule(Reason.DOMAIN_BLOCKED, when=~col("blocked_domain").is_null(), value=col("blocked_domain")),
            Rule(
                Reason.TEXT_TOO_LONG,
                when=col("raw_chars") > config.max_chars,
                value=col("raw_chars"),
                threshold=config.max_chars,
            ),
            Rule(Reason.TEXT_EMPTY, when=col("caption_chars") == 0, value=col("raw_chars"), detail=col("raw_chars")),
            Rule(
                Reason.TEXT_TOO_SHORT,
                when=col("caption_weight") < config.min_chars,
                value=col("caption_weight"),
                threshold=config.min_chars,
            ),
        ]
        rules += [
            Rule(Reason.ADULT_TERM, when=~col("adult_term").is_null(), value=col("adult_term")),
            *(
                [Rule(Reason.PII, when=col(f"pii_{kind}") > 0, value=col(f"pii_{kind}"), threshold=0) for kind in PII]
                if config.pii == "drop"
                else ()
            ),
        ]
        if config.drop_boilerplate:
            rules.append(Rule(Reason.TEXT_BOILERPLATE, when=~col("boilerplate").is_null(), value=col("boilerplate")))
        return [
            *rules,
            *_repetition_rules(config),
            *_language_rules(config),
            *named_queries.rules(config),
            Rule(Reason.DUPLICATE_PAIR, when=col("pair_rank") > 1, value=col("pair_rank"), threshold=1),
        ]


def _repetition_rules(config: Config) -> list[Rule]:
    """Repetition within a caption, then of a caption."""
    within = {
        "top_word_share": config.max_word_share,
        "repeated_share": config.max_repeated_share,
        "symbol_share": config.max_symbol_share,
        "keywords": config.max_keywords or LONGEST_CLEANED,
    }
    of = {"caption_images": config.max_images_per_caption, "caption_domain_images": config.max_images_per_domain}
    rules = [
        Rule(Reason.TEXT_REPETITION, when=col(name) > most, value=col(name), threshold=most)
        for name, most in within.items()
    ]
    return rules + [
        Rule(Reason.TEXT_REPEATED, when=col(name) > most, value=col(name), threshold=most)
        for name, most in of.items()
        if most
    ]


def _language_rules(config: Config) -> list[Rule]:
    lang = col("lang")
    rules = []
    if config.und == "drop":
        rules.append(Rule(Reason.LANG_UNKNOWN, when=col("lang_guess").is_null(), value=lang))
        rules.append(
            Rule(
                Reason.LANG_UNSURE, when=lang == "und", value=col("lang_prob"), detail=col("lang_guess"), nulls_ok=True
            )
        )
    if config.languages:
        rules.append(
            Rule(
                Reason.LANG_NOT_WANTED,
                when=~lang.isin([*config.languages, "und"]),
                value=lang,
                threshold=config.languages,
            )
        )
    return rules


def _lists(config: Config) -> Lists:
    return read_lists(config.adult_terms, config.blocked_domains, config.blocked_urls)


def _captioner(schema: pa.Schema, config: Config, lists: Lists, index: IndexFile | None) -> Through:
    """The measures of a row's own text, beside the columns that are handed on."""

    def caption(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            captioned = measure_batch(batch, config, lists)
            parts = (captioned, measure_urls(batch, lists), measure_file(captioned.column("caption"), index))
            found = {name: part.column(name) for part in parts for name in part.schema.names}
            yield with_columns(batch, schema, found)

    return caption


def _signals(context: Context[Config]) -> DataFrame:
    """url_id, signal: the signals of every page that shows an image, also of pages without a usable text for it.

    Headers of redirects on the way to a page are not in its WARC record; the crawl's rows have them.
    """
    shown = context.rows("extract").where(F.col("url_id").isNotNull()).select("url_id", "page_id", "page_optouts")
    hops = context.rows("crawl").select(F.col("final_page_id").alias("page_id"), F.explode("optouts").alias("signal"))
    said = shown.select("url_id", F.explode("page_optouts").alias("signal"))
    return said.union(shown.join(hops, "page_id").select("url_id", "signal")).distinct()


def _listed(context: Context[Config]) -> DataFrame:
    """url_id, image_sha256s, image_boxes: what lists say about an image, also in rows without a usable text."""
    said = context.rows("extract").where("url_id is not null and (listed_sha256s is not null or boxes is not null)")
    return said.groupBy("url_id").agg(
        F.array_sort(F.array_distinct(F.flatten(each_once("listed_sha256s")))).alias("image_sha256s"),
        F.flatten(each_once("boxes")).alias("image_boxes"),
    )


def _alternates(context: Context[Config], signals: DataFrame, lists: Lists) -> DataFrame:
    """url_id, request_alternate: the alternate URL that its pages give an image, unless its own owner says no: it is
    on a page that opts out, or on a list of blocked URLs."""
    found = context.kept("extract").where("alternate_url is not null").select("url_id", "alternate_id", "alternate_url")
    barred = signals.select(F.col("url_id").alias("alternate_id"))
    if lists.urls:
        barred = barred.union(context.spark.createDataFrame([(key,) for key in sorted(lists.urls)], "key string"))
    free = found.join(barred.distinct(), "alternate_id", "left_anti")
    return free.groupBy("url_id").agg(F.min("alternate_url").alias("request_alternate"))


__all__ = ["Config", "Reason", "Text"]
