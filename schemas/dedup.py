"""dedup/rows: the fetched images with their duplicate cluster. Measured here, judged in select."""

from schemas.fields import INT32, INT64, STRING, column, table

ADDS = table(
    1,
    [
        column("cluster_id", STRING, "smallest url_id of the images joined by equal sha256 or near phash"),
        column("cluster_images", INT64, "image URLs in the cluster", "images"),
        column("same_bytes_images", INT64, "image URLs with these very bytes, among the rows that entered", "images"),
        column("same_bytes_captions", INT64, "distinct captions beside these very bytes", "captions"),
        column(
            "nearest_bits",
            INT32,
            "Hamming distance of phash to the nearest other image; null: none within reach",
            "bits",
        ),
    ],
)

EDGES = table(
    1,
    [
        column("phash_a", INT64, "a hash, signed"),
        column("phash_b", INT64, "a greater hash near it, signed"),
        column("bits", INT32, "their Hamming distance", "bits"),
    ],
)

COMPONENTS = table(
    1,
    [
        column("phash", INT64, "a hash that is near another, signed"),
        column("component", INT64, "the smallest hash of its component, signed"),
        column("nearest_bits", INT32, "Hamming distance to the nearest other hash", "bits"),
    ],
)
