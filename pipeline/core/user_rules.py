"""The user's own rules: Spark SQL over a stage's columns, with reason, ledger and audit like built-in rules.

rules:
  - {stage: clip, name: tiny_english, drop_when: "width < 128 and lang = 'en'"}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipeline.core.config import Decide, StageConfig
from pipeline.core.config import Field as Setting
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.rules import Rule, UserSql
from pipeline.core.tables import spark_schema

_OF_THE_MOMENT = re.compile(r"\b(current_\w+|now|localtimestamp|unix_timestamp\s*\(\s*\))", re.IGNORECASE)


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
    for rule in rules:
        columns = _columns_read(spark, rule, schemas[rule.stage])
        when = UserSql(rule.drop_when, columns)
        compiled.setdefault(rule.stage, []).append(Rule(f"user:{rule.name}", when, nulls_ok=rule.nulls_ok))
    return compiled


def _columns_read(spark: SparkSession, rule: UserRule, schema: pa.Schema) -> tuple[str, ...]:
    """The columns a rule reads, in the schema's spelling. InputError for SQL that is not a function of one row."""
    empty = spark.createDataFrame([], spark_schema(schema))
    try:
        analysed = (
            empty.where(F.expr(rule.drop_when))._jdf.queryExecution().analyzed()
        )  # rejects aggregates, windows, ...
        found = dict(empty.select(F.expr(rule.drop_when).alias("drop")).dtypes)["drop"]
    except PySparkException as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(ErrorCode.CONFIG_INVALID, f"rules: {rule.name}: {reason}") from None
    if found != "boolean":
        raise InputError(
            ErrorCode.CONFIG_INVALID, f"rules: {rule.name}: drop_when returns {found}; it must return true or false"
        )
    condition = analysed.condition()
    if not condition.deterministic() or _OF_THE_MOMENT.search(rule.drop_when):
        raise InputError(
            ErrorCode.CONFIG_INVALID,
            f"rules: {rule.name}: drop_when is not deterministic; do not use clocks or random numbers",
        )
    spelling = {name.lower(): name for name in schema.names}
    references = condition.references().iterator()
    names = set()
    while references.hasNext():
        names.add(spelling[references.next().name().lower()])
    return tuple(sorted(names))
