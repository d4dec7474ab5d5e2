"""audit/tables: the funnel, its reasons, and the balance over queries, as the report shows them."""

from schemas.fields import BOOL, FLOAT64, INT64, STRING, column, table

FUNNEL = table(
    1,
    [
        column("stage", STRING, "name of the stage"),
        column("unit", STRING, "what the stage counts"),
        column("rows_in", INT64, "rows that entered", "unit"),
        column("kept", INT64, "rows kept", "unit"),
        column("dropped", INT64, "rows dropped, all reasons together", "unit"),
        column("keeps_unit", STRING, "what the stage hands on"),
        column("handed_on", INT64, "rows handed on", "keeps_unit"),
        column("measured", INT64, "rows measured by the last build, the others being reused", "unit"),
        column("seconds", FLOAT64, "wall time of the stage", "s"),
        column("off", BOOL, "whether the config turns the stage off"),
    ],
)

BALANCE = table(
    1,
    [
        column("lowest", INT64, "the row is of queries that this to ten times as many pairs name", "pairs"),
        column("queries", INT64, "how many they are"),
        column("before", INT64, "their matches before the cap: pairs, once for each query", "matches"),
        column("after", INT64, "their matches after it", "matches"),
    ],
)

REASONS = table(
    1,
    [
        column("stage", STRING, "name of the stage"),
        column("unit", STRING, "what the stage counts"),
        column("reason", STRING, "reason in the ledger; null where an entry has none"),
        column("rows", INT64, "rows dropped for it", "unit"),
        column("share", FLOAT64, "rows over the rows that entered the stage", "0..1"),
        column("known", BOOL, "whether the reason is one of the stage's closed set"),
        column("lowest", FLOAT64, "lowest value that decided; null where values are no numbers"),
        column("highest", FLOAT64, "highest value that decided; null where values are no numbers"),
        column("threshold", STRING, "what the values were held against"),
    ],
)
