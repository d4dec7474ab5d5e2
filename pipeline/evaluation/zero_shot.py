"""Zero-shot classification: the class whose description lies nearest to the picture.

Source: Radford et al., 2021, section 3.1: each class is the mean of the embeddings of its name in several templates.

Shapes: N pictures, R those that can be read, C classes, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.core.errors import ErrorCode, InputError
from pipeline.evaluation.intervals import Estimate, wilson
from pipeline.evaluation.pictures import embed_pictures
from pipeline.evaluation.ranking import chance, cosines, hits
from pipeline.vision.clip_model import ClipModel

TEMPLATES = ("a photo of a {}.",)


@dataclass(frozen=True)
class ZeroShot:
    pictures: int
    classes: int
    unreadable: int  # pictures; they count as wrong
    top1: Estimate
    top5: Estimate
    mean_per_class: float  # top-1, each class counting the same
    chance1: float
    chance5: float


def zero_shot(
    model: ClipModel,
    pictures: Iterable[Image.Image | None],
    labels: Sequence[int],
    class_names: Sequence[str],
    templates: Sequence[str] = TEMPLATES,
) -> ZeroShot:
    """Top-1 and top-5 of pictures whose classes are ``labels``, numbers of ``class_names``.

    InputError ``labels_invalid``, ``dataset_too_small``; StageError ``too_many_errors``, ``embedding_nonfinite``.
    """
    labels_N = np.asarray(labels, np.int64)
    _check(labels_N, class_names, templates)
    image_RD, readable = embed_pictures(model, pictures)
    if len(readable) != len(labels_N):
        raise InputError(ErrorCode.LABELS_INVALID, f"{len(labels_N):,} labels for {len(readable):,} pictures")
    labels_R = labels_N[readable]
    scores_RC = cosines(image_RD, class_embeddings(model, class_names, templates))
    right_RC = np.arange(len(class_names)) == labels_R[:, None]
    top1, top5 = (hits(scores_RC, right_RC, k) for k in (1, 5))
    per_class = np.bincount(labels_R, top1, len(class_names))
    counts = np.bincount(labels_N, minlength=len(class_names))
    one = np.ones(len(labels_N), np.int64)
    return ZeroShot(
        pictures=len(labels_N),
        classes=len(class_names),
        unreadable=int((~readable).sum()),
        top1=wilson(float(top1.sum()), len(labels_N)),
        top5=wilson(float(top5.sum()), len(labels_N)),
        mean_per_class=float((per_class[counts > 0] / counts[counts > 0]).mean()),
        chance1=chance(one, len(class_names), 1),
        chance5=chance(one, len(class_names), 5),
    )


def class_embeddings(model: ClipModel, class_names: Sequence[str], templates: Sequence[str]) -> npt.NDArray[np.float32]:
    """[C, D] of length 1: the mean over the templates of the embeddings of length 1."""
    texts = [template.format(name) for name in class_names for template in templates]
    mean_CD = model.encode_texts(texts).reshape(len(class_names), len(templates), -1).mean(axis=1)
    unit_CD: npt.NDArray[np.float32] = mean_CD / np.linalg.norm(mean_CD, axis=1, keepdims=True)
    return unit_CD


def _check(labels_N: npt.NDArray[np.int64], class_names: Sequence[str], templates: Sequence[str]) -> None:
    """V3, V6."""
    if len(labels_N) == 0 or len(class_names) < 2:
        raise InputError(
            ErrorCode.DATASET_TOO_SMALL, f"{len(labels_N)} pictures of {len(class_names)} classes: that has no score"
        )
    if labels_N.min() < 0 or labels_N.max() >= len(class_names):
        raise InputError(
            ErrorCode.LABELS_INVALID,
            f"labels go from {labels_N.min()} to {labels_N.max()}, but there are {len(class_names)} class names",
        )
    if len(set(class_names)) != len(class_names):
        raise InputError(ErrorCode.LABELS_INVALID, "two classes have one name; give each a name of its own")
    if not templates or any("{}" not in template for template in templates):
        raise InputError(
            ErrorCode.LABELS_INVALID, "a template needs {} where the class name goes, as in 'a photo of a {}.'"
        )
