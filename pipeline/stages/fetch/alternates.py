"""The alternate URL of an image: when it is asked for, and the one row that both answers give.

A page often names an image twice: a large one in srcset or for a lazy loader, and one in src. Where the first is gone
or no image, the second may be there. It is on the same host and asked for by the same rules. The owner's no, a block
and a failure that a later try may mend are not answered by asking for another URL.
A failure of the alternate that a later try may mend is the outcome, so that ``--retry-failed`` asks for both again.
"""

from __future__ import annotations

from typing import Any

from pipeline.stages.fetch.reasons import RETRYABLE
from pipeline.vision.reasons import ImageReason
from pipeline.web.reasons import NetReason
from schemas.fields import OK

Row = dict[str, Any]

ANOTHER_MAY_HELP = frozenset(
    reason.value
    for reason in (
        *(NetReason.HTTP_4XX, NetReason.HTTP_STATUS_ODD, NetReason.HTTP_MALFORMED, NetReason.TOO_MANY_REDIRECTS),
        *(NetReason.BODY_TOO_LARGE, NetReason.EMPTY_BODY, NetReason.BAD_ENCODING),
        *(ImageReason.NOT_AN_IMAGE, ImageReason.FORMAT_NOT_ALLOWED, ImageReason.TOO_MANY_PIXELS),
        *(ImageReason.DECODE_FAILED, ImageReason.TRUNCATED_IMAGE, ImageReason.DECODE_TIMEOUT, ImageReason.DECODE_CRASH),
    )
)
MAX_DETAIL_CHARS = 256


def alternate_of(asked: Row, columns: Row) -> str | None:
    """The alternate URL to ask for after ``columns``, what ``request_url`` gave; None if there is no use in it."""
    return asked.get("alternate_url") if columns["outcome"] in ANOTHER_MAY_HELP else None


def with_alternate(first: Row, second: Row, alternate_url: str) -> Row:
    """One row of both: that of the alternate if it gave an image or still may, else the first with the other's reason
    in detail."""
    both = {
        "tries": first["tries"] + second["tries"],
        "optouts": sorted({*first["optouts"], *second["optouts"]}),
        "tried": [*(first.get("tried") or ()), *(second.get("tried") or ())] or None,
    }
    if second["outcome"] == OK:
        return second | both | {"fetched_url": alternate_url}
    if second["outcome"] in RETRYABLE:
        detail = f"alternate {alternate_url}: {second.get('detail') or ''}; first {_told(first)}"
        return second | both | {"detail": detail[:MAX_DETAIL_CHARS]}
    told = second["outcome"] if second["outcome"] == ImageReason.BLOCKLISTED else _told(second)
    detail = f"{first.get('detail') or ''}; alternate {alternate_url}: {told}"
    return first | both | {"detail": detail.removeprefix("; ")[:MAX_DETAIL_CHARS]}


def _told(columns: Row) -> str:
    return f"{columns['outcome']} {columns.get('detail') or ''}".rstrip()
