"""The columns of a pair and of its image, as attach, clip and select hand them on."""

PAIR_COLUMNS = (
    "pair_id",
    "url_id",
    "image_url",
    "page_url",
    "caption",
    "caption_id",
    "caption_chars",
    "lang",
    "lang_prob",
)
CHOICE_COLUMNS = ("image_domain", "queries", "query_shares")  # for the choices of select; export has no use for them
PICTURE_COLUMNS = (
    "sha256",
    "phash",
    "phash256",
    "chroma4",
    "original_width",
    "original_height",
    "width",
    "height",
    "image_sha256",
    "image_file",
    "image_offset",
    "image_bytes",
)
CLUSTER_COLUMNS = ("cluster_id", "cluster_images")
IMAGE_COLUMNS = PICTURE_COLUMNS + CLUSTER_COLUMNS
