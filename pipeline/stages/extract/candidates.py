"""Rows of ``extract``: one image with its text, or one thing lost.

A row is a plain dict with exactly the columns of ``schemas.extract.ADDS``; None if a value is unknown. Its keys
depend on the content of the input alone: never on a path, a clock or the limits of a split.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from pipeline.core.ids import key_of
from pipeline.stages.extract import references
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.mojibake import MAX_REPLACED_SHARE, is_mojibake
from pipeline.stages.extract.reasons import Reason
from pipeline.web.reasons import NetReason
from pipeline.web.urls import UrlError, clean, join, normalise, normalise_clean
from schemas.extract import ADDS
from schemas.fields import OK

Row = dict[str, Any]
T = TypeVar("T")

ALT = "alt"
DATA_URI_SHOWN_CHARS = 64
MAX_BATCH_CHARS = 2**22
FEW_ROWS = 16
URN_SHA256 = "urn:sha256:"

_EMPTY: Row = dict.fromkeys(ADDS.names)


def _page_id(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        return key_of(normalise(url))
    except UrlError:
        return key_of(url)  # a page of unknown address is still one page


@dataclass(frozen=True)
class Page:
    """The common values of all images of a page. ``base`` is the base of relative URLs; None: there is no base.

    ``max_replaced`` is the share of U+FFFD up to which a text counts as readable.
    """

    url: str | None
    date: str | None = None
    base: str | None = None
    lang: str | None = None
    optouts: tuple[str, ...] = ()
    max_replaced: float = MAX_REPLACED_SHARE
    page_id: str | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "page_id", _page_id(self.url))


NO_PAGE = Page(None)
"""In place of a page, for an image and text without one: a list's row, a tar's sample."""


def candidate(
    page: Page,
    place: int | None,
    raw_url: str,
    raw_alt: str | None,
    config: Config,
    raw_alternate: str | None = None,
    source: str = ALT,
) -> Row:
    """The row of one image. ``raw_url`` and ``raw_alt`` as found; alt None if there is none.

    On a page the parser has decoded the character references of both. Elsewhere ``raw_alt`` may hold them as scraped,
    and they are decoded here, so that a list and a page give one pair.

    ``raw_alternate`` is another URL of it. It enters no key, and is kept if fetch may ask for it on the same terms.
    ``source`` says where ``raw_alt`` stood, if it was not the alt.

    The URL is judged before the text: an image that can never be requested has that reason, whatever its text.
    """
    row = _as_found(page, place, raw_url, raw_alt, source)
    if is_data_uri(raw_url):
        return row | {"outcome": Reason.DATA_URI.value, "detail": raw_url.strip()[:DATA_URI_SHOWN_CHARS]}
    try:
        image_url = _absolute(page, raw_url, config)
        normalised = normalise_clean(image_url, config.max_url_bytes)
    except UrlError as error:
        return row | {"outcome": Reason(error.reason).value, "detail": error.detail}
    row = _with_keys(row, image_url, normalised, page.max_replaced)
    if raw_alternate and row["outcome"] == OK:
        row |= _alternate(page, raw_alternate, normalised, config)
    return row


def candidate_without_url(sha256: str, raw_text: str | None) -> Row:
    """The row of an image without a URL in an archive: the sha256 of its bytes (64 hex digits) names it."""
    urn = URN_SHA256 + sha256
    return _with_keys(_as_found(NO_PAGE, None, urn, raw_text), urn, urn)


def _as_found(page: Page, place: int | None, raw_url: str, raw_alt: str | None, source: str = ALT) -> Row:
    raw_parts = (raw_url,) if raw_alt is None else (raw_url, raw_alt) if source == ALT else (raw_url, raw_alt, source)
    row = _EMPTY.copy()
    row["candidate_id"] = key_of(page.url or "", page.date or "", "" if place is None else str(place), *raw_parts)
    row["count"] = 1
    row["outcome"] = OK
    row["alt_text"] = references.decoded(raw_alt) if page is NO_PAGE and raw_alt else raw_alt
    row["caption_source"] = None if raw_alt is None else source
    row["page_id"] = page.page_id
    row["page_url"] = page.url
    row["page_lang"] = page.lang
    row["page_date"] = page.date
    row["place"] = place
    row["page_optouts"] = list(page.optouts)
    return row


def _with_keys(row: Row, image_url: str, normalised: str, max_replaced: float = MAX_REPLACED_SHARE) -> Row:
    alt_text = row["alt_text"]
    row["image_url"] = image_url
    row["url_id"] = key_of(normalised)
    if reason := _fault_of_text(alt_text, max_replaced):
        row["outcome"] = reason.value
    else:
        row["pair_id"] = key_of(normalised, unicodedata.normalize("NFC", alt_text or ""))
    return row


def lost(
    fingerprint: str, place: int | str, reason: Reason, detail: str, *, count: int = 1, page: Page | None = None
) -> Row:
    """The row of something that was lost completely; ``place`` is its byte offset, line or name within the input."""
    known = {"page_url": page.url, "page_id": page.page_id, "page_date": page.date} if page else {}
    return (
        _EMPTY
        | known
        | {
            "candidate_id": key_of(fingerprint, str(place), reason.value),
            "count": count,
            "outcome": reason.value,
            "detail": detail,
        }
    )


def summary(fingerprint: str, reason: Reason, detail: str, count: int) -> Row:
    """One row for ``count`` records of one file without a page."""
    return lost(fingerprint, "all", reason, detail, count=count)


def beyond_limit(page: Page, count: int) -> Row:
    """One row for the images of a page that its limit left out."""
    return lost(page.url or "", page.date or "", Reason.PAGE_IMAGE_LIMIT, "", count=count, page=page)


def in_batches(rows: Iterator[T], most: int, chars_of: Callable[[T], int]) -> Iterator[list[T]]:
    """The rows in lists of at most ``most``, each ended early where its texts have MAX_BATCH_CHARS."""
    while batch := list(islice(rows, FEW_ROWS)):
        chars = sum(map(chars_of, batch))
        while len(batch) < most and chars < MAX_BATCH_CHARS and (more := list(islice(rows, FEW_ROWS))):
            chars += sum(map(chars_of, more))
            batch += more
        yield batch


def is_data_uri(url: str) -> bool:
    """Whether the URL holds the image itself."""
    return url.lstrip()[:5].lower() == "data:"


def _absolute(page: Page, raw_url: str, config: Config) -> str:
    reference = raw_url.strip()  # of more than a browser would remove: only to see whether something is there
    if not reference or reference.startswith("#"):  # both would resolve to the page itself
        raise UrlError(NetReason.URL_INVALID, "no image URL")
    if page.base is None:
        return clean(raw_url, config.max_url_bytes)  # a relative URL without a base: url_invalid
    return join(page.base, raw_url, config.max_url_bytes)


def _alternate(page: Page, raw_url: str, normalised: str, config: Config) -> Row:
    """The columns of the alternate if it is another image URL of the same scheme, host and port; else none."""
    try:
        url = _absolute(page, raw_url, config)
        other = normalise_clean(url, config.max_url_bytes)
        if other == normalised or other.split("/", 3)[:3] != normalised.split("/", 3)[:3]:
            return {}
    except UrlError:
        return {}
    return {"alternate_url": url, "alternate_id": key_of(other)}


def _fault_of_text(alt: str | None, max_replaced: float) -> Reason | None:
    if alt is None:
        return Reason.ALT_MISSING
    if not alt.strip():
        return Reason.ALT_EMPTY
    if alt.count("\N{REPLACEMENT CHARACTER}") > max_replaced * len(alt) or is_mojibake(alt):
        return Reason.TEXT_UNDECODABLE
    return None
