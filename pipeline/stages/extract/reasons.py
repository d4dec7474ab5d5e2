"""Why an image on a page, a record or a line does not give a candidate: the closed set of ``extract``."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Codes of docs/faults.md, part Extract. A row's ``outcome`` is one of them, or ``ok``."""

    # An archive or one of its records.
    ARCHIVE_TRUNCATED = "archive_truncated"
    ARCHIVE_MALFORMED = "archive_malformed"
    RECORD_MALFORMED = "record_malformed"
    RECORD_NOT_PAGE = "record_not_page"
    ROW_MALFORMED = "row_malformed"

    # A page.
    BODY_TOO_LARGE = "body_too_large"
    BAD_ENCODING = "bad_encoding"
    PARSER_CRASH = "parser_crash"
    PAGE_IMAGE_LIMIT = "page_image_limit"

    # An image on a page.
    DATA_URI = "data_uri"
    SCHEME_NOT_ALLOWED = "scheme_not_allowed"
    URL_CREDENTIALS = "url_credentials"
    URL_TOO_LONG = "url_too_long"
    URL_INVALID = "url_invalid"
    ALT_MISSING = "alt_missing"
    ALT_EMPTY = "alt_empty"
    TEXT_UNDECODABLE = "text_undecodable"
