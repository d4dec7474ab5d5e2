"""Rules: how a measured row becomes a verdict. Declarative, over the columns of one row, without Spark.

A rule is an expression (`col("caption_chars") < 5`) with a reason. Rules are tried in order and the first
that matches decides. An expression compiles to SQL, which Spark and DuckDB read alike, and to pyarrow; all
three agree, also on nulls and NaN, because of two conventions:

- NaN counts as null (`CASE` over NaN would silently keep: NaN < 0.28 is false).
- A rule that reads a null, and does not say ``nulls_ok``, drops the row as ``not_measured``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Scalar = bool | int | float | str


class CoreReason(StrEnum):
    """Part of every stage's closed set of reasons."""

    POISON_ROW = "poison_row"  # the row killed its worker twice and was set aside
    RULE_ERROR = "rule_error"  # measuring this one row raised
    NOT_MEASURED = "not_measured"  # a rule reads a column that is null or NaN here


class Expr(ABC):
    """A boolean or plain expression over the columns of one row. Built by `col` and operators."""

    def __lt__(self, other: Scalar) -> Expr:
        return Compare("<", self, Literal(other))

    def __le__(self, other: Scalar) -> Expr:
        return Compare("<=", self, Literal(other))

    def __gt__(self, other: Scalar) -> Expr:
        return Compare(">", self, Literal(other))

    def __ge__(self, other: Scalar) -> Expr:
        return Compare(">=", self, Literal(other))

    def __eq__(self, other: Any) -> Expr:  # type: ignore[override]  # an expression, not a truth value
        return Compare("=", self, Literal(other))

    def __ne__(self, other: Any) -> Expr:  # type: ignore[override]
        return Compare("<>", self, Literal(other))

    def __and__(self, other: Expr) -> Expr:
        return Both("AND", self, other)

    def __or__(self, other: Expr) -> Expr:
        return Both("OR", self, other)

    def __invert__(self) -> Expr:
        return Not(self)

    def __bool__(self) -> bool:
        raise TypeError("an expression has no truth value of its own: use & | ~, not and/or/not")

    def isin(self, values: Iterable[Scalar]) -> Expr:
        """True if the value is one of ``values`` (at least one)."""
        return IsIn(self, tuple(Literal(value) for value in values))

    def is_null(self) -> Expr:
        """True for null or NaN. The only way to test for nulls without the verdict ``not_measured``."""
        return IsNull(self)

    def contains(self, value: str) -> Expr:
        """True if a list column contains ``value``."""
        return Contains(self, Literal(value))

    @abstractmethod
    def sql(self, schema: pa.Schema) -> str:
        """The expression in the SQL that Spark and DuckDB share; ``schema`` says which columns can be NaN."""

    @abstractmethod
    def arrow(self, table: pa.Table) -> pa.Array | pa.ChunkedArray | pa.Scalar:
        """The expression's value for each row of ``table``."""

    @abstractmethod
    def reads(self) -> Iterator[str]:
        """Columns whose null would make the answer meaningless."""


@dataclass(frozen=True, eq=False)
class Column(Expr):
    name: str

    def sql(self, schema: pa.Schema) -> str:
        quoted = f"`{self.name}`" if not self.name.isidentifier() else self.name
        is_float = pa.types.is_floating(schema.field(self.name).type)
        return f"nullif({quoted}, CAST('NaN' AS DOUBLE))" if is_float else quoted

    def arrow(self, table: pa.Table) -> pa.ChunkedArray:
        values = table[self.name]
        if pa.types.is_floating(values.type):
            return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        return values

    def reads(self) -> Iterator[str]:
        yield self.name


@dataclass(frozen=True, eq=False)
class Literal(Expr):
    value: Scalar

    def __post_init__(self) -> None:
        if isinstance(self.value, str) and ("'" in self.value or "\\" in self.value):
            raise ValueError(
                f"a rule's text must not contain quotes or backslashes: {self.value!r}"
            )  # dialects escape differently
        if isinstance(self.value, float) and not math.isfinite(self.value):
            raise ValueError(f"a rule's number must be finite: {self.value!r}")

    def sql(self, schema: pa.Schema) -> str:
        if isinstance(self.value, bool):
            return "TRUE" if self.value else "FALSE"
        if isinstance(self.value, float):
            return f"CAST({self.value!r} AS DOUBLE)"  # a bare 0.28 is a DECIMAL in SQL
        return f"'{self.value}'" if isinstance(self.value, str) else str(self.value)

    def arrow(self, table: pa.Table) -> pa.Scalar:
        value = str(self.value) if isinstance(self.value, StrEnum) else self.value
        return pa.scalar(value)

    def reads(self) -> Iterator[str]:
        return iter(())


@dataclass(frozen=True, eq=False)
class Compare(Expr):
    operator: str
    left: Expr
    right: Expr

    def sql(self, schema: pa.Schema) -> str:
        return f"({self.left.sql(schema)} {self.operator} {self.right.sql(schema)})"

    def arrow(self, table: pa.Table) -> pa.ChunkedArray:
        compare = {
            "<": pc.less,
            "<=": pc.less_equal,
            ">": pc.greater,
            ">=": pc.greater_equal,
            "=": pc.equal,
            "<>": pc.not_equal,
        }[self.operator]
        return compare(self.left.arrow(table), self.right.arrow(table))

    def reads(self) -> Iterator[str]:
        yield from self.left.reads()
        yield from self.right.reads()


@dataclass(frozen=True, eq=False)
class Both(Expr):
    operator: str
    left: Expr
    right: Expr

    def sql(self, schema: pa.Schema) -> str:
        return f"({self.left.sql(schema)} {self.operator} {self.right.sql(schema)})"

    def arrow(self, table: pa.Table) -> pa.ChunkedArray:
        combine = pc.and_kleene if self.operator == "AND" else pc.or_kleene
        return combine(self.left.arrow(table), self.right.arrow(table))

    def reads(self) -> Iterator[str]:
        yield from self.left.reads()
        yield from self.right.reads()


@dataclass(frozen=True, eq=False)
class Not(Expr):
    inner: Expr

    def sql(self, schema: pa.Schema) -> str:
        return f"(NOT {self.inner.sql(schema)})"

    def arrow(self, table: pa.Table) -> pa.ChunkedArray:
        return pc.invert(self.inner.arrow(table))

    def reads(self) -> Iterator[str]:
        return self.inner.reads()


@dataclass(frozen=True, eq=False)
class IsIn(Expr):
    inner: Expr
    values: tuple[Literal, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("isin needs at least one value")

    def sql(self, schema: pa.Schema) -> str:
        return f"({self.inner.sql(schema)} IN ({', '.join(value.sql(schema) for value in self.values)}))"

    def arrow(self, table: pa.Table) -> pa.ChunkedArray:
        values = self.inner.arrow(table)
        found = pc.is_in(values, value_set=pa.array([v.arrow(table).as_py() for v in self.values], values.type))
        return pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), found)  # SQL: NULL IN (...) is NULL

    def reads(self) -> Iterator[str]:
        return self.inner.reads()


@dataclass(frozen=True, eq=False)
class IsNull(Expr):
    inner: Expr

    def sql(self, schema: pa.Schema) -> str:
        return f"({self.inner.sql(schema)} IS NULL)"

    def arrow(self, table: pa.Table) -> pa.ChunkedArray:
        return pc.is_null(self.inner.arrow(table))

    def reads(self) -> Iterator[str]:
        return iter(())


@dataclass(frozen=True, eq=False)
class Contains(Expr):
    inner: Expr
    value: Literal

    def sql(self, schema: pa.Schema) -> str:
        return f"array_contains({self.inner.sql(schema)}, {self.value.sql(schema)})"

    def arrow(self, table: pa.Table) -> pa.Array:
        lists = self.inner.arrow(table).to_pylist()
        return pa.array([None if items is None else self.value.value in items for items in lists], pa.bool_())

    def reads(self) -> Iterator[str]:
        return self.inner.reads()


@dataclass(frozen=True, eq=False)
class UserSql(Expr):
    """The user's own Spark SQL; ``columns`` are those that Spark's analyser found in it."""

    text: str
    columns: tuple[str, ...]

    def sql(self, schema: pa.Schema) -> str:
        return f"({self.text})"

    def arrow(self, table: pa.Table) -> pa.ChunkedArray:
        raise TypeError("a user's rule is Spark SQL; only Spark can evaluate it")

    def reads(self) -> Iterator[str]:
        return iter(self.columns)


def col(name: str) -> Expr:
    """A column of the row."""
    return Column(name)


@dataclass(frozen=True, eq=False)
class Rule:
    """Drops rows where ``when`` holds, with ``reason``; ``value`` was compared with ``threshold``.

    ``value`` and ``detail`` are written to the ledger as text. With ``nulls_ok`` a null in a column that ``when``
    reads means "does not match" instead of "was not measured".
    """

    reason: str
    when: Expr
    value: Expr | None = None
    threshold: Scalar | Sequence[str] | None = None
    detail: Expr | None = None
    nulls_ok: bool = False

    def needs(self) -> list[str]:
        """The columns that must be measured before the rule can be tried."""
        return [] if self.nulls_ok else sorted(set(self.when.reads()))

    def threshold_text(self) -> str | None:
        """The threshold as text for the ledger."""
        if self.threshold is None or isinstance(self.threshold, str):
            return self.threshold
        if isinstance(self.threshold, bool | int | float):
            return str(self.threshold)
        return " ".join(self.threshold)

    def describe(self, schema: pa.Schema) -> dict[str, str | None]:
        """The rule as written to manifests."""
        return {
            "reason": str(self.reason),
            "drop_when": self.when.sql(schema),
            "value": self.value.sql(schema) if self.value is not None else None,
            "threshold": self.threshold_text(),
        }


def united(module: str, *reasons: StrEnum) -> type[StrEnum]:
    """The enum ``Reason`` of a module, built from members of others; equal members are one reason."""
    enum: Any = StrEnum
    reason: type[StrEnum] = enum("Reason", {reason.name: reason.value for reason in reasons}, module=module)
    return reason


def outcome_rules(reasons: Iterable[StrEnum], column: str = "outcome", detail: str = "detail") -> list[Rule]:
    """One rule per outcome of a measurement without a result. They come first in a stage's rules."""
    return [Rule(reason, when=col(column) == reason.value, value=col(column), detail=col(detail)) for reason in reasons]


@dataclass(frozen=True)
class Verdict:
    """Why a row was dropped. A kept row has no verdict."""

    reason: str
    value: str | None
    threshold: str | None
    detail: str | None


def steps(rules: Sequence[Rule]) -> Iterator[tuple[Expr, Rule, bool]]:
    """What to try, in order: (condition, rule, whether a match means ``not_measured`` instead of the reason)."""
    measured: set[str] = set()  # a column that an earlier rule needed is not null here
    for rule in rules:
        for name in rule.needs():
            if name not in measured:
                yield col(name).is_null(), rule, True
                measured.add(name)
        yield rule.when, rule, False


def verdicts(table: pa.Table, rules: Sequence[Rule]) -> list[Verdict | None]:
    """The verdict of every row by pyarrow, equal to Spark's; for tests, reports and single rows."""
    found: list[Verdict | None] = [None] * table.num_rows
    open_rows = set(range(table.num_rows))
    for condition, rule, unmeasured in steps(rules):
        matches = condition.arrow(table).to_pylist()
        hits = [row for row in open_rows if matches[row]]
        for row in hits:
            found[row] = _verdict(table.slice(row, 1), rule, unmeasured)
        open_rows.difference_update(hits)
    return found


def _verdict(row: pa.Table, rule: Rule, unmeasured: bool) -> Verdict:
    if unmeasured:
        return Verdict(CoreReason.NOT_MEASURED.value, None, None, f"needed by the rule {rule.reason}")

    def text(expr: Expr | None) -> str | None:
        value = None if expr is None else expr.arrow(row).to_pylist()[0]
        return None if value is None else str(value)

    return Verdict(str(rule.reason), text(rule.value), rule.threshold_text(), text(rule.detail))
