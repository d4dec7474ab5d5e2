"""How a column is declared: name, type, a description and, where it has one, a unit (kept in the file's metadata)."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

STRING = pa.string()
INT32 = pa.int32()
INT64 = pa.int64()
FLOAT64 = pa.float64()
BOOL = pa.bool_()
BINARY = pa.binary()
STRINGS = pa.list_(pa.string())
FLOATS = pa.list_(pa.float64())

OK = "ok"  # the value of an `outcome` column where measuring gave a result; else it is a reason


def column(name: str, type_: pa.DataType, description: str, unit: str | None = None) -> pa.Field:
    """A nullable column (tables evolve by adding nullable columns). Null means: not measured, or not there."""
    metadata = {"description": description} | ({"unit": unit} if unit else {})
    return pa.field(name, type_, nullable=True, metadata=metadata)


def table(version: int, columns: Iterable[pa.Field]) -> pa.Schema:
    """A versioned table. A new nullable column keeps the version; a rename or a new meaning raises it."""
    return pa.schema(list(columns), metadata={"pairmill.schema_version": str(version)})


def description(field: pa.Field) -> str:
    """The sentence that documents a column."""
    return str((field.metadata or {}).get(b"description", b""), "utf-8")


def unit(field: pa.Field) -> str:
    """The column's unit; empty where it has none."""
    return str((field.metadata or {}).get(b"unit", b""), "utf-8")
