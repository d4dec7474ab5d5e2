"""dedup/rows: the fetched images with their duplicate cluster. Measured here, judged in select."""

from schemas.fields import BINARY, INT32, INT64, STRING, column, table

ADDS = table(
    3,  # 2: clusters by three hashes; nearest_bits is the distance to a copy. 3: captions beside a picture, not bytes
    [
        column("cluster_id", STRING, "smallest url_id of the images joined by equal sha256 or as copies"),
        column("cluster_images", INT64, "image URLs in the cluster", "images"),
        column("same_bytes_images", INT64, "image URLs with these very bytes, among the rows that entered", "images"),
        column("same_picture_images", INT64, "image URLs with these bytes or with equal hashes", "images"),
        column("same_picture_domains", INT64, "distinct registered domains among them", "domains"),
        column("same_picture_captions", INT64, "distinct captions beside them", "captions"),
        column("nearest_bits", INT32, "Hamming distance of phash to the nearest other copy; null: no copy", "bits"),
        column("eval_name", STRING, "the listed picture of an evaluation set that this one is a copy of; null: none"),
        column("eval_bits", INT32, "Hamming distance of phash to it; 0 for equal bytes", "bits"),
    ],
)

OVERLAPS = table(
    1, [column("sha256", STRING, "of an image as served"), ADDS.field("eval_name"), ADDS.field("eval_bits")]
)

_NODE = "xxhash64 of the three hashes of a picture"

SIGNATURES = table(
    1,
    [
        column("node", INT64, _NODE),
        column("phash", INT64, "64 bits, signed"),
        column("phash256", BINARY, "32 bytes"),
        column("chroma4", BINARY, "32 bytes"),
    ],
)

EDGES = table(
    2,  # 2: between signatures, no longer between hashes
    [
        column("node_a", INT64, _NODE),
        column("node_b", INT64, "another that is a copy of it"),
        column("bits", INT32, "Hamming distance of phash", "bits"),
    ],
)

COMPONENTS = table(
    2,  # 2: of signatures
    [
        column("node", INT64, f"{_NODE} that has a copy with another signature"),
        column("component", INT64, "the smallest node of its component"),
        column("nearest_bits", INT32, "Hamming distance of phash to the nearest of these copies", "bits"),
    ],
)
