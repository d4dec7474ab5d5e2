"""Hashes of evaluation images, so that no copy of one gets into a training corpus.

A list is a Parquet file of hashes (schemas/hashes.py), made once by `pairmill hashes build`. An image overlaps with a
list if its bytes are listed, or if it is a copy of a listed image by the limits of dedup. All lists are
held in memory by each task, about half a kilobyte per image: an image is compared with those that share a mask of
`pipeline.stages.dedup.join.block_masks` with it, and no copy is missed.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.copies.signature import CopyLimits, signatures_of, telling
from pipeline.core.errors import ErrorCode, InputError
from pipeline.stages.dedup.join import block_masks
from pipeline.vision.child import ImageChild
from pipeline.vision.settings import ImageSettings
from schemas.fields import OK
from schemas.hashes import HASHES

NOT_MET = -1


@dataclass(frozen=True)
class Listed:
    """Hashes of N images in the order of their names; ``telling`` [N] bool: which hashes can be compared."""

    hashes: pa.Table
    telling: npt.NDArray[np.bool_]
    digest: str

    def __bool__(self) -> bool:
        return bool(self.hashes.num_rows)


def read_listed(files: Sequence[str]) -> Listed:
    """All lists as one. InputError ``resource_missing``: a file is missing or is not such a list."""
    tables = [_read(Path(name)) for name in files]
    table = pa.concat_tables([HASHES.empty_table(), *tables]).sort_by([("name", "ascending"), ("sha256", "ascending")])
    digest = hashlib.sha256()
    for name in HASHES.names:
        digest.update("\n".join(map(str, table[name].to_pylist())).encode() + b"\0")
    return Listed(table.combine_chunks(), telling(table["phash"], table["phash_margin"]), digest.hexdigest())


def _read(path: Path) -> pa.Table:
    way_out = "make it with pairmill hashes build"
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        text = str(error).partition("\n")[0]
        raise InputError(ErrorCode.RESOURCE_MISSING, f"dedup.eval_hashes {path}: {text}; {way_out}") from None
    missing = [name for name in HASHES.names if name not in table.schema.names]
    if missing or not table.num_rows:
        what = f"has no column {missing[0]}" if missing else "has no row"
        raise InputError(ErrorCode.RESOURCE_MISSING, f"dedup.eval_hashes {path} {what}; {way_out}")
    return table.select(HASHES.names).cast(HASHES)


def write_listed(images: Sequence[Path], output: Path) -> tuple[int, list[tuple[str, str]]]:
    """Hash all images of folders and tars into a list; returns their number, and name and reason of each rejected file.

    Images are measured as fetch does by default, because hashes of stored images are compared.
    """
    if not output.parent.is_dir():
        raise InputError(ErrorCode.OUTPUT_UNWRITABLE, f"--output {output}: there is no folder {output.parent}")
    rows, refused = [], []
    with ImageChild(ImageSettings()) as child:
        for name, data in _pictures(images):
            columns, _ = child.measure(data)
            if columns["outcome"] == OK:
                rows.append({"name": name} | columns)
            else:
                refused.append((name, columns["outcome"]))
    if not rows:
        named = ", ".join(map(str, images))
        raise InputError(ErrorCode.RESOURCE_MISSING, f"no image in {named}; name folders or tars of images")
    rows.sort(key=lambda row: (row["name"], row["sha256"]))
    pq.write_table(pa.Table.from_pylist(rows, schema=HASHES), output)
    return len(rows), refused


def _pictures(images: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """SET/FILE and bytes of each file in folders and tars; without hidden files."""
    for path in images:
        if path.is_dir():
            files = (file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith("."))
            yield from ((f"{path.name}/{file.relative_to(path).as_posix()}", file.read_bytes()) for file in files)
            continue
        try:
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.isfile() and (stream := tar.extractfile(member)):
                        yield f"{path.stem}/{member.name}", stream.read()
        except (OSError, tarfile.TarError) as error:
            raise InputError(ErrorCode.INPUT_UNREADABLE, f"{path} is neither a folder nor a tar: {error}") from None


def overlaps(batches: Iterator[pa.RecordBatch], listed: Listed, limits: CopyLimits) -> Iterator[pa.RecordBatch]:
    """``sha256``, ``eval_name`` and ``eval_bits`` of each image of ``batches`` that overlaps with ``listed``.

    ``batches`` have sha256 and a signature, null if it cannot be compared: then only bytes count, at 0 bits.
    """
    digests = listed.hashes["sha256"].to_pylist()
    by_bytes = {digest: row for row, digest in reversed(list(enumerate(digests)))}
    search = _Search(listed, limits)
    names = listed.hashes["name"].to_pylist()
    for batch in batches:
        sha256 = batch["sha256"].to_pylist()
        met, bits = search.nearest(batch)
        for row, digest in enumerate(sha256):
            if digest in by_bytes:
                met[row], bits[row] = by_bytes[digest], 0
        rows = np.flatnonzero(met != NOT_MET)
        yield pa.RecordBatch.from_pydict(
            {
                "sha256": [sha256[row] for row in rows],
                "eval_name": [names[met[row]] for row in rows],
                "eval_bits": pa.array(bits[rows], pa.int32()),
            }
        )


class _Search:
    """Finds the nearest listed image among those within the limits."""

    def __init__(self, listed: Listed, limits: CopyLimits) -> None:
        self._places = np.flatnonzero(listed.telling)
        self._signatures = signatures_of(listed.hashes.take(pa.array(self._places)))
        self._limits = limits
        self._masks = np.array(block_masks(max(len(self._places), 1), limits.phash), np.uint64)
        keys = self._signatures.phash & self._masks[:, None]
        self._order = np.argsort(keys, axis=1, kind="stable")
        self._keys = np.take_along_axis(keys, self._order, axis=1)

    def nearest(self, batch: pa.RecordBatch) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Row of the list (NOT_MET: none) and bits of phash between, for each row of ``batch``."""
        met, bits = np.full(batch.num_rows, NOT_MET), np.zeros(batch.num_rows, np.int64)
        rows = np.flatnonzero(batch["phash"].is_valid().to_numpy(zero_copy_only=False))
        if len(rows) and len(self._places):
            from pipeline.copies.kernel import nearest_listed_kernel  # numba, on the workers alone

            found, between = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
            pictures = signatures_of(batch.take(pa.array(rows)))
            find = nearest_listed_kernel()
            find(self._keys, self._order, self._masks, self._signatures, pictures, self._limits, found, between)
            met[rows], bits[rows] = np.where(found >= 0, self._places[found], NOT_MET), between
        return met, bits
