"""A small run with one of everything: lost pages, short captions, a repeated pair, lost images, and a corpus.

Four toy stages with planted rows, judged by the real runner, and the real export. Built once; each test has a copy.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyspark.sql import functions as F

from pipeline.core.config import Decide, Field, Operate, StageConfig
from pipeline.core.context import Context
from pipeline.core.ids import key_of
from pipeline.core.manifest import publish
from pipeline.core.progress import Reporter
from pipeline.core.rules import Rule, col, outcome_rules
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import open_storage
from pipeline.core.tables import spark_schema
from pipeline.core.user_rules import UserRule
from pipeline.stages.export.stage import Export
from pipeline.web.urls import url_id
from schemas.export import PICTURE
from schemas.fields import FLOAT64, INT32, INT64, STRING, column, table
from schemas.pairs import PAIR_COLUMNS

CAPTIONS = [
    "a red fox in the snow",
    "two boats on a quiet lake",
    "IMG",
    "fox",
    "<script>alert(1)</script> on a chalk board",
    '" onerror="alert(1) written on a wall',
    "=HYPERLINK(1) on a screen",
    "a sign that reads \u202egnp.exe",
    "w" * 100_000,
    "ask jane.doe@example.com or +44 20 7946 0958 about this boat",
    "a lantern at dusk",
    "an orange tree in a courtyard",
    "javascript:alert(1) printed on a mug",
    "a wooden bridge over a stream",
]


class ExtractReason(StrEnum):
    ALT_EMPTY = "alt_empty"


class NoSettings(StageConfig):
    """Nothing to set."""


class ToyExtract(Stage[NoSettings]):
    """Two candidates a page, one of them the same pair on every second page; a third without text stands for three."""

    name, unit, key, keeps, fans_out = "extract", "candidate", "candidate_id", ("candidate", "candidate_id"), True
    Config, Reason = NoSettings, ExtractReason
    adds = table(
        1,
        [
            column(name, INT64 if name == "count" else STRING, name)
            for name in (
                "candidate_id",
                "count",
                "outcome",
                "detail",
                "pair_id",
                "url_id",
                "page_id",
                "image_url",
                "page_url",
                "alt_text",
            )
        ],
    )

    def measure(self, context: Context[Any]) -> Measured:
        found = []
        for number, caption in enumerate(CAPTIONS):
            for page in (number, number + 1):
                found.append(candidate(f"http://shop.example/{page}", image_url(number), caption))
            found.append(
                candidate(f"http://shop.example/{number}", "http://user:hunter2@cdn.example/blank.gif", "")
                | {"count": 3, "outcome": "alt_empty", "detail": "http://user:hunter2@cdn.example/blank.gif"}
            )
        return Measured(context.spark.createDataFrame(found, spark_schema(self.adds)))

    def rules(self, config: NoSettings) -> list[Rule]:
        return outcome_rules(ExtractReason)


class TextReason(StrEnum):
    TEXT_TOO_SHORT = "text_too_short"
    DUPLICATE_PAIR = "duplicate_pair"


class ToyTextConfig(StageConfig):
    min_chars: Decide[int] = Field(5, description="shortest caption kept")


class ToyText(Stage[ToyTextConfig]):
    name, unit, key, keeps, reads = "text", "candidate", "candidate_id", ("pair", "pair_id"), ("extract",)
    carries: ClassVar = ("candidate_id", "count", "pair_id", "url_id", "page_id", "image_url", "page_url")
    Config, Reason = ToyTextConfig, TextReason
    adds = table(
        1,
        [
            column("caption", STRING, "text"),
            column("caption_id", STRING, "its hash"),
            column("caption_chars", INT32, "length"),
            column("lang", STRING, "language"),
            column("lang_prob", FLOAT64, "probability"),
            column("pair_rank", INT64, "place"),
        ],
    )

    def measure(self, context: Context[Any]) -> Measured:
        entered = context.kept("extract")
        rank = F.expr("row_number() over (partition by pair_id order by candidate_id)").cast("long")
        return Measured(
            entered.select(
                *self.carries,
                F.col("alt_text").alias("caption"),
                F.md5("alt_text").alias("caption_id"),
                F.length("alt_text").alias("caption_chars"),
                F.lit("en").alias("lang"),
                F.lit(0.9).alias("lang_prob"),
                rank.alias("pair_rank"),
            )
        )

    def rules(self, config: ToyTextConfig) -> list[Rule]:
        chars, rank = col("caption_chars"), col("pair_rank")
        return [
            Rule(TextReason.TEXT_TOO_SHORT, when=chars < config.min_chars, value=chars, threshold=config.min_chars),
            Rule(TextReason.DUPLICATE_PAIR, when=rank > 1, value=rank, threshold=1),
        ]


class FetchReason(StrEnum):
    HTTP_4XX = "http_4xx"


class ToyFetch(Stage[NoSettings]):
    """Every image is a colour; every fifth is not there."""

    name, unit, key, keeps, reads = "fetch", "image", "url_id", ("image", "url_id"), ("text",)
    Config, Reason = NoSettings, FetchReason
    adds = table(
        1,
        [
            column("url_id", STRING, "key"),
            column("request_url", STRING, "URL"),
            column("outcome", STRING, "ok or not"),
            column("detail", STRING, "what"),
            column("fetched_at", STRING, "when"),
            *PICTURE,
            column("image_file", STRING, "file"),
            column("image_offset", INT64, "place"),
            column("image_bytes", INT64, "bytes"),
        ],
    )

    def measure(self, context: Context[Any]) -> Measured:
        images = sorted(tuple(row) for row in context.kept("text").select("url_id", "image_url").distinct().collect())
        found, offset = [], 0
        with context.storage.writing("fetch/store", ".bin") as stream:
            for number, (image, url) in enumerate(images):
                row = dict.fromkeys(self.adds.names) | {
                    "url_id": image,
                    "request_url": url,
                    "fetched_at": "2024-05-01T12:00:00Z",
                }
                if number % 5 == 4:
                    found.append(row | {"outcome": "http_4xx", "detail": "status 404"})
                    continue
                data = picture(number)
                stream.write(data)
                digest = hashlib.sha256(data).hexdigest()
                found.append(
                    row
                    | {
                        "outcome": "ok",
                        "sha256": digest,
                        "phash": number,
                        "original_width": 640,
                        "original_height": 480,
                        "width": 320,
                        "height": 240,
                        "image_sha256": digest,
                        "image_file": stream.path,
                        "image_offset": offset,
                        "image_bytes": len(data),
                    }
                )
                offset += len(data)
        return Measured(context.spark.createDataFrame(found, spark_schema(self.adds)), rows_in=len(found))

    def rules(self, config: NoSettings) -> list[Rule]:
        return outcome_rules(FetchReason)


class SelectReason(StrEnum):
    IMAGE_DROPPED = "image_dropped"


class ToySelect(Stage[NoSettings]):
    name, unit, key, keeps, reads = "select", "pair", "pair_id", ("pair", "pair_id"), ("text", "fetch")
    carries: ClassVar = PAIR_COLUMNS
    Config, Reason = NoSettings, SelectReason
    adds = table(
        1,
        [
            column("cluster_id", STRING, "cluster"),
            column("cluster_images", INT64, "images"),
            column("clip_score", FLOAT64, "cosine"),
            column("image_of", STRING, "image packed"),
            column("sha256", STRING, "of the image"),
        ],
    )

    def measure(self, context: Context[Any]) -> Measured:
        images = context.kept("fetch").select("url_id", "sha256", F.col("url_id").alias("image_of"))
        joined = context.kept("text").select(*PAIR_COLUMNS).join(images, "url_id", "left")
        return Measured(
            joined.withColumns(
                {"cluster_id": F.col("url_id"), "cluster_images": F.lit(1).cast("long"), "clip_score": F.lit(0.3)}
            )
        )

    def rules(self, config: NoSettings) -> list[Rule]:
        return [Rule(SelectReason.IMAGE_DROPPED, when=col("image_of").is_null())]


class ToyConfig(StageConfig):
    """The toy funnel's config tree."""

    extract: Operate[NoSettings] = NoSettings()
    text: Operate[ToyTextConfig] = ToyTextConfig()
    fetch: Operate[NoSettings] = NoSettings()
    select: Operate[NoSettings] = NoSettings()
    export: Operate[Export.Config] = Field(default_factory=lambda: Export.Config(shard_size=4))
    spark: Operate[SparkConfig] = SparkConfig()
    rules: Operate[list[UserRule]] = Field(
        [UserRule(stage="select", name="no_bridges", drop_when="caption LIKE '%bridge%'")], description="the user's own"
    )


STAGES = (ToyExtract(), ToyText(), ToyFetch(), ToySelect(), Export())


def image_url(number: int) -> str:
    return f"http://cdn.example/{number}.jpg"


def candidate(page_url: str, image: str, alt_text: str) -> dict:
    pair = key_of(image, alt_text)
    return {
        "candidate_id": key_of(page_url, image, alt_text),
        "count": 1,
        "outcome": "ok",
        "detail": None,
        "pair_id": pair,
        "url_id": key_of(image) if "@" in image else url_id(image),
        "page_id": url_id(page_url),
        "image_url": image,
        "page_url": page_url,
        "alt_text": alt_text,
    }


def picture(number: int) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((320, 240)).convert("RGB").point(
        [min(255, level * (1 + (number * channel) % 4) // 2) for channel in (1, 2, 3) for level in range(256)]
    ).save(stream, "JPEG")
    return stream.getvalue()


def run_at(folder: Path, **sections: object) -> Run:
    config = ToyConfig.model_validate(sections)
    return Run(open_storage(str(folder)), config, {stage.name: stage for stage in STAGES}, Reporter(quiet=True))


def build_until(run: Run, until: str = "export") -> None:
    with open_for_writing(run):
        for stage in STAGES:
            run_stage(stage, run)
            if stage.name == until:
                break


@pytest.fixture(scope="session")
def toy_folder(spark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "run"
    build_until(run_at(folder))
    return folder


@pytest.fixture
def toy(toy_folder: Path, tmp_path: Path) -> Run:
    """A copy of the whole run, to be broken at will."""
    shutil.copytree(toy_folder, tmp_path / "run")
    return run_at(tmp_path / "run")


@pytest.fixture(scope="session")
def half_folder(spark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "half"
    build_until(run_at(folder), "text")
    return folder


@pytest.fixture
def half_toy(half_folder: Path, tmp_path: Path) -> Run:
    """A copy of a run of the first two stages."""
    shutil.copytree(half_folder, tmp_path / "half")
    return run_at(tmp_path / "half")


@pytest.fixture
def forge() -> Callable[[Run, str, str, Callable[[pa.Table], pa.Table]], None]:
    """Change a Parquet file of a stage, and its manifest (and that of the corpus) along with it, as a careful forger would."""

    def change(run: Run, stage: str, role: str, edit: Callable[[pa.Table], pa.Table]) -> None:
        manifest = run.manifest(stage)
        old = next(file for file in manifest.files[role] if file.rows and file.path.endswith(".parquet"))
        path = run.storage.path(old.path)
        table = edit(pq.read_table(path))
        path.unlink()  # shards are hard links
        pq.write_table(table, path)
        new = run.storage.record(old.path, table.num_rows)
        files = {name: [new if file == old else file for file in records] for name, records in manifest.files.items()}
        publish(run.storage, manifest.model_copy(update={"files": files}))
        if role == "corpus":
            corpus = json.loads(run.storage.read("corpus/manifest.json"))
            shard = next(shard for shard in corpus["shards"] if old.path == f"corpus/{shard['name']}.parquet")
            shard["files"]["parquet"] = {"bytes": new.bytes, "sha256": new.sha256}
            run.storage.replace("corpus/manifest.json", json.dumps(corpus).encode())

    return change


@pytest.fixture(scope="session")
def run_in() -> Callable[[Path, Path], Run]:
    """A copy of a run at another place."""

    def copy(source: Path, target: Path) -> Run:
        shutil.copytree(source, target)
        return run_at(target)

    return copy


@pytest.fixture
def with_config() -> Callable[..., Run]:
    """The run in a folder, under another config."""
    return run_at
