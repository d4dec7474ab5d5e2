"""The user's own rules: Spark SQL over a stage's columns, with reason, ledger and audit like built-in rules.

rules:
  - {stage: clip, name: tiny_english, drop_when: "width < 128 and lang = 'en'"}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from py4j.java_gateway import is_instance_of
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.core.config import Decide, StageConfig
from pipeline.core.config import Field as Setting
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.row_functions import SUBQUERY, foreign, nodes
from pipeline.core.rules import Rule, UserSql
from pipeline.core.tables import spark_schema

ONE_ROW = "a rule may only compute with the columns of one row (pipeline/core/row_functions.py lists what it may use)"


class UserRule(StageConfig):
    """One rule of the user. Its reason is ``user:NAME``; it is tried after the stage's own rules."""

    stage: Decide[str] = Setting(description="the stage whose rows it judges")
    name: Decide[str] = Setting(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="a name for its reason")
    drop_when: Decide[str] = Setting(min_length=1, description="Spark SQL, true for a row to drop")
    nulls_ok: Decide[bool] = Setting(
        False, description="true: a null in a column that the rule reads does not make the row not_measured"
    )


def compile_user_rules(
    spark: SparkSession, rules: Sequence[UserRule], schemas: Mapping[str, pa.Schema]
) -> dict[str, list[Rule]]:
    """Parse every rule against its stage's columns before anything runs; InputError names the first that fails."""
    if len({(rule.stage, rule.name) for rule in rules}) < len(rules):
        raise InputError(ErrorCode.CONFIG_INVALID, "rules: two rules of one stage have the same name; rename one")
    compiled: dict[str, list[Rule]] = {}
    rows = {stage: _row_of_zeros(spark, schemas[stage]) for stage in {rule.stage for rule in rules}}
    for rule in rules:
        columns = _columns_read(rows[rule.stage], rule, schemas[rule.stage])
        when = UserSql(rule.drop_when, columns)
        compiled.setdefault(rule.stage, []).append(Rule(f"user:{rule.name}", when, nulls_ok=rule.nulls_ok))
    return compiled


def _row_of_zeros(spark: SparkSession, schema: pa.Schema) -> DataFrame:
    """One row of zeros, empty texts and empty lists in the columns of a stage; Spark needs no job to evaluate it."""
    zeros = [
        (F.array() if pa.types.is_list(field.type) else F.lit("0"))
        .cast(spark_schema(schema)[field.name].dataType)
        .alias(field.name)
        for field in schema
    ]
    return spark.sql("VALUES (0)").select(*zeros)


def _columns_read(row: DataFrame, rule: UserRule, schema: pa.Schema) -> tuple[str, ...]:
    """The columns a rule reads, in the schema's spelling. InputError for SQL that is not a function of one row."""
    try:
        _require_no_subquery(row.sparkSession, rule)
        drop = F.expr(UserSql(rule.drop_when, ()).sql(schema)).alias("drop")
        found = dict(row.select(drop).dtypes)["drop"]
        if found != "boolean":
            raise _refused(rule, f"drop_when returns {found}; it must return true or false")
        condition = row.where(drop)._jdf.queryExecution().analyzed().condition()  # rejects aggregates, windows, ...
        why = foreign(condition)
        if why is not None:
            raise _refused(rule, f"drop_when {why}; {ONE_ROW}")
        row.select(drop).collect()  # rejects a constant that is no valid pattern
    except (PySparkException, Py4JJavaError) as error:
        raise _refused(rule, str(error).strip().split("\n")[0]) from None
    spelling = {name.lower(): name for name in schema.names}
    references = condition.references().iterator()
    names = set()
    while references.hasNext():
        names.add(spelling[references.next().name().lower()])
    return tuple(sorted(names))


def _require_no_subquery(spark: SparkSession, rule: UserRule) -> None:
    """Judged before the analysis, which would open the files that a subquery names."""
    parsed = spark._jsparkSession.sessionState().sqlParser().parseExpression(rule.drop_when)
    if any(is_instance_of(spark.sparkContext._gateway, node, SUBQUERY) for node in nodes(parsed)):
        raise _refused(rule, f"drop_when has a subquery; {ONE_ROW}")


def _refused(rule: UserRule, why: str) -> InputError:
    return InputError(ErrorCode.CONFIG_INVALID, f"rules: {rule.name}: {why}")
