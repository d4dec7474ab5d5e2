"""text/rows: the candidates with cleaned caption, language and counts over all rows that entered."""

from schemas.fields import BOOL, FLOAT64, FLOATS, INT32, INT64, STRING, STRINGS, column, table

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
        column("top_word_share", FLOAT64, "share of the word said most often; 0: said < 3 times", "0..1"),
        column("repeated_share", FLOAT64, "share of long words that were there before", "0..1"),
        column("symbol_share", FLOAT64, "share of punctuation and signs in the code points", "0..1"),
        column("keywords", INT32, "items of a list of keywords; 0: no such list", "items"),
        column("pii_emails", INT32, "mail addresses replaced by <email>"),
        column("pii_phones", INT32, "phone numbers replaced by <phone>"),
        column("pii_ips", INT32, "IP addresses replaced by <ip>"),
        column("pii_cards", INT32, "card numbers replaced by <card>"),
        column("adult_term", STRING, "the first term of the list of adult terms in the caption; null: none"),
        column("lang", STRING, "ISO 639-1 as the detector names it (langdetect: zh-cn, zh-tw); und: undetermined"),
        column("lang_prob", FLOAT64, "the detector's probability of its answer; null where it has none", "0..1"),
        column("lang_guess", STRING, "the detector's own answer, also where it is too unsure for lang; null: none"),
        column(
            "caption_images",
            INT64,
            "distinct image URLs this caption stands beside, among the rows that entered",
            "images",
        ),
        column("image_domain", STRING, "registered domain of the image's host; empty where it has none"),
        column("blocked_domain", STRING, "the blocked domain that holds the image's host; null: none"),
        column("blocked_url", BOOL, "whether the image's URL is on a list of blocked ones"),
        column(
            "caption_domain_images",
            INT64,
            "as caption_images, of this image_domain alone; 0 without a domain",
            "images",
        ),
        column("pair_pages", INT64, "distinct pages this pair stands on, among the rows that entered", "pages"),
        column("image_optouts", STRINGS, "opt-out signals of all pages that show this image, united"),
        column("request_url", STRING, "the URL that fetch asks for: the smallest raw URL of this url_id"),
        column(
            "request_alternate", STRING, "another URL of the image that fetch may ask for: the smallest; null: none"
        ),
        column("image_sha256s", STRINGS, "sha256s that inputs list for the image, each once; null: none"),
        column("image_boxes", FLOATS, "boxes to blur of all rows that show the image; null: none", "share of a side"),
        column("queries", STRINGS, "entries of the list of queries in the caption, sorted; null without a list"),
        column("query_matches", INT32, "how many they are", "entries"),
        column(
            "query_shares",
            FLOATS,
            "of the pairs that entered with each of them, the share that is let through before fetch; null: all",
            "0..1",
        ),
        column("is_let_through", BOOL, "whether one of them lets the pair through before fetch; null: no such cap"),
        column(
            "pair_rank",
            INT64,
            "place of this candidate among those of its pair, by page URL, image URL and candidate_id, from 1",
        ),
    ],
)
