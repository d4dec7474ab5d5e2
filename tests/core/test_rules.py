"""Rules: the same verdict by pyarrow, DuckDB and Spark; nulls and NaN never slip through a comparison."""

from __future__ import annotations

import math

import duckdb
import pyarrow as pa
import pytest

from pipeline.core.rules import Rule, UserSql, Verdict, col, verdicts
from pipeline.core.tables import spark_schema
from pipeline.core.verdict import DETAIL, REASON, THRESHOLD, VALUE, with_verdict

TABLE = pa.table(
    {
        "chars": pa.array([3, 8, None, 12], pa.int32()),
        "score": pa.array([0.5, math.nan, 0.1, None], pa.float64()),
        "lang": pa.array(["en", "de", None, "fr"]),
        "signals": pa.array([["noai"], [], None, ["x", "noai"]], pa.list_(pa.string())),
        "ok": pa.array([True, False, None, True]),
    }
)
EXPRESSIONS = [
    col("chars") < 5,
    col("chars") <= 8,
    col("chars") > 3,
    col("chars") >= 12,
    col("chars") == 8,
    col("chars") != 8,
    col("score") < 0.28,
    ~(col("score") < 0.28),
    col("score").is_null(),
    col("score") > 0.2,
    col("lang").isin(["en", "fr"]),
    ~col("lang").isin(["en"]),
    col("lang").is_null(),
    col("lang") == "de",
    col("signals").contains("noai"),
    (col("chars") < 5) & (col("score") > 0.2),
    (col("chars") < 5) | col("lang").is_null(),
    col("ok") == True,  # noqa: E712 - an expression, not a truth value
]


@pytest.mark.parametrize("number", range(len(EXPRESSIONS)))
def test_an_expression_means_the_same_to_arrow_duckdb_and_spark(spark, number: int) -> None:
    expression = EXPRESSIONS[number]
    by_arrow = expression.arrow(TABLE).to_pylist()
    sql = expression.sql(TABLE.schema)
    by_duckdb = [row[0] for row in duckdb.sql(f"SELECT {sql} FROM t").fetchall()] if (t := TABLE) is not None else []
    frame = spark.createDataFrame([tuple(row.values()) for row in TABLE.to_pylist()], spark_schema(TABLE.schema))
    by_spark = [row[0] for row in frame.selectExpr(sql).collect()]
    assert t.num_rows == 4
    assert by_arrow == by_duckdb == by_spark


def test_the_first_rule_that_matches_gives_the_one_reason_t15(spark) -> None:
    """T15: a row that breaks two rules has one reason."""
    rules = [
        Rule("too_short", when=col("chars") < 5, value=col("chars"), threshold=5),
        Rule("low_score", when=col("score") < 0.28, value=col("score"), threshold=0.28, detail=col("lang")),
        Rule("unwanted", when=col("lang").isin(["fr"]), value=col("lang"), threshold=["en", "de"], nulls_ok=True),
    ]
    expected = [
        Verdict("too_short", "3", "5", None),
        Verdict("not_measured", None, None, "needed by the rule low_score"),
        Verdict("not_measured", None, None, "needed by the rule too_short"),
        Verdict("not_measured", None, None, "needed by the rule low_score"),
    ]
    assert verdicts(TABLE, rules) == expected
    frame = spark.createDataFrame([tuple(row.values()) for row in TABLE.to_pylist()], spark_schema(TABLE.schema))
    judged = with_verdict(frame, rules, TABLE.schema).select(REASON, VALUE, THRESHOLD, DETAIL).collect()
    assert [Verdict(*row) for row in judged] == expected


def test_a_null_or_nan_is_not_measured_instead_of_kept_d7() -> None:
    """D7: rows without a value are dropped as not_measured, never compared."""
    assert verdicts(TABLE, [Rule("low", when=col("score") < 0.0)])[1:4:2] == [
        Verdict("not_measured", None, None, "needed by the rule low"),
        Verdict("not_measured", None, None, "needed by the rule low"),
    ]
    assert verdicts(TABLE, [Rule("low", when=col("score") < 0.0, nulls_ok=True)]) == [None] * 4


def test_an_expression_cannot_be_used_as_a_truth_value() -> None:
    with pytest.raises(TypeError, match=r"use & \| ~"):
        bool(col("chars") < 5 and col("score") < 1)


@pytest.mark.parametrize("value", ["it's", "a\\b", math.nan, math.inf])
def test_a_literal_that_dialects_read_differently_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="rule"):
        _ = col("lang") == value


def test_a_users_sql_runs_on_spark_only() -> None:
    with pytest.raises(TypeError, match="Spark SQL"):
        UserSql("chars < 5", ("chars",)).arrow(TABLE)
