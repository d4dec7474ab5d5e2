"""CLIP similarity of pairs: pure functions of bytes, captions and a model; no Spark, no files.

An image is embedded once per sha256, a caption once per caption_id; a pair's score is then the cosine of two rows.
What cannot be embedded is a row of NaN: its score is null, and the rules call it ``not_measured``. One broken
image in a batch affects no other row.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from pipeline.vision.clip_model import ClipModel  # torch is imported only if there is a model


def embed_images(stored: Sequence[bytes | None], model: ClipModel) -> npt.NDArray[np.float32]:
    """Embeddings [B, D] of stored images (JPEG); a row of NaN if bytes are missing or do not decode."""
    found = {place: picture for place, data in enumerate(stored) if (picture := _picture(data)) is not None}
    return _spread(model.encode_images(found.values()), list(found), len(stored))


def embed_texts(captions: Sequence[str | None], model: ClipModel) -> npt.NDArray[np.float32]:
    """Embeddings [B, D] of captions, each distinct one embedded once; a row of NaN for null and for empty text."""
    distinct = {caption: place for place, caption in enumerate(dict.fromkeys(filter(None, captions)))}
    embedded = model.encode_texts(list(distinct))
    found = {place: distinct[caption] for place, caption in enumerate(captions) if caption}
    return _spread(embedded[list(found.values())], list(found), len(captions))


def scores(image_BD: npt.NDArray[np.float32], text_BD: npt.NDArray[np.float32]) -> list[float | None]:
    """Cosine of each row with its counterpart, summed in float64; None if either is not finite (L4)."""
    cosine_B = (image_BD.astype(np.float64) * text_BD.astype(np.float64)).sum(axis=1)
    return [float(cosine) if np.isfinite(cosine) else None for cosine in cosine_B]


def _picture(data: bytes | None) -> Image.Image | None:
    if not data:
        return None
    try:
        return Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB")
    except Exception:  # a stored file that was damaged later: only this row fails (L3)
        return None


def _spread(embedding_BD: npt.NDArray[np.float32], places: Sequence[int], rows: int) -> npt.NDArray[np.float32]:
    """``embedding_BD`` at ``places`` of a table of ``rows`` rows, NaN elsewhere."""
    spread = np.full((rows, embedding_BD.shape[1]), np.nan, np.float32)
    spread[places] = embedding_BD
    return spread
