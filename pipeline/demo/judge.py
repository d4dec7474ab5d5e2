"""A model's scores of right and of wrong captions, for pairs whose truth is known.

Collects one row per pair: only for the small web of the demo.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.core.run import Run
from pipeline.core.storage import read_pictures
from pipeline.core.verdict import REASON
from pipeline.smallweb.truth import Kind, Truth
from pipeline.stages.clip.similarity import embed_images, embed_texts, scores
from pipeline.vision.clip_model import ClipModel


@dataclass(frozen=True)
class Judged:
    """Cosines of pairs whose captions are right, and of pairs whose captions are wrong."""

    right: list[float]
    wrong: list[float]


def scored_by_build(run: Run, truths: Iterable[Truth]) -> Judged:
    """The scores that the clip stage of the run measured, of kept and of dropped pairs."""
    scored = run.rows("clip").where(F.col("clip_score").isNotNull()).select("pair_id", "clip_score")
    rows = scored.join(_as_written(run), "pair_id").collect()
    return _apart([((row["image_url"], row["alt_text"]), row["clip_score"]) for row in rows], truths)


def scored_now(run: Run, reason: str, model: ClipModel, truths: Iterable[Truth]) -> Judged:
    """The model's scores of the pairs that ``select`` dropped for ``reason``; their images are read in place."""
    held = run.judged("select").where(F.col(REASON) == reason)
    places = ("image_file", "image_offset", "image_bytes")
    rows = held.select("pair_id", "caption", *places).join(_as_written(run), "pair_id").orderBy(*places).collect()
    pictures = read_pictures(run.storage, [tuple(row[place] for place in places) for row in rows])
    image_BD = embed_images(list(pictures), model)
    cosines = scores(image_BD, embed_texts([row["caption"] for row in rows], model))
    named = ((row["image_url"], row["alt_text"]) for row in rows)
    return _apart([(name, cosine) for name, cosine in zip(named, cosines, strict=True) if cosine is not None], truths)


def _as_written(run: Run) -> DataFrame:
    """Image URL and alt text of each pair, as a page has them: these identify it in the truth."""
    return run.rows("extract").select("pair_id", "image_url", "alt_text").distinct()


def _apart(scored: list[tuple[tuple[str, str], float]], truths: Iterable[Truth]) -> Judged:
    wrong = {(truth.image_url, truth.alt_text) for truth in truths if truth.kind is Kind.WRONG_CAPTION}
    found = Judged([], [])
    for name, score in sorted(scored):
        (found.wrong if name in wrong else found.right).append(score)
    return found
