"""The corpus as its own manifest describes it, and a contact sheet of what was kept.

The sheet shows the samples with the smallest hash of their key, so the same corpus always gives the same sheet.
Its images are decoded and encoded again, so that no byte from the web reaches the report.
"""

from __future__ import annotations

import base64
import contextlib
import io
import tarfile
from dataclasses import dataclass

from PIL import Image, ImageOps
from pyspark.sql import functions as F

from pipeline.audit.ledgers import UNREADABLE
from pipeline.core.corpus_manifest import MANIFEST, Shard, parse
from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.run import Run
from pipeline.core.storage import STREAM_AHEAD_BYTES
from pipeline.core.tables import read_table
from schemas.export import CORPUS

THUMBNAIL_SIDE = 192  # pixels; shown at most at 160 CSS pixels
THUMBNAIL_BYTES = 20 * 1024
MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class Kept:
    """A sample of the corpus with its thumbnail (JPEG as a data: URI)."""

    key: str
    caption: str
    url: str
    width: int
    height: int
    clip_score: float | None
    thumbnail: str


def corpus_shards(run: Run) -> list[Shard]:
    """The shards in order; empty without a corpus. InputError `input_unreadable` for a broken manifest."""
    if not run.storage.exists(MANIFEST):
        return []
    return parse(run.storage.read(MANIFEST), run.storage.where(MANIFEST)).shards


def kept_samples(run: Run, number: int) -> list[Kept]:
    """At most ``number`` samples, in the order of the hash of their key."""
    shards = corpus_shards(run)
    files = [shard.record("parquet") for shard in shards]
    try:
        samples = read_table(run.spark, run.storage, files, CORPUS)
        drawn = samples.orderBy(F.xxhash64("key"), "key").limit(number).collect()
    except UNREADABLE as error:
        raise InputError(
            ErrorCode.INPUT_UNREADABLE, f"corpus: {type(error).__name__}; run pairmill audit --check"
        ) from error
    pictures = _pictures(run, shards, {row["key"] for row in drawn})
    return [
        Kept(
            row["key"],
            row["caption"] or "",
            row["url"] or "",
            row["width"],
            row["height"],
            row["clip_score"],
            pictures[row["key"]],
        )
        for row in drawn
        if row["key"] in pictures
    ]


def thumbnail(data: bytes) -> str | None:
    """A JPEG of at most `THUMBNAIL_BYTES` as a data: URI; None for bytes that are not an image."""
    with contextlib.suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            picture.draft("RGB", (2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE))
            small = ImageOps.exif_transpose(picture).convert("RGB")
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        for quality in (80, 60, 40, 20):
            encoded = io.BytesIO()
            small.save(encoded, "JPEG", quality=quality)
            if encoded.tell() <= THUMBNAIL_BYTES:
                return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"
    return None


def _pictures(run: Run, shards: list[Shard], keys: set[str]) -> dict[str, str]:
    """Thumbnails by key, from the tars; a sample whose image cannot be read has none."""
    found = {}
    for shard in shards:
        wanted = {f"{key}.jpg": key for key in keys if shard.holds(key)}
        with contextlib.suppress(
            OSError, tarfile.TarError
        ):  # `check` reports a broken shard; the report continues without it
            if wanted:
                path = shard.record("tar").path
                with run.storage.open(path, STREAM_AHEAD_BYTES) as file, tarfile.open(fileobj=file, mode="r:") as tar:
                    for member in tar:
                        stream = tar.extractfile(member) if member.name in wanted else None
                        small = thumbnail(stream.read()) if stream is not None else None
                        if small is not None:
                            found[wanted[member.name]] = small
    return found
