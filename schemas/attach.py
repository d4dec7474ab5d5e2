"""attach/rows: the pairs of text with the columns of their image."""

from schemas.fields import STRING, column, table

ADDS = table(
    1,
    [
        column("image_verdict", STRING, "ok, or stage/dropped/reason of the image"),
    ],
)
