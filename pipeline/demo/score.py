"""Each filter compared with the planted truth: precision and recall of what it dropped.

A *fate* is what happened to one ``<img>``: ``kept``, or ``stage/dropped/reason`` of the one stage that dropped it.
If the truth says that one of several should be dropped (copies of an image, repetitions of a pair) but not which, the
expected fates are assigned again inside the group before the comparison. Collects rows: only for the demo's web.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.core.run import Run
from pipeline.core.verdict import REASON, VALUE
from pipeline.smallweb.truth import Truth

KEPT = "kept"
UNSEEN = "never seen"
URL_CHARS = 64  # a data: URI is not kept whole by the pipeline

Image = tuple[str, str, str | None]  # page URL, image URL (a data: URI cut), alt text


@dataclass(frozen=True)
class FilterScore:
    """Right and wrong decisions of one reason, counted in ``<img>``."""

    fate: str
    planted: int  # should have this fate
    dropped: int  # have it
    right: int  # both

    @property
    def precision(self) -> float | None:
        """Right among the dropped; None if nothing was dropped."""
        return self.right / self.dropped if self.dropped else None

    @property
    def recall(self) -> float | None:
        """Right among the planted; None if nothing was planted."""
        return self.right / self.planted if self.planted else None


def score(
    truths: Iterable[Truth], run: Run, held_back: Callable[[Truth], str | None] = lambda _: None
) -> list[FilterScore]:
    """One score per fate: first the planted ones in funnel order, then all others.

    ``held_back`` is the fate of pairs that only a user's rule drops.
    """
    off = {name for name in run.stages if run.is_off(name)}
    found = fates(run)
    planted, dropped, right = Counter[str](), Counter[str](), Counter[str]()
    for expected, actual in _paired(truths, found, off, held_back):
        planted[expected] += 1
        dropped[actual] += 1
        right[expected] += expected == actual
    order = {name: place for place, name in enumerate([*run.stages, KEPT, UNSEEN])}
    every = sorted(set(planted) | set(dropped), key=lambda fate: (order.get(fate.split("/")[0], 99), fate))
    return [FilterScore(fate, planted[fate], dropped[fate], right[fate]) for fate in every]


def fates(run: Run) -> dict[Image, list[str]]:
    """The fates of each image with its text; equal ones (a lazy image and its noscript twin) are in one list."""
    pages = {row["page_url"]: row["fate"] for row in _fate(run, "crawl", "page_url").collect()}
    candidates = run.judged("extract").select(
        "candidate_id",
        "pair_id",
        "page_url",
        "alt_text",
        "count",
        _named("extract").alias("extract"),
        F.coalesce("image_url", "detail").alias("image_url"),  # of a data: URI the detail keeps the beginning
    )
    joined = candidates.join(_fate(run, "text", "candidate_id", "text"), "candidate_id", "left")
    for stage in ("attach", "clip", "select", "export"):
        joined = joined.join(_fate(run, stage, "pair_id", stage), "pair_id", "left")
    decided = F.coalesce("extract", "text", "attach", "clip", "select", "export", F.lit(KEPT))
    found: dict[Image, list[str]] = defaultdict(list)
    for row in joined.select("page_url", "image_url", "alt_text", "count", decided.alias("fate")).collect():
        found[_image(row["page_url"], row["image_url"], row["alt_text"])] += [row["fate"]] * row["count"]
    for page_url, fate in pages.items():
        if fate is not None:
            found[page_url, "", None].append(fate)
    return found


def _fate(run: Run, stage: str, key: str, name: str = "fate") -> DataFrame:
    return run.judged(stage).select(key, _named(stage).alias(name))


def _named(stage: str) -> Column:
    """The full name of the reason; a pair whose image was dropped has the reason of the image."""
    reason = F.when(F.col(REASON).isNotNull(), F.concat(F.lit(f"{stage}/dropped/"), REASON))
    return F.when(F.col(REASON) == "image_dropped", F.col(VALUE)).otherwise(reason) if stage == "attach" else reason


def _image(page_url: str, image_url: str | None, alt_text: str | None) -> Image:
    url = image_url or ""
    return page_url, url[:URL_CHARS] if url.startswith("data:") else url, alt_text


def _paired(
    truths: Iterable[Truth], found: dict[Image, list[str]], off: set[str], held_back: Callable[[Truth], str | None]
) -> Iterator[tuple[str, str]]:
    """(expected, actual) fate of every planted image."""
    rest = {image: sorted(actual) for image, actual in found.items()}
    groups: dict[object, list[tuple[str, str]]] = defaultdict(list)
    for truth in truths:
        expected = f"{truth.expected_stage}/dropped/{truth.expected_reason}"
        if truth.expected_stage is None or truth.expected_stage in off:
            expected = held_back(truth) or KEPT
        image = _image(truth.page_url, truth.image_url, truth.alt_text)
        page = (truth.page_url, "", None)
        actual = rest[image].pop() if rest.get(image) else rest[page][0] if rest.get(page) else UNSEEN
        groups[truth.duplicate_of or truth.image_url].append((expected, actual))
    for members in groups.values():
        yield from _dealt_out(members)


def _dealt_out(members: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Assign the expected fates of a group to members with that actual fate, as far as possible."""
    open_expectations = Counter(expected for expected, _ in members)
    unmet = []
    for _, actual in members:
        if open_expectations[actual]:
            open_expectations[actual] -= 1
            yield actual, actual
        else:
            unmet.append(actual)
    yield from zip(open_expectations.elements(), unmet, strict=True)
