"""fetch/rows: one row per image URL; the stored picture lies in fetch/store at (image_file, image_offset, image_bytes).

fetch/store: every answer ever stored, under whatever settings; rows/ is the newest one for each image of this input.
"""

from schemas.fields import BINARY, FLOAT64, FLOATS, INT32, INT64, STRING, STRINGS, column, table

ADDS = table(
    1,
    [
        column("outcome", STRING, "ok, or the reason there is no picture"),
        column("detail", STRING, "what exactly happened, where the reason alone does not say"),
        column("http_status", INT32, "status of the last answer"),
        column("content_type", STRING, "Content-Type as served"),
        column("final_url", STRING, "URL after redirects"),
        column("tries", INT32, "requests made for this image, retries included", "requests"),
        column("try_number", INT32, "1 for the first measurement, raised by each --retry-failed; the highest counts"),
        column("fetched_at", STRING, "when the answer came (UTC, ISO 8601); a fetch fact, enters no key"),
        column("optouts", STRINGS, "opt-out signals of the image's responses, on any hop"),
        column("expected_sha256", STRING, "the sha256 that the input lists, where the bytes have another one"),
        column("sha256", STRING, "of the bytes as served"),
        column("served_bytes", INT64, "bytes as served", "bytes"),
        column("original_format", STRING, "format by magic bytes: jpeg, png, webp or gif"),
        column("original_width", INT32, "width as served", "pixels"),
        column("original_height", INT32, "height as served", "pixels"),
        column("blurred_boxes", FLOATS, "left, top, right, bottom of each box blurred in it", "share of a side"),
        column("width", INT32, "width as stored", "pixels"),
        column("height", INT32, "height as stored", "pixels"),
        column("short_side", INT32, "shorter side as served", "pixels"),
        column("aspect", FLOAT64, "longer side over shorter side, as served"),
        column("spread", FLOAT64, "largest standard deviation of a channel of the stored picture", "levels of 255"),
        column("mean", FLOAT64, "mean grey level of the stored picture", "levels of 255"),
        column("entropy", FLOAT64, "of the histogram of its grey levels, 0 to 8", "bits"),
        column("phash", INT64, "imagehash.phash of the stored picture, 64 bits as a signed integer"),
        column("phash_margin", FLOAT64, "least distance of a coefficient of phash from their median; 0: noise decides"),
        column("phash256", BINARY, "imagehash.phash of the stored picture with hash_size 16, 32 bytes"),
        column("chroma4", BINARY, "means of Cb, then of Cr, over a 4x4 grid of the stored picture, 32 bytes"),
        column("image_sha256", STRING, "of the bytes as stored"),
        column("image_file", STRING, "file of the stored bytes, relative to the run; full path of a tar read in place"),
        column("image_offset", INT64, "where the stored bytes begin in it", "bytes"),
        column("image_bytes", INT64, "how many bytes are stored", "bytes"),
        column("tried", STRINGS, "tries before the last one, waits of its host: when (UTC), reason, detail; else null"),
        column("fetched_url", STRING, "the alternate URL that gave the image after request_url had failed; else null"),
    ],
)

STORE = table(
    1,
    [
        column("url_id", STRING, "key of the image URL"),
        column("measure_key", STRING, "settings under which it was measured"),
        column("part", STRING, "the committed part this row belongs to"),
        column("request_url", STRING, "the URL that was asked for; in place: fingerprint of the tar, offset, length"),
        *ADDS,
    ],
)
