"""Which queries of a list a caption names, and the optional cap before fetch: the balance in stage text.

Every caption is matched with the whole list (`pipeline.balance`), also if it is dropped. The cap itself belongs to
select, because it chooses among pairs. Here only two kinds of pairs may be dropped: those that name no query and, to
save requests, those that the cap would hardly keep (``text.balance_prefetch_factor`` times ``select.balance_t``, over
all pairs that entered).
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.balance.cap import let_through
from pipeline.balance.entries import Queries, read_queries
from pipeline.balance.index import Index, open_index, write_index
from pipeline.core.context import Context
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.rules import Rule, col
from pipeline.core.storage import FileRecord, Storage
from pipeline.stages.text.config import Config
from pipeline.stages.text.pii import NO_WORD, TOKEN
from pipeline.stages.text.reasons import Reason
from schemas.text import ADDS

INDEX_FOLDER = "text/queries"
CHOICE_COLUMNS = ("queries", "query_matches")
QUERY_SCHEMA = pa.schema([ADDS.field(name) for name in CHOICE_COLUMNS])

IndexFile = tuple[Storage, FileRecord]
"""What is sent to the workers, which open the file themselves."""


def measure_queries(captions: pa.Array, index: Index | None) -> pa.RecordBatch:
    """QUERY_SCHEMA for each caption; null for null, and for all without a list. <email> and the like name no query."""
    if index is None:
        columns = [pa.nulls(len(captions), kind) for kind in QUERY_SCHEMA.types]
    else:
        found = index.match(pc.replace_substring_regex(captions, TOKEN.pattern, NO_WORD))
        columns = [found, pc.list_value_length(found)]
    return pa.RecordBatch.from_arrays(columns, schema=QUERY_SCHEMA)


def measure_file(captions: pa.Array, file: IndexFile | None) -> pa.RecordBatch:
    """The same in a task: the index is opened once per process."""
    return measure_queries(captions, open_index(*file) if file else None)


def require_list(context: Context[Config]) -> None:
    """InputError for an unreadable list, and for a setting that needs a list or another setting that is not set."""
    config = context.config
    if _list(config) is None:
        for name in ("balance_unmatched", "balance_prefetch_factor"):
            if getattr(config, name) not in ("keep", 0):
                raise InputError(
                    ErrorCode.CONFIG_INVALID, f"text.{name} is set, but text.balance_queries names no list"
                )
    if config.balance_prefetch_factor and not context.setting("select.balance_t"):
        raise InputError(
            ErrorCode.CONFIG_INVALID, "text.balance_prefetch_factor needs select.balance_t, which is 0: set it"
        )
    if 0 < config.balance_prefetch_factor < 1:
        factor = config.balance_prefetch_factor
        raise InputError(
            ErrorCode.CONFIG_INVALID, f"text.balance_prefetch_factor is {factor}: it must be 0 or at least 1"
        )


def digest_of(config: Config) -> str:
    """Digest of the entries of the list; "" without one."""
    listed = _list(config)
    return listed.digest if listed else ""


def write_file(config: Config, storage: Storage) -> IndexFile | None:
    """The index as a file of the run, for the workers of all machines; None without a list."""
    listed = _list(config)
    if listed is None:
        return None
    file = write_index(storage, INDEX_FOLDER, listed.entries)
    storage.sweep(INDEX_FOLDER, {file.path})
    return storage, file


def with_first_cap(rows: DataFrame, context: Context[Config]) -> DataFrame:
    """Add query_shares and is_let_through, equal in all rows of a pair; null if there is no cap before fetch."""
    if not context.config.balance_prefetch_factor:
        nothing = {"query_shares": F.lit(None).cast("array<double>"), "is_let_through": F.lit(None).cast("boolean")}
        return rows.withColumns(nothing)
    pairs = rows.groupBy("pair_id").agg(F.min("queries").alias("queries"))  # equal in all rows of a pair
    capped = let_through(pairs, *_first_cap(context))
    unmatched = F.coalesce("is_let_through", F.lit(True))
    return rows.join(capped, "pair_id", "left").withColumn("is_let_through", unmatched)


def rules(config: Config) -> list[Rule]:
    """They come after all rules that judge the caption alone."""
    found, matches = [], col("query_matches")
    if config.balance_unmatched == "drop":
        found.append(Rule(Reason.NO_QUERY_MATCH, when=matches == 0, value=matches, threshold=0))
    if config.balance_prefetch_factor:
        found.append(Rule(Reason.BALANCE_CAP, when=~col("is_let_through"), threshold=config.balance_prefetch_factor))
    return found


def _list(config: Config) -> Queries | None:
    return read_queries(config.balance_queries) if config.balance_queries else None


def _first_cap(context: Context[Config]) -> tuple[int, int]:
    """(cap, seed)."""
    last = context.setting("select.balance_t")
    return round(last * context.config.balance_prefetch_factor), context.setting("select.balance_seed")
