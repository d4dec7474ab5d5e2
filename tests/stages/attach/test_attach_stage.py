"""Attach: every pair that text keeps gets its image, or the reason why there is none."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.config import Operate, StageConfig
from pipeline.core.context import Context
from pipeline.core.progress import Reporter
from pipeline.core.rules import Rule, col
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.stage import Measured, Stage, rows_schema
from pipeline.core.storage import open_storage
from pipeline.core.tables import spark_schema
from pipeline.core.user_rules import UserRule
from pipeline.funnel import BY_NAME
from pipeline.stages.attach.stage import Attach
from pipeline.stages.attach.stage import Config as AttachConfig
from schemas.fields import STRING, column
from schemas.pairs import CHOICE_COLUMNS, IMAGE_COLUMNS, PAIR_COLUMNS

Rows = list[dict[str, Any]]


class Reason(StrEnum):
    TOO_SMALL = "too_small"


def declared(stage: str, columns: tuple[str, ...]) -> pa.Schema:
    """These columns as the real stage has them, and one that says whether the row is dropped."""
    schema = rows_schema(BY_NAME[stage], BY_NAME)
    return pa.schema([*(schema.field(name) for name in columns), column("fault", STRING, "null: kept")])


class Given(Stage[StageConfig]):
    """Rows as a stage before attach hands them on."""

    fans_out, Reason = True, Reason
    rows: ClassVar[dict[str, Rows]] = {}

    def measure(self, context: Context[Any]) -> Measured:
        values = [tuple(row.get(name) for name in self.adds.names) for row in self.rows[self.name]]
        return Measured(context.spark.createDataFrame(values, spark_schema(self.adds)))

    def rules(self, config: StageConfig) -> list[Rule]:
        return [Rule(Reason.TOO_SMALL, when=~col("fault").is_null(), value=col("fault"))]


class Texts(Given):
    name, unit, key, keeps = "text", "pair", "pair_id", ("pair", "pair_id")
    adds = declared("text", PAIR_COLUMNS + CHOICE_COLUMNS)


class Fetched(Given):
    name, unit, key, keeps = "fetch", "image", "url_id", ("image", "url_id")
    adds = declared("fetch", ("url_id",))


class Deduped(Given):
    name, unit, key, keeps = "dedup", "image", "url_id", ("image", "url_id")
    adds = declared("dedup", ("url_id", *IMAGE_COLUMNS))


class Tree(StageConfig):
    text: Operate[StageConfig] = StageConfig()
    fetch: Operate[StageConfig] = StageConfig()
    dedup: Operate[StageConfig] = StageConfig()
    attach: Operate[AttachConfig] = AttachConfig()
    spark: Operate[SparkConfig] = SparkConfig()
    rules: Operate[list[UserRule]] = []  # noqa: RUF012


def attached(folder: Path, rows: dict[str, Rows], reporter: Reporter) -> tuple[Rows, dict[str, int]]:
    """Rows of attach by pair_id, and what it dropped."""
    Given.rows = rows
    stages: dict[str, Stage[Any]] = {stage.name: stage for stage in (Texts(), Fetched(), Deduped(), Attach())}
    run = Run(open_storage(str(folder)), Tree(), stages, reporter)
    with open_for_writing(run):
        manifest = [run_stage(stage, run) for stage in stages.values()][-1]
    files = [str(run.storage.path(record.path)) for record in manifest.files["rows"]]
    found = pa.concat_tables(map(pq.read_table, files)).to_pylist()
    return sorted(found, key=lambda row: row["pair_id"]), manifest.dropped


@pytest.mark.usefixtures("spark")
def test_a_pair_gets_its_image_or_the_reason_why_there_is_none(tmp_path, quiet):
    """Two pairs share an image; one image is dropped by fetch, one by dedup, and one was never fetched."""
    pairs = [{"pair_id": f"{n}", "url_id": url} for n, url in enumerate(["a", "a", "small", "placeholder", "lost"])]
    pairs.append({"pair_id": "dropped", "url_id": "a", "fault": "too short"})
    images = [{"url_id": "a"}, {"url_id": "small", "fault": "1"}, {"url_id": "placeholder"}]
    clustered = [{"url_id": "a", "width": 40}, {"url_id": "placeholder", "width": 50, "fault": "20"}]
    rows, dropped = attached(tmp_path, {"text": pairs, "fetch": images, "dedup": clustered}, quiet)
    assert [(row["pair_id"], row["image_verdict"], row["width"]) for row in rows] == [
        ("0", "ok", 40),
        ("1", "ok", 40),
        ("2", "fetch/dropped/too_small", None),
        ("3", "dedup/dropped/too_small", 50),
        ("4", None, None),
    ]
    assert dropped == {"image_dropped": 2, "not_measured": 1}
