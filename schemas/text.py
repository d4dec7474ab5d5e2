"""text/rows: the candidates with cleaned caption, language and counts over all rows that entered."""

from schemas.fields import FLOAT64, INT32, INT64, STRING, STRINGS, column, table

ADDS = table(
    1,
    [
        column("caption", STRING, "cleaned text (NFC)"),
        column("caption_id", STRING, "hash of the cleaned caption"),
        column("caption_chars", INT32, "length of the caption", "code points"),
        column("caption_weight", INT32, "caption_chars, wide East Asian letters counting 3", "code points"),
        column("raw_chars", INT32, "length of the alt text before cleaning", "code points"),
        column("caption_letters", INT32, "letters among them", "code points"),
        column("boilerplate", STRING, "which kind of boilerplate the whole caption is; null: none"),
        column("lang", STRING, "ISO 639-1 (zh-cn, zh-tw as langdetect has them), or und where undetermined"),
        column("lang_prob", FLOAT64, "langdetect's probability of its answer; null where it has none", "0..1"),
        column("lang_guess", STRING, "langdetect's own answer, also where it is too unsure for lang; null: none"),
        column(
            "caption_images",
            INT64,
            "distinct image URLs this caption stands beside, among the rows that entered",
            "images",
        ),
        column("pair_pages", INT64, "distinct pages this pair stands on, among the rows that entered", "pages"),
        column("image_optouts", STRINGS, "opt-out signals of all pages that show this image, united"),
        column("request_url", STRING, "the URL that fetch asks for: the smallest raw URL of this url_id"),
        column(
            "pair_rank",
            INT64,
            "place of this candidate among those of its pair, by page URL, image URL and candidate_id, from 1",
        ),
    ],
)
