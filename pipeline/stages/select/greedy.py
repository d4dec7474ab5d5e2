"""Which pair of a duplicate cluster stays, and which is dropped: best first, each compared with those that stay.

Copies connect a cluster, and a chain of copies may end far from where it began. So a pair is dropped only if its
image is a copy of one that stays, or has its bytes. Any other pair becomes a representative itself.

Rows come sorted by cluster, the best first, in batches that may end anywhere. Only these are kept in memory: the
representatives of one cluster and their captions that stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.copies.signature import SIGNATURE_COLUMNS, CopyLimits, Signatures, signatures_of
from schemas.select import CHOICES


class Choice(NamedTuple):
    """How to choose: settings of select, and the limits of dedup."""

    limits: CopyLimits
    captions_per_image: int
    whole_cluster: bool  # one representative per cluster, however far the others are from it


class Rows:
    """A batch of N rows, as the choice reads it."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        names = ("pair_id", "url_id", "cluster_id", "caption_id", "sha256")
        self.pair_id, self.url_id, self.cluster_id, self.caption_id, self.sha256 = (
            batch.column(name).to_pylist() for name in names
        )
        self.signatures = signatures_of(batch)
        is_there = [batch.column(name).is_valid().to_numpy(zero_copy_only=False) for name in SIGNATURE_COLUMNS]
        self.is_hashed = np.all(is_there, axis=0).tolist()

    def phash(self, i: int) -> int | None:
        return int(self.signatures.phash[i]) if self.is_hashed[i] else None


class Representative(NamedTuple):
    """A pair that stays, and whose image is packed. ``captions``: those that stay with it, and their rank."""

    pair_id: str
    url_id: str
    phash: int | None
    captions: dict[str, int]


def choose(batches: Iterator[pa.RecordBatch], choice: Choice) -> Iterator[pa.RecordBatch]:
    """Append the columns of CHOICES to rows that are sorted by cluster_id, best first; never drops or moves a row."""
    cluster: Cluster | None = None
    for batch in batches:
        rows, answers = Rows(batch), []
        for i, cluster_id in enumerate(rows.cluster_id):
            if cluster is None or cluster_id is None or cluster_id != cluster.id:
                cluster = Cluster(cluster_id, choice)
            answers.append(cluster.place(rows, i))
        chosen = pa.RecordBatch.from_pylist(answers, schema=CHOICES)
        yield pa.RecordBatch.from_arrays([*batch.columns, *chosen.columns], [*batch.schema.names, *CHOICES.names])


class Cluster:
    """The representatives of one cluster so far."""

    def __init__(self, cluster_id: str | None, choice: Choice) -> None:
        self.id, self._choice = cluster_id, choice
        self._representatives: list[Representative] = []
        self._by_sha256: dict[str, Representative] = {}
        self._kept: Signatures | None = None  # of the representatives that have hashes; doubled when full
        self._hashed: list[Representative] = []  # these, in the same order

    def place(self, rows: Rows, i: int) -> dict[str, Any]:
        """The columns of CHOICES for the next best row."""
        found = self._goes_with(rows, i)
        kept = self._add(rows, i) if found is None else found
        most, caption = self._choice.captions_per_image, rows.caption_id[i]
        repeated = caption in kept.captions
        if not repeated and len(kept.captions) < most:
            kept.captions[caption] = len(kept.captions) + 1
        return {
            "caption_rank": kept.captions.get(caption, most + 1),
            "repeated": repeated,
            "duplicate_of": None if found is None else kept.pair_id,
            "duplicate_bits": None if found is None else _bits_between(kept.phash, rows.phash(i)),
            "image_of": kept.url_id,
        }

    def _goes_with(self, rows: Rows, i: int) -> Representative | None:
        """The first representative that row ``i`` is a copy of; equal bytes are one image, whatever the hashes say."""
        if self._choice.whole_cluster and self._representatives:
            return self._representatives[0]
        same_bytes = self._by_sha256.get(rows.sha256[i])
        if same_bytes is not None or self._kept is None or not rows.is_hashed[i]:
            return same_bytes
        from pipeline.copies.kernel import first_copy_kernel  # numba, only if there is something to compare

        place = first_copy_kernel()(self._kept, len(self._hashed), rows.signatures, i, self._choice.limits)
        return self._hashed[place] if place >= 0 else None

    def _add(self, rows: Rows, i: int) -> Representative:
        new = Representative(rows.pair_id[i], rows.url_id[i], rows.phash(i), {})
        self._representatives.append(new)
        if rows.sha256[i] is not None:
            self._by_sha256[rows.sha256[i]] = new
        if rows.is_hashed[i]:
            own = rows.signatures.each(lambda values: values[i : i + 1])
            if self._kept is None:
                self._kept = own
            elif len(self._hashed) == len(self._kept.phash):
                self._kept = self._kept.each(lambda values: np.concatenate([values, values]))
            place = len(self._hashed)
            self._kept.phash[place] = own.phash[0]
            self._kept.phash256[place] = own.phash256[0]
            self._kept.chroma4[place] = own.chroma4[0]
            self._hashed.append(new)
        return new


def _bits_between(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else (one ^ other).bit_count()
