"""select/rows: the scored pairs with the choices among them; select/queries: the balance, query by query."""

from schemas.fields import BOOL, FLOAT64, INT32, INT64, STRING, column, table

_DRAW = (
    column("query", STRING, "of the queries that the caption names, the one nearest to keeping the pair; null: none"),
    column(
        "query_count",
        INT64,
        "pairs that name it, among those that lost no choice before; after a cap before fetch only those that its own "
        "draw let through",
        "pairs",
    ),
    column("query_draw", FLOAT64, "the pair's draw for it; the pair stays where this is below query_p", "0..1"),
    column("query_p", FLOAT64, "with what probability it keeps each of its pairs", "0..1"),
)

CHOICES = table(
    2,  # 2: each row against the pairs that stay, no longer one representative a cluster
    [
        column(
            "caption_rank",
            INT64,
            "place of the caption among those that stay beside the picture, best first, from 1; "
            "select.captions_per_image + 1: not among them",
        ),
        column("repeated", BOOL, "a better pair that stays beside the picture has this very caption"),
        column("duplicate_of", STRING, "pair_id of the representative it goes with; null for a representative"),
        column("duplicate_bits", INT32, "Hamming distance of phash to the representative's; null for one", "bits"),
        column("image_of", STRING, "url_id of the representative's image, whose picture is packed"),
    ],
)

DOMAIN_RANKS = table(
    1,
    [
        column("pair_id", STRING, "the pair"),
        column("domain", STRING, "registered domain of the picture beside it; null: not ranked"),
        column("domain_rank", INT64, "place of that picture among those left of its domain, by url_id"),
    ],
)

ADDS = table(2, [*CHOICES, *[DOMAIN_RANKS.field(name) for name in ("domain", "domain_rank")], *_DRAW])

DRAWS = table(1, [column("pair_id", STRING, "the pair"), *_DRAW])

COUNTS = table(
    1, [column("query", STRING, "entry of the list"), column("count", INT64, "pairs with a draw for it", "pairs")]
)

QUERIES = table(
    1,
    [
        column("query", STRING, "entry of the list that a caption names"),
        column(
            "before",
            INT64,
            "pairs that name it, before the cap; after a cap before fetch only those that its own draw let through",
            "pairs",
        ),
        column("after", INT64, "pairs of them that the cap lets stay, by any of their queries", "pairs"),
    ],
)
