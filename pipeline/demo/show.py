"""The demo's figures on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from pipeline.demo.outcome import Filter, Model, cut
from pipeline.demo.score import FilterScore
from pipeline.evaluation.intervals import Estimate
from pipeline.evaluation.separation import separation

SHOWN_K = 5  # of R@k


def filters(scores: Sequence[FilterScore], console: Console) -> None:
    """Precision and recall of each filter, in images with their text."""
    table = _table("filters against the planted truth", "fate", "planted", "dropped", "precision", "recall")
    for found in scores:
        table.add_row(
            found.fate, f"{found.planted:,}", f"{found.dropped:,}", _share(found.precision), _share(found.recall)
        )
    console.print(table)


def clip_filter(found: Filter, console: Console) -> None:
    """The filter on images that its model has never seen, at both thresholds, and the cost of moving the threshold."""
    area = separation(found.unseen.right, found.unseen.wrong).auc
    console.print(
        f"\nthe CLIP filter, trained on corpus A, on images it has never seen: AUC {_estimate(area)} "
        f"({len(found.unseen.right):,} right captions, {len(found.unseen.wrong):,} wrong)",
        soft_wrap=True,
    )
    headings = ("clip.min_score", "pairs of", "right kept", "wrong dropped", "precision")
    table = _table("thresholds, chosen on the judge's host", *headings)
    for threshold in (found.chosen, found.moved):
        for name, judged in found.sets().items():
            at = cut(judged, threshold)
            shares = (at.right_kept, at.wrong_dropped, at.precision)
            table.add_row(f"{threshold:.4f}", name, *map(_share, shares))
    console.print(table)
    if not any(step.ran for step in found.steps):
        console.print(f"run b already has the threshold {found.moved:.4f}: nothing to do")
        return
    table = _table(
        f"the threshold moved to {found.moved:.4f}: {found.seconds:.1f} s",
        "stage",
        "measure key",
        "ran",
        "never measured before",
    )
    for step in found.steps:
        table.add_row(
            step.stage,
            "the same" if step.same_measure_key else "another",
            "again" if step.ran else "no",
            f"{step.measured:,}",
        )
    console.print(table)


def models(found: Mapping[str, Model], console: Console) -> None:
    """Each model on held-out scenes: scores with 95% intervals, and chance."""
    console.print("\nmodels on held-out scenes")
    for name, model in found.items():
        shot, retrieved = model.measured.zero_shot, model.measured.retrieval
        table = _table(
            f"trained on {name}: {model.pairs:,} pairs, {model.steps:,} steps; "
            f"{model.measured.overlap} of these scenes seen",
            "task",
            "score",
            "chance",
        )
        table.add_row(
            f"zero-shot top-1, {shot.pictures} scenes, {shot.classes} classes",
            _estimate(shot.top1),
            _share(shot.chance1),
        )
        table.add_row("zero-shot top-5", _estimate(shot.top5), _share(shot.chance5))
        for way, recalls in (("image → text", retrieved.image_to_text), ("text → image", retrieved.text_to_image)):
            (at,) = (recall for recall in recalls if recall.k == SHOWN_K)
            table.add_row(f"{way} R@{at.k}, {retrieved.images} scenes", _estimate(at.recall), _share(at.chance))
        console.print(table)


def _table(title: str, *headings: str) -> Table:
    """The first column to the left, figures to the right."""
    table = Table(title=title, title_justify="left", box=None)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    return table


def _estimate(found: Estimate) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
