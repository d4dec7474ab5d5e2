"""clip: how well a caption fits its image, by the cosine of their CLIP embeddings.

Reads   attach  pairs with the place of their stored image
Adds    clip_score, clip_model, clip_device
Source  Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021;
        threshold: LAION-5B (Schuhmann et al., 2022)

An image is embedded once (keyed by the sha256 of its stored bytes), a caption once (by caption_id); the embeddings
are kept in parts under clip/embeddings and reused by every build with the same model. Images are read in place, in
the order in which fetch wrote them. The scores shuffle two embeddings per pair.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.core.context import Context
from pipeline.core.ids import key_of
from pipeline.core.parts import OpenPart, committed, files_of, swept
from pipeline.core.rules import Rule, col
from pipeline.core.spark import tasks_at_once
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import Storage, read_pictures
from pipeline.core.tables import by_place, read_table, spark_schema, with_columns, write_file
from pipeline.stages.clip.config import Config
from pipeline.stages.clip.similarity import embed_images, embed_texts, scores
from schemas.clip import ADDS, EMBEDDINGS
from schemas.pairs import CHOICE_COLUMNS, IMAGE_COLUMNS, PAIR_COLUMNS

if TYPE_CHECKING:
    from pipeline.vision.clip_model import ClipModel

BATCHES_PER_PART = 64
IMAGE, TEXT = "image", "text"
EMBEDDINGS_FOLDER = "clip/embeddings"


class Reason(StrEnum):
    """Why a pair does not fit."""

    CLIP_SCORE_LOW = "clip_score_low"


class Clip(Stage[Config]):
    """Off if no model is set."""

    name = "clip"
    unit, key = "pair", "pair_id"
    keeps = ("pair", "pair_id")
    reads = ("attach",)
    carries: ClassVar = (*PAIR_COLUMNS, *CHOICE_COLUMNS, *IMAGE_COLUMNS)
    Reason, adds = Reason, ADDS

    def is_off(self, config: Config) -> bool:
        """Without a model there are no scores."""
        return not config.model

    def check(self, context: Context[Config]) -> None:
        """The model is loaded, or rejected, before any work starts."""
        _model(context.config)

    def contents(self, config: Config) -> Mapping[str, str]:
        """The model by what it computes, not by the bytes of its file."""
        return {"model": _model(config).digest}

    def measure(self, context: Context[Config]) -> Measured:
        """Embed what is not yet embedded under this key, then score every pair."""
        storage, config, measure_key = context.storage, context.config, context.measure_key
        swept(storage, self.name, [f"{EMBEDDINGS_FOLDER}/{kind}" for kind in (IMAGE, TEXT)])
        pairs = context.kept("attach").select(*self.carries)
        places = ("image_file", "image_offset", "image_bytes")
        pictures = pairs.groupBy(F.col("image_sha256").alias("id")).agg(F.min(F.struct(*places)).alias("place"))
        captions = pairs.groupBy(F.col("caption_id").alias("id")).agg(F.min("caption").alias("caption"))
        new_pictures = pictures.join(self._stored(context, IMAGE), "id", "left_anti").select("id", "place.*")
        new_captions = captions.join(self._stored(context, TEXT), "id", "left_anti")
        measured = _touched(pairs, new_pictures, new_captions)
        if measured:
            in_place = by_place(new_pictures)
            by_id = new_captions.repartition(tasks_at_once(context.spark), "id").sortWithinPartitions("id")
            with context.bar(new_pictures.count() + new_captions.count()):
                _embed_all(in_place, _embedder(storage, measure_key, IMAGE, config, _picture_embeddings))
                _embed_all(by_id, _embedder(storage, measure_key, TEXT, config, _caption_embeddings))
        image = self._stored(context, IMAGE).withColumnsRenamed({"id": "image_sha256", "embedding": "image_D"})
        text = self._stored(context, TEXT).withColumnsRenamed({"id": "caption_id", "embedding": "text_D"})
        joined = pairs.join(image, "image_sha256", "left").join(text, "caption_id", "left")
        schema = context.schema
        model = _model(config)
        scored = joined.select(*self.carries, "image_D", "text_D").mapInArrow(
            _scorer(schema, model.digest, model.device_and_precision, model.embed_dim), spark_schema(schema)
        )
        return Measured(scored, measured=measured)

    def rules(self, config: Config) -> list[Rule]:
        """`score ≥ threshold` is kept; a pair without a score is not_measured."""
        score = col("clip_score")
        return [Rule(Reason.CLIP_SCORE_LOW, when=score < config.min_score, value=score, threshold=config.min_score)]

    def _stored(self, context: Context[Config], kind: str) -> DataFrame:
        parts = [part for part in committed(context.storage, self.name) if part.measure_key == context.measure_key]
        return (
            read_table(context.spark, context.storage, files_of(parts, kind), EMBEDDINGS)
            .groupBy("id")
            .agg(F.min("embedding").alias("embedding"))
        )


def _touched(pairs: DataFrame, new_pictures: DataFrame, new_captions: DataFrame) -> int:
    """Pairs that could not be scored from stored embeddings."""
    images = new_pictures.select(F.col("id").alias("image_sha256"), F.lit(True).alias("new_image"))
    texts = new_captions.select(F.col("id").alias("caption_id"), F.lit(True).alias("new_text"))
    joined = pairs.join(images, "image_sha256", "left").join(texts, "caption_id", "left")
    return joined.where(F.col("new_image").isNotNull() | F.col("new_text").isNotNull()).count()


def _embed_all(todo: DataFrame, embed: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]) -> None:
    todo.mapInArrow(embed, "part string").write.format("noop").mode("overwrite").save()


@lru_cache(maxsize=1)
def _loaded(model: str, device: str, batch_size: int, sha256: str, file: tuple[int, int] | None) -> ClipModel:
    from pipeline.vision import clip_model  # torch is imported only if there is a model

    loaded = clip_model.load(model, device, batch_size, sha256)
    gc.freeze()  # Spark collects garbage after each task: 0.3 s over torch, if it is not left out
    return loaded


def _model(config: Config) -> ClipModel:
    """The model, once per process."""
    path = Path(config.model)
    file = (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None  # another model at the same path
    return _loaded(config.model, config.device, config.batch_size, config.model_sha256, file)


def _embedder(
    storage: Storage,
    measure_key: str,
    kind: str,
    config: Config,
    embed: Callable[[list[dict[str, Any]], ClipModel, Storage], npt.NDArray[np.float32]],
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = (row for batch in batches for row in batch.to_pylist())
        while part := list(islice(rows, config.batch_size * BATCHES_PER_PART)):
            ids = [row["id"] for row in part]
            tables = _embedding_tables(part, config, lambda some: embed(some, _model(config), storage))
            with OpenPart(storage, Clip.name, measure_key) as open_part:
                open_part.add_file(kind, write_file(storage, f"{EMBEDDINGS_FOLDER}/{kind}", EMBEDDINGS, tables))
                name = open_part.commit(key_of(kind, *ids), {"rows": len(ids)})
            yield pa.RecordBatch.from_pydict({"part": [name]})

    return work


def _embedding_tables(
    rows: list[dict[str, Any]], config: Config, embed: Callable[[list[dict[str, Any]]], npt.NDArray[np.float32]]
) -> Iterable[pa.Table]:
    remaining = iter(rows)
    while some := list(islice(remaining, config.batch_size)):
        embedding_BD = embed(some).astype("<f4")
        ids = [row["id"] for row in some]
        yield pa.table([ids, [embedding_D.tobytes() for embedding_D in embedding_BD]], schema=EMBEDDINGS)


def _picture_embeddings(rows: list[dict[str, Any]], model: ClipModel, storage: Storage) -> npt.NDArray[np.float32]:
    places = [(row["image_file"], row["image_offset"], row["image_bytes"]) for row in rows]
    return embed_images(list(read_pictures(storage, places)), model)


def _caption_embeddings(rows: list[dict[str, Any]], model: ClipModel, storage: Storage) -> npt.NDArray[np.float32]:
    return embed_texts([row["caption"] for row in rows], model)


def _scorer(
    schema: pa.Schema, model: str, device: str, dimensions: int
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            cosines = scores(*(_matrix(batch[name].to_pylist(), dimensions) for name in ("image_D", "text_D")))
            found = {
                "clip_score": pa.array(cosines, pa.float64()),
                "clip_model": pa.array([model] * batch.num_rows, pa.string()),
                "clip_device": pa.array([device] * batch.num_rows, pa.string()),
            }
            yield with_columns(batch, schema, found)

    return score


def _matrix(stored: list[bytes | None], dimensions: int) -> npt.NDArray[np.float32]:
    """Stored embeddings as [B, D]; a row of NaN if there is none."""
    nothing = np.full(dimensions, np.nan, "<f4").tobytes()
    return np.frombuffer(b"".join(row or nothing for row in stored), "<f4").reshape(-1, dimensions)


__all__ = ["Clip", "Config", "Reason"]
