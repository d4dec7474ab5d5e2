"""Retrieval: find a picture's captions among all captions, and a caption's picture among all pictures.

R@k is the share of queries with a right answer among the first k. A picture may have several captions and a caption may
stand on several pictures: any right one is a hit (V8). Equal captions are one candidate, so that none is punished for
finding its twin. Queries of one picture are not independent; the interval takes them as if they were.

Shapes: I images, R those that can be read, T distinct texts, D embedding; Q queries, C candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.sparse import csr_array

from pipeline.core.errors import ErrorCode, InputError
from pipeline.evaluation.intervals import Estimate, wilson
from pipeline.evaluation.pictures import embed_pictures
from pipeline.evaluation.ranking import chance, cosines, hits
from pipeline.vision.clip_model import ClipModel

CUTS = (1, 5, 10)
QUERIES_AT_ONCE = 1024


@dataclass(frozen=True)
class Recall:
    """R@k of one direction."""

    k: int
    recall: Estimate
    chance: float


@dataclass(frozen=True)
class Retrieval:
    images: int
    texts: int  # distinct
    unreadable: int  # pictures: none of their queries is a hit, and no query finds them
    image_to_text: list[Recall]
    text_to_image: list[Recall]


def retrieval(model: ClipModel, pictures: Iterable[Image.Image | None], captions: Sequence[Sequence[str]]) -> Retrieval:
    """R@1, 5 and 10 both ways; ``captions`` has those of each picture, a picture is None where it does not decode.

    InputError ``dataset_too_small`` below two pictures or two texts; StageError ``too_many_errors``,
    ``embedding_nonfinite``.
    """
    texts = list(dict.fromkeys(caption for some in captions for caption in some))
    if len(captions) < 2 or len(texts) < 2:
        raise InputError(
            ErrorCode.DATASET_TOO_SMALL, f"{len(captions)} pictures and {len(texts)} texts: retrieval needs two of each"
        )
    image_RD, readable = embed_pictures(model, pictures)
    text_TD = model.encode_texts(texts)
    place = {text: number for number, text in enumerate(texts)}
    links = [(image, place[text]) for image, some in enumerate(captions) for text in set(some)]
    right_IT = csr_array((np.ones(len(links), bool), tuple(zip(*links, strict=True))), (len(captions), len(texts)))
    right_RT = right_IT[readable]
    return Retrieval(
        images=len(captions),
        texts=len(texts),
        unreadable=int((~readable).sum()),
        image_to_text=recalls(image_RD, text_TD, right_RT, queries=len(captions)),
        text_to_image=recalls(text_TD, image_RD, right_RT.T.tocsr(), queries=len(texts)),
    )


def recalls(
    query_QD: npt.NDArray[np.float32], candidate_CD: npt.NDArray[np.float32], right_QC: csr_array, queries: int
) -> list[Recall]:
    """R@k at each cut, as shares of ``queries``, of which some may have no embedding and are never hits (V4)."""
    found = np.zeros(len(CUTS))
    for start in range(0, len(query_QD), QUERIES_AT_ONCE):
        some = slice(start, start + QUERIES_AT_ONCE)
        scores, right = cosines(query_QD[some], candidate_CD), right_QC[some].toarray()
        found += [hits(scores, right, k).sum() for k in CUTS]
    rights = right_QC.sum(axis=1)
    return [
        Recall(k, wilson(float(hit), queries), chance(rights, len(candidate_CD), k))
        for k, hit in zip(CUTS, found, strict=True)
    ]
