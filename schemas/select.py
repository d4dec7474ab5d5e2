"""select/rows: the scored pairs with the choices among them."""

from schemas.fields import BOOL, INT64, STRING, column, table

ADDS = table(
    1,
    [
        column(
            "cluster_rank",
            INT64,
            "place among the pairs of its duplicate cluster, best first, from 1; "
            "a repeated caption ranks after all others",
        ),
        column("repeated", BOOL, "a better pair of the cluster has this very caption"),
        column("duplicate_of", STRING, "pair_id of the cluster's representative; null for the representative"),
        column("image_of", STRING, "url_id of the representative's image, whose picture is packed"),
    ],
)
