"""clip/rows: the pairs with their CLIP similarity, and what it was measured with."""

from schemas.fields import BINARY, FLOAT64, STRING, column, table

ADDS = table(
    1,
    [
        column("clip_score", FLOAT64, "cosine of image and caption embedding", "-1..1"),
        column("clip_model", STRING, "digest of weights, preprocessing and context length"),
        column("clip_device", STRING, "device and precision of the measurement"),
    ],
)

EMBEDDINGS = table(
    1,
    [
        column("id", STRING, "image_sha256 of the picture, or caption_id"),
        column("embedding", BINARY, "float32, little-endian, length 1; NaN where it could not be embedded"),
    ],
)
