"""A measured model: the figures with what they were measured on, written whole or not at all.

A result names the model by the digest of its weights and preprocessing and the data by the digest of its bytes, classes
and templates, so that no old result passes for a new one (V11). Image size, context length and activation come from the
checkpoint; nothing here can set them otherwise (V2).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipeline.core.errors import ErrorCode, InputError, StageError
from pipeline.core.ids import key_of_bytes
from pipeline.core.storage import open_storage
from pipeline.evaluation.intervals import Estimate
from pipeline.evaluation.pictures import distinct, open_picture, overlap
from pipeline.evaluation.retrieval import Recall, Retrieval, retrieval
from pipeline.evaluation.zero_shot import TEMPLATES, ZeroShot, zero_shot
from pipeline.training.sources import PICTURES, Index, find_sources, fingerprint
from pipeline.vision.clip_model import ClipModel

F = TypeVar("F", Retrieval, ZeroShot)


@dataclass(frozen=True)
class Result(Generic[F]):
    """Figures, and the digests of what they belong to. ``overlap``: test images that training data has too."""

    task: str
    model: str
    data: str
    device: str
    figures: F
    overlap: int | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def write(self, path: Path) -> None:
        """Replace the file in one step. InputError ``disk_full``."""
        text = json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n"
        open_storage(str(path.parent)).replace(path.name, text.encode())

    def lines(self) -> list[str]:
        """For people: every figure beside chance and its 95% interval."""
        return _retrieval_lines(self.figures) if isinstance(self.figures, Retrieval) else _class_lines(self.figures)


def evaluate_retrieval(
    model: ClipModel,
    data: Sequence[str],
    images: str = "",
    training_data: Sequence[str] = (),
    require_clean: bool = False,
) -> Result[Retrieval]:
    """Retrieval over corpora, tars or lists. ``training_data`` is searched for images of the test set (V10).

    InputError as `find_sources` and `retrieval`; StageError ``too_many_errors``, ``embedding_nonfinite``, with
    ``require_clean`` ``eval_overlap``.
    """
    sources = find_sources(data, images)
    test = distinct(Index(sources))
    shared = overlap(test.sha256, Index(find_sources(training_data))) if training_data else None
    if require_clean and shared:
        raise StageError(
            ErrorCode.EVAL_OVERLAP,
            f"{shared:,} of {len(test.sha256):,} test images are in the training data; leave them out",
        )
    figures = retrieval(model, test.pictures(), test.captions)
    return Result("retrieval", model.digest, fingerprint(sources), model.device_and_precision, figures, shared)


def evaluate_zero_shot(
    model: ClipModel, folder: Path, classes: Path | None = None, templates: Sequence[str] = TEMPLATES
) -> Result[ZeroShot]:
    """Zero-shot over a folder with a folder of images for each class.

    Class names are those of the folders, or the lines of ``classes``, one for each folder in their sorted order.
    InputError: ``input_missing``, ``labels_invalid``, ``dataset_too_small``.
    """
    if not folder.is_dir():
        raise InputError(
            ErrorCode.INPUT_MISSING, f"{folder} is not a folder; give one with a folder of images per class"
        )
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    names = classes.read_text("utf-8").splitlines() if classes else [path.name for path in folders]
    if len(names) != len(folders):
        raise InputError(ErrorCode.LABELS_INVALID, f"{len(names)} class names for {len(folders)} folders in {folder}")
    pictures = [(path, label) for label, one in enumerate(folders) for path in _pictures(one)]
    figures = zero_shot(
        model,
        (open_picture(path.read_bytes()) for path, _ in pictures),
        [label for _, label in pictures],
        names,
        templates,
    )
    texts = [text.encode("utf-8", "surrogatepass") for text in (*names, *templates)]
    data = key_of_bytes(*texts, *(f"{label}".encode() + path.read_bytes() for path, label in pictures))
    return Result("zero-shot", model.digest, data, model.device_and_precision, figures)


def _pictures(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower().removeprefix(".") in PICTURES]


def _retrieval_lines(figures: Retrieval) -> list[str]:
    def line(direction: str, recall: Recall) -> str:
        return f"{direction:<14} R@{recall.k:<3} {_estimate(recall.recall)}  chance {recall.chance:.1%}"

    return [
        f"{figures.images:,} images, {figures.texts:,} texts, {figures.unreadable:,} unreadable",
        *(line("image to text", recall) for recall in figures.image_to_text),
        *(line("text to image", recall) for recall in figures.text_to_image),
    ]


def _class_lines(figures: ZeroShot) -> list[str]:
    return [
        f"{figures.pictures:,} images of {figures.classes:,} classes, {figures.unreadable:,} unreadable",
        f"top-1           {_estimate(figures.top1)}  chance {figures.chance1:.1%}",
        f"top-5           {_estimate(figures.top5)}  chance {figures.chance5:.1%}",
        f"mean per class  {figures.mean_per_class:.1%}",
    ]


def _estimate(estimate: Estimate) -> str:
    return f"{estimate.value:6.1%}  ({estimate.low:.1%} to {estimate.high:.1%})"
