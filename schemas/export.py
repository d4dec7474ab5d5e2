"""export/rows: whether each pair's picture is there and whole; and the corpus parquet that lies beside each tar."""

from schemas.fields import FLOAT64, INT32, INT64, STRING, column, table

PICTURE = (
    column("sha256", STRING, "of the image bytes as served"),
    column("phash", INT64, "imagehash.phash of the picture in the tar, 64 bits as a signed integer"),
    column("original_width", INT32, "width as served", "pixels"),
    column("original_height", INT32, "height as served", "pixels"),
    column("width", INT32, "width of the picture in the tar", "pixels"),
    column("height", INT32, "height of the picture in the tar", "pixels"),
    column("image_sha256", STRING, "of the image bytes in the tar"),
)

ADDS = table(
    1,
    [
        column("outcome", STRING, "ok, or the reason the pair could not be packed"),
        *PICTURE,
        column("image_file", STRING, "file of the stored bytes, relative to the run; full path of a tar read in place"),
        column("image_offset", INT64, "where the stored bytes begin in it", "bytes"),
        column("image_bytes", INT64, "how many bytes are stored", "bytes"),
    ],
)

CORPUS = table(
    1,
    [
        column("key", STRING, "the sample's key in the tar: its pair_id"),
        column("pair_id", STRING, "hash of normalised image URL and raw alt text in NFC"),
        column("url", STRING, "image URL, as img2dataset names it"),
        column("caption", STRING, "cleaned caption"),
        column("lang", STRING, "language of the caption, or und"),
        column("lang_prob", FLOAT64, "langdetect's probability of its answer", "0..1"),
        column("page_url", STRING, "a page that shows the pair"),
        *PICTURE,
        column("clip_score", FLOAT64, "cosine of image and caption embedding; null where CLIP was off", "-1..1"),
        column("cluster_id", STRING, "duplicate cluster of the image"),
    ],
)
