"""Verdicts at scale: rules as Spark columns. The verdict of a row is a pure function of the row and the rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.core.rules import CoreReason, Expr, Rule, steps

REASON, VALUE, THRESHOLD, DETAIL = "_reason", "_value", "_threshold", "_detail"


def with_verdict(rows: DataFrame, rules: Sequence[Rule], schema: pa.Schema) -> DataFrame:
    """Add `_reason`, `_value`, `_threshold`, `_detail` (text; `_reason` is null for a kept row)."""

    def text(expr: Expr | None) -> str:
        return "NULL" if expr is None else f"CAST({expr.sql(schema)} AS STRING)"

    return rows.withColumns(
        {
            REASON: _cases(rules, schema, lambda rule: _quoted(rule.reason), _quoted(CoreReason.NOT_MEASURED.value)),
            VALUE: _cases(rules, schema, lambda rule: text(rule.value), "NULL"),
            THRESHOLD: _cases(rules, schema, lambda rule: _quoted(rule.threshold_text()), "NULL"),
            DETAIL: _cases(
                rules, schema, lambda rule: text(rule.detail), lambda rule: _quoted(f"needed by the rule {rule.reason}")
            ),
        }
    )


def kept(rows: DataFrame, rules: Sequence[Rule], schema: pa.Schema) -> DataFrame:
    """The rows that no rule drops."""
    if not rules:
        return rows
    judged = with_verdict(rows, rules, schema)
    return judged.where(F.col(REASON).isNull()).drop(REASON, VALUE, THRESHOLD, DETAIL)


def ledger(judged: DataFrame, key: str) -> DataFrame:
    """The ledger of rows with verdicts, in the columns of `schemas.ledger.LEDGER`."""
    return judged.where(F.col(REASON).isNotNull()).select(*entry(judged, key))


def entry(judged: DataFrame, key: str) -> list[Column]:
    """The columns of `schemas.ledger.LEDGER` for each row of ``judged``; of a kept row only the count is not null."""
    count = F.col("count") if "count" in judged.columns else F.lit(1)
    return [
        F.when(F.col(REASON).isNotNull(), F.col(key)).alias("key"),
        count.cast("long").alias("count"),
        F.col(REASON).alias("reason"),
        F.col(VALUE).alias("value"),
        F.col(THRESHOLD).alias("threshold"),
        F.col(DETAIL).alias("detail"),
    ]


def _cases(
    rules: Sequence[Rule], schema: pa.Schema, then: Callable[[Rule], str], unmeasured: str | Callable[[Rule], str]
) -> Column:
    branches = []
    for condition, rule, is_unmeasured in steps(rules):
        if is_unmeasured:
            result = unmeasured if isinstance(unmeasured, str) else unmeasured(rule)
        else:
            result = then(rule)
        branches.append(f"WHEN {condition.sql(schema)} THEN {result}")
    return F.expr(f"CAST(CASE {' '.join(branches)} ELSE NULL END AS STRING)" if branches else "CAST(NULL AS STRING)")


def _quoted(text: str | None) -> str:
    if text is None:
        return "NULL"
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
