"""Counts verdicts and writes the ledger, in one pass over the rows.

Each task writes its file of the ledger and returns its counts: a row is read once, and nothing is shuffled. Of a kept
row only two numbers go to Python. `pipeline.audit.proof` counts in another way and compares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from pipeline.core.storage import FileRecord, Storage
from pipeline.core.tables import FILE_RECORD, spark_schema, write_file
from pipeline.core.verdict import REASON, entry
from schemas.fields import INT64, STRING
from schemas.ledger import LEDGER

COUNTS = pa.schema([("reason", STRING), ("weight", INT64), ("stored", INT64), ("digest", INT64)])
"""Of a reason: ``weight`` in the stage's unit, rows as ``stored``, ``digest`` of the keys (sum mod 2^64, signed)."""

FOUND = pa.schema([*COUNTS, *FILE_RECORD])


@dataclass(frozen=True)
class Tally:
    """Rows by reason in the stage's unit (None: kept); of the kept ones also the number as stored, and the digest of
    their keys, 0 to 2^64 - 1."""

    weights: dict[str | None, int]
    kept_stored: int
    digest: int
    ledger: list[FileRecord]


def tallied(judged: DataFrame, key: str, keeps_key: str, storage: Storage, folder: str) -> Tally:
    """Count rows with verdicts and write their ledger into ``folder``. ``keeps_key`` names what a kept row hands on."""
    is_kept = F.col(REASON).isNull()
    leading_bits = F.conv(F.substring(keeps_key, 1, 16), 16, -10).cast("long")  # -10: signed
    digest = F.when(is_kept, leading_bits).alias("digest")
    rows = judged.select(*entry(judged, key), digest)

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counts: list[pa.Table] = []
        dropped = (table for batch in batches if (table := _dropped(batch, counts)).num_rows)
        first = next(dropped, None)
        file = None if first is None else write_file(storage, folder, LEDGER, chain([first], dropped))
        found = pa.concat_tables([COUNTS.empty_table(), *counts]).to_pylist() + ([vars(file)] if file else [])
        yield pa.RecordBatch.from_pylist(found, schema=FOUND)

    return _united(rows.mapInArrow(count, spark_schema(FOUND)).collect(), storage, folder)


def _dropped(batch: pa.RecordBatch, counts: list[pa.Table]) -> pa.Table:
    """The entries of the ledger in ``batch``; ``counts`` grows by a table of COUNTS."""
    table = pa.Table.from_batches([batch])
    every = pc.CountOptions(mode="all")
    by_reason = table.group_by("reason").aggregate([("count", "sum"), ("count", "count", every), ("digest", "sum")])
    named = by_reason.select(["reason", "count_sum", "count_count", "digest_sum"]).rename_columns(COUNTS.names)
    counts.append(named.cast(COUNTS))
    return table.filter(table["reason"].is_valid()).select(LEDGER.names).cast(LEDGER)


def _united(found: list[Row], storage: Storage, folder: str) -> Tally:
    """The sum over all tasks. A ledger without entries is a file without rows."""
    weights: Counter[str | None] = Counter()
    kept_stored = digest = 0
    for row in found:
        if row["path"] is None:
            weights[row["reason"]] += row["weight"]
            if row["reason"] is None:
                kept_stored, digest = kept_stored + row["stored"], digest + (row["digest"] or 0)
    files = [FileRecord(*(row[name] for name in FILE_RECORD.names)) for row in found if row["path"] is not None]
    ledger = sorted(files or [write_file(storage, folder, LEDGER, [])], key=lambda file: file.path)
    return Tally(dict(weights), kept_stored, digest % 2**64, ledger)
