"""extract/rows: one row per image with its text on a page; also one per page or record lost whole."""

from schemas.fields import FLOATS, INT32, INT64, STRING, STRINGS, column, table

ADDS = table(
    1,
    [
        column("candidate_id", STRING, "key: hash of page URL, capture date, place, raw image URL, raw alt text"),
        column("count", INT64, "equal rows (or, for summaries, records) that this row stands for", "candidates"),
        column("outcome", STRING, "ok, or why there is no candidate here"),
        column("detail", STRING, "what exactly was lost (file name and offset, first bytes of a data: URI, ...)"),
        column("pair_id", STRING, "hash of normalised image URL and raw alt text in NFC"),
        column("url_id", STRING, "hash of the normalised image URL"),
        column("page_id", STRING, "hash of the normalised page URL"),
        column("image_url", STRING, "absolute image URL as found"),
        column("alt_text", STRING, "raw alt text, entities decoded once"),
        column("caption_source", STRING, "where the text stood: alt"),
        column("page_url", STRING, "URL of the page"),
        column("page_lang", STRING, "language the page declares"),
        column("page_date", STRING, "capture date (WARC-Date); null where the input has none"),
        column("place", INT32, "number of the image on its page, in document order, from 0"),
        column("source_key", STRING, "of a tar of images: its name without folder and ending, slash, the sample's key"),
        column("image_shard", STRING, "fingerprint of the tar that holds the picture; the manifest says where it lies"),
        column("image_offset", INT64, "where the picture begins in that tar", "bytes"),
        column("image_bytes", INT64, "how many bytes it has there", "bytes"),
        column("listed_sha256s", STRINGS, "sha256 of the bytes behind the URL, as the input has it; of equal rows all"),
        column("boxes", FLOATS, "left, top, right, bottom of each box to blur, one after another", "share of a side"),
        column("page_optouts", STRINGS, "opt-out signals of the page (meta robots, response headers)"),
        column("alternate_url", STRING, "another URL of the image, on the same host; fetch may ask for it"),
        column("alternate_id", STRING, "hash of the normalised alternate_url"),
    ],
)
