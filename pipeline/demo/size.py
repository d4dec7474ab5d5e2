"""The two sizes of the demo: a small one that is quick to watch, and the full one, whose figures vary less.

The hosts have three groups ("quarters") without a common image. Four *old* hosts, whose captions are right, make the
first corpus. The *judge's* host is crawled with them but kept out of training: a fifth of its captions are known to be
wrong, and the threshold is chosen on it. The *new* hosts, with the same share of wrong captions, make the second
corpus. The groups are separate because a model gives too high a score to a wrong pair that it was trained on.

The judge's and the new hosts write English. A nano model learns English from the old hosts; it sees too few captions of
the eleven other languages to judge them. The small demo has fewer images, fewer crawl rounds into the endless trap and
fewer training steps, but every defect and every stage of the full one. It has fewer concepts, so that each still occurs
often enough to be learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.smallweb.site import Quarter, SiteSpec

ENGLISH_SHARE = 0.8  # of the old hosts' images
WRONG_SHARE = 0.2  # of the pairs of the judge's and of the new hosts


@dataclass(frozen=True)
class Size:
    """Number of planted images, and length of training."""

    old: Quarter
    judge: Quarter
    new: Quarter
    concepts: int
    held_out: int  # scenes that are on no page
    steps: int  # of each training
    batch_size: int  # pairs; fewer if a corpus is smaller
    settings: Mapping[str, Any] = field(default_factory=dict)  # of both runs, in addition to the preset

    def spec(self, seed: int = 0) -> SiteSpec:
        """The web of this size."""
        quarters = (self.old, self.judge, self.new)
        return SiteSpec(quarters, seed=seed, concepts=self.concepts, held_out=self.held_out)

    def scaled(self, scenes: int) -> Size:
        """This size scaled to a number of good scenes on the old hosts."""
        share = scenes / self.old.scenes
        quarters: dict[str, Any] = {name: _scaled(getattr(self, name), share) for name in ("old", "judge", "new")}
        concepts, held_out = min(self.concepts, scenes), _part(self.held_out, share)
        return replace(self, **quarters, concepts=concepts, held_out=held_out)


def _with_wrong(quarter: Quarter) -> Quarter:
    """The same quarter, English only; ``WRONG_SHARE`` of its captions of non-copied images are wrong."""
    honest = quarter.scenes + 3 * quarter.defects_each + quarter.rate_limited  # redirects, twins, copies are honest too
    wrong = round(honest * WRONG_SHARE / (1 - WRONG_SHARE))
    return replace(quarter, wrong_captions=wrong, english_share=1.0)


def _scaled(quarter: Quarter, share: float) -> Quarter:
    figures = {
        name: _part(getattr(quarter, name), share) for name in ("scenes", "defects_each", "slow", "rate_limited")
    }
    scaled = replace(quarter, **figures)
    return _with_wrong(scaled) if quarter.wrong_captions else scaled


def _part(figure: int, share: float) -> int:
    return max(1, round(figure * share)) if figure else 0


FULL = Size(
    old=Quarter(
        hosts=4,
        scenes=1500,
        defects_each=60,
        wrong_captions=0,
        slow=50,
        rate_limited=5,
        english_share=ENGLISH_SHARE,
    ),
    judge=_with_wrong(Quarter(hosts=1, scenes=160, defects_each=0, slow=0, rate_limited=0)),
    new=_with_wrong(Quarter(hosts=2, scenes=400, defects_each=12, slow=6, rate_limited=1)),
    concepts=100,
    held_out=500,
    steps=180,
    batch_size=256,
)
SMALL = Size(
    old=Quarter(
        hosts=4,
        scenes=500,
        defects_each=24,  # dedup.placeholder_images is 20
        wrong_captions=0,
        slow=8,  # at one time: fetch.per_host
        rate_limited=2,
        english_share=ENGLISH_SHARE,
    ),
    judge=_with_wrong(Quarter(hosts=1, scenes=120, defects_each=0, slow=0, rate_limited=0)),
    new=_with_wrong(Quarter(hosts=2, scenes=200, defects_each=10, slow=4, rate_limited=1)),
    concepts=40,
    held_out=200,
    steps=100,
    batch_size=128,
    settings={"crawl.max_depth": 4, "spark.partitions": 2},
)
