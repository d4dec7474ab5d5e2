"""A list of pictures that a corpus must not overlap with, as `pairmill hashes build` writes it."""

from schemas.fetch import ADDS as FETCHED
from schemas.fields import STRING, column, table

HASHES = table(
    1,
    [
        column("name", STRING, "the picture's name: SET/FILE"),
        *(FETCHED.field(name) for name in ("sha256", "phash", "phash_margin", "phash256", "chroma4")),
    ],
)
