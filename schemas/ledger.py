"""<stage>/ledger: one row per dropped row, derived from rows and rules. Never written by a stage."""

from schemas.fields import INT64, STRING, column, table

LEDGER = table(
    1,
    [
        column("key", STRING, "key of the dropped row, in the stage's unit"),
        column("count", INT64, "rows this entry stands for", "rows"),
        column("reason", STRING, "one code of the stage's closed set"),
        column("value", STRING, "the value that decided, as text"),
        column("threshold", STRING, "what it was held against, as text"),
        column("detail", STRING, "what exactly happened"),
    ],
)
