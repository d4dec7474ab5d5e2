"""A list of queries: the entries that captions are matched with, as `pairmill queries build` writes it."""

from schemas.fields import FLOAT64, INT64, STRING, STRINGS, column, table

QUERIES = table(
    1,
    [
        column("entry", STRING, "the folded text that captions are searched for"),
        column("origin", STRINGS, "where it comes from, all of wordnet, number, unigram, bigram, title that have it"),
        column("count", INT64, "how often it occurs in the texts; null where it was not counted", "occurrences"),
        column("pmi", FLOAT64, "pointwise mutual information of a bigram's two words; null for others", "bits"),
    ],
)
