"""The planted truth: what each ``<img>`` of the mini-web is, and what a correct pipeline does with it.

``truth.jsonl`` has one line per ``<img>``, in the order of the pages and of the images on them; ``pages.jsonl`` has one
line per page. An image in a comment, in a ``<template>`` or under ``/decoy/`` has no line: it must not be requested.

How to read ``expected_*``: null means kept; otherwise the stage and reason of docs/faults.md. Two kinds concern *two*
pairs, of which one is kept: of an image and its copy (``duplicate_of`` names the original), ``select`` chooses which;
of a pair and its repetition, ``text`` chooses which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

TRUTH_FILE = "truth.jsonl"
PAGES_FILE = "pages.jsonl"


class Kind(StrEnum):
    """The kind of an ``<img>``."""

    GOOD = "good"
    REDIRECT = "redirect"  # good after one to three hops
    RATE_LIMITED_ONCE = "rate_limited_once"  # 429, then good
    ALT_MISSING = "alt_missing"
    ALT_EMPTY = "alt_empty"
    DATA_URI = "data_uri"
    NOSCRIPT_TWIN = "noscript_twin"  # the second <img> of a lazy image
    ROBOTS_PAGE = "robots_page"
    BOILERPLATE_ALT = "boilerplate_alt"
    FILENAME_ALT = "filename_alt"
    TOO_SHORT_ALT = "too_short_alt"
    KEYWORDS_ALT = "keywords_alt"
    PRIVATE_ALT = "private_alt"  # kept, without the address in it
    NOAI_PAGE = "noai_page"
    SAME_PAIR_AGAIN = "same_pair_again"
    TRACKING_PIXEL = "tracking_pixel"
    BROKEN_404 = "broken_404"
    SERVER_ERROR = "server_error"
    BROKEN_BYTES = "broken_bytes"
    CUT_OFF = "cut_off"
    HTML_AS_IMAGE = "html_as_image"
    SLOW = "slow"
    ROBOTS_IMAGE = "robots_image"
    NOAI_IMAGE = "noai_image"
    REDIRECT_LOOP = "redirect_loop"
    PLACEHOLDER = "placeholder"  # "no photo" under many URLs
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    WRONG_CAPTION = "wrong_caption"


# Stage and reason; None: kept. broken_bytes: its reason depends on the variant and is in the line.
EXPECTED: dict[Kind, tuple[str, str] | None] = {
    Kind.GOOD: None,
    Kind.REDIRECT: None,
    Kind.RATE_LIMITED_ONCE: None,
    Kind.ALT_MISSING: ("extract", "alt_missing"),
    Kind.ALT_EMPTY: ("extract", "alt_empty"),
    Kind.DATA_URI: ("extract", "data_uri"),
    Kind.NOSCRIPT_TWIN: None,  # one row with its lazy image, counted twice
    Kind.ROBOTS_PAGE: ("crawl", "robots_disallow"),
    Kind.BOILERPLATE_ALT: ("text", "text_boilerplate"),
    Kind.FILENAME_ALT: ("text", "text_boilerplate"),
    Kind.TOO_SHORT_ALT: ("text", "text_too_short"),
    Kind.KEYWORDS_ALT: ("text", "text_repetition"),
    Kind.PRIVATE_ALT: None,
    Kind.NOAI_PAGE: ("text", "optout_meta"),
    Kind.SAME_PAIR_AGAIN: ("text", "duplicate_pair"),
    Kind.TRACKING_PIXEL: ("fetch", "too_small"),
    Kind.BROKEN_404: ("fetch", "http_4xx"),
    Kind.SERVER_ERROR: ("fetch", "http_5xx"),
    Kind.BROKEN_BYTES: ("fetch", "truncated_image"),
    Kind.CUT_OFF: ("fetch", "truncated_body"),
    Kind.HTML_AS_IMAGE: ("fetch", "not_an_image"),
    Kind.SLOW: ("fetch", "deadline_exceeded"),
    Kind.ROBOTS_IMAGE: ("fetch", "robots_disallow"),
    Kind.NOAI_IMAGE: ("fetch", "optout_xrobots"),
    Kind.REDIRECT_LOOP: ("fetch", "too_many_redirects"),
    Kind.PLACEHOLDER: ("dedup", "placeholder_image"),
    Kind.EXACT_DUPLICATE: ("select", "duplicate_image"),
    Kind.NEAR_DUPLICATE: ("select", "duplicate_image"),
    Kind.WRONG_CAPTION: ("clip", "clip_score_low"),
}


class Truth(msgspec.Struct, frozen=True):
    """One ``<img>``."""

    page_url: str
    image_url: str  # what an extractor should find; a data: URI is complete
    alt_text: str | None  # null: no alt attribute
    lang: str  # of the page, ISO 639-1
    concepts: list[str]  # English names of what the image shows
    kind: Kind
    expected_stage: str | None
    expected_reason: str | None
    duplicate_of: str | None = None  # image URL of the original
    note: str | None = None  # the variant of the kind, and figures about it


class Page(msgspec.Struct, frozen=True):
    """One page, or an address that redirects to one or fails."""

    url: str
    lang: str
    charset: str | None  # null: no page here
    kind: str  # index, article, private, noai, moved, gone, missing, failing
    expected_reason: str | None  # of stage crawl; null: fetched


def write_lines(path: Path, lines: Iterable[msgspec.Struct]) -> None:
    """One JSON object per line."""
    encode = msgspec.json.Encoder().encode
    path.write_bytes(b"".join(encode(line) + b"\n" for line in lines))


def read_truth(site: Path) -> Iterator[Truth]:
    """The lines of ``truth.jsonl``."""
    return _read(site / TRUTH_FILE, Truth)


def read_pages(site: Path) -> Iterator[Page]:
    """The lines of ``pages.jsonl``."""
    return _read(site / PAGES_FILE, Page)


def _read(path: Path, line_type: type[T]) -> Iterator[T]:
    decode = msgspec.json.Decoder(line_type).decode
    with path.open("rb") as lines:
        yield from map(decode, lines)
