"""Which of some texts fits an image: probabilities as in openai/CLIP's README."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.visible import visible
from pipeline.evaluation.pictures import open_picture
from pipeline.evaluation.ranking import cosines
from pipeline.vision.clip_model import ClipModel


class Prediction(TypedDict):
    """Of one image: each text with its probability among them."""

    image: str
    probabilities: dict[str, float]


def predict(model: ClipModel, paths: Sequence[Path], texts: Sequence[str], template: str = "{}") -> list[Prediction]:
    """For each image, in order. InputError: ``input_missing``, ``input_unreadable``, ``labels_invalid``."""
    if "{}" not in template:
        raise InputError(ErrorCode.LABELS_INVALID, f"the template {template!r} needs {{}} where the text goes")
    found = probabilities(model, list(_pictures(paths)), [template.format(text) for text in texts])
    return [
        Prediction(image=str(path), probabilities=dict(zip(texts, row.tolist(), strict=True)))
        for path, row in zip(paths, found, strict=True)
    ]


def probabilities(model: ClipModel, pictures: Sequence[Image.Image], texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """[N, T], rows of sum 1: softmax of the cosines times the model's logit scale. They compare these texts only."""
    scale = model.network.logit_scale.exp().item()
    logits_NT = scale * cosines(model.encode_images(pictures), model.encode_texts(texts))
    exponentials = np.exp(logits_NT - logits_NT.max(axis=1, keepdims=True))
    shares_NT: npt.NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares_NT


def print_table(predictions: Sequence[Prediction], console: Console) -> None:
    """One row per image and text, the likeliest first."""
    table = Table("image", "probability", "text", box=None)
    for prediction in predictions:
        ranked = sorted(prediction["probabilities"].items(), key=lambda item: -item[1])
        for place, (text, probability) in enumerate(ranked):
            image = "" if place else prediction["image"]
            table.add_row(Text(visible(image)), f"{probability:.1%}", Text(visible(text)))
    console.print(table)


def _pictures(paths: Sequence[Path]) -> Iterator[Image.Image]:
    for path in paths:
        if not path.is_file():
            raise InputError(ErrorCode.INPUT_MISSING, f"{path} is not a file")
        picture = open_picture(path.read_bytes())
        if picture is None:
            raise InputError(
                ErrorCode.INPUT_UNREADABLE, f"{path} is not an image that can be decoded (JPEG, PNG, WebP, GIF)"
            )
        yield picture
