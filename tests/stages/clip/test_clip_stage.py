"""The clip stage on Spark: embeddings made once, reused, and a row without a picture is not_measured."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from pipeline.core.config import InputContent, Operate, StageConfig
from pipeline.core.context import Context
from pipeline.core.rules import Rule
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import open_storage
from pipeline.core.tables import spark_schema
from pipeline.core.user_rules import UserRule
from pipeline.stages.attach.stage import Attach
from pipeline.stages.clip.stage import Clip
from schemas.attach import ADDS
from schemas.fields import FLOAT64, INT32, INT64, STRING, column, table
from schemas.pairs import CHOICE_COLUMNS, IMAGE_COLUMNS, PAIR_COLUMNS
from schemas.text import ADDS as TEXT

INTEGERS = {
    "caption_chars": INT32,
    "phash": INT64,
    "image_offset": INT64,
    "image_bytes": INT64,
    "cluster_images": INT64,
}
COLOURS = ["red", "green", "blue", "yellow", "black"]


class PairsConfig(StageConfig):
    given: InputContent[str] = ""


class Pairs(Stage[PairsConfig]):
    """Pairs with pictures, as attach would hand them on."""

    name, unit, key, keeps, fans_out = "attach", "pair", "pair_id", ("pair", "pair_id"), True
    Config, Reason = PairsConfig, Attach.Reason
    adds = table(
        1,
        [
            column(
                name,
                FLOAT64
                if name == "lang_prob"
                else INTEGERS.get(name, INT32 if name.endswith(("width", "height")) else STRING),
                name,
            )
            for name in (*PAIR_COLUMNS, *IMAGE_COLUMNS, *ADDS.names)
        ]
        + [TEXT.field(name) for name in CHOICE_COLUMNS],
    )
    rows: ClassVar[list[dict]] = []

    def measure(self, context: Context[Any]) -> Measured:
        types = spark_schema(self.adds)
        return Measured(
            context.spark.createDataFrame(
                [tuple(row.get(name) for name in self.adds.names) for row in self.rows], types
            )
        )

    def contents(self, config: PairsConfig) -> dict[str, str]:
        return {"given": " ".join(row["pair_id"] for row in self.rows)}

    def rules(self, config) -> list[Rule]:
        return []


class Config(StageConfig):
    attach: Operate[PairsConfig] = PairsConfig()
    clip: Operate[Clip.Config] = Clip.Config()
    spark: Operate[SparkConfig] = SparkConfig()
    rules: Operate[list[UserRule]] = []  # noqa: RUF012


@pytest.fixture
def pictures(tmp_path: Path) -> list[dict]:
    """Pairs of five coloured pictures that lie back to back in one file."""
    folder = tmp_path / "run/fetch/store"
    folder.mkdir(parents=True)
    (tmp_path / "run/run.json").write_text("{}")
    rows, offset = [], 0
    with (folder / "a.images").open("wb") as stream:
        for number, colour in enumerate(COLOURS):
            data = io.BytesIO()
            Image.new("RGB", (40, 30), colour).save(data, "JPEG")
            stream.write(data.getvalue())
            rows.append(
                {
                    "pair_id": f"{number:032x}",
                    "caption": f"a {colour} field",
                    "caption_id": f"c{number}",
                    "image_sha256": f"s{number}",
                    "image_file": "fetch/store/a.images",
                    "image_offset": offset,
                    "image_bytes": len(data.getvalue()),
                }
            )
            offset += len(data.getvalue())
    return rows


def score(folder: Path, quiet, rows: list[dict], **clip):
    Pairs.rows = rows
    run = Run(
        open_storage(str(folder)), Config.model_validate({"clip": clip}), {"attach": Pairs(), "clip": Clip()}, quiet
    )
    with open_for_writing(run):
        for stage in run.stages.values():
            manifest = run_stage(stage, run)
    return run, manifest


def scores_of(run: Run) -> dict[str, float | None]:
    return {row["pair_id"]: row["clip_score"] for row in run.rows("clip").collect()}


def test_every_pair_gets_the_cosine_of_its_picture_and_caption(spark, tmp_path, quiet, pictures, checkpoint) -> None:
    from pipeline.vision import clip_model

    run, manifest = score(tmp_path / "run", quiet, pictures, model=str(checkpoint), min_score=-1.0)
    assert (manifest.rows_in, manifest.kept, manifest.measured) == (5, 5, 5)
    model = clip_model.load(str(checkpoint), "cpu", 32)
    found = scores_of(run)
    for row in pictures:
        data = (tmp_path / "run" / row["image_file"]).read_bytes()[row["image_offset"] :][: row["image_bytes"]]
        image_D = model.encode_images([Image.open(io.BytesIO(data)).convert("RGB")])[0]
        text_D = model.encode_texts([row["caption"]])[0]
        assert found[row["pair_id"]] == pytest.approx(float(image_D @ text_D), abs=1e-6)


def test_a_moved_threshold_embeds_nothing_again_and_score_at_the_threshold_stays_l9(
    spark, tmp_path, quiet, pictures, checkpoint
) -> None:
    """L9: score ≥ t is kept."""
    run, first = score(tmp_path / "run", quiet, pictures, model=str(checkpoint), min_score=-1.0)
    middle = sorted(scores_of(run).values())[2]
    _, second = score(tmp_path / "run", quiet, pictures, model=str(checkpoint), min_score=middle)
    assert (second.kept, second.dropped, second.measured) == (3, {"clip_score_low": 2}, 0)
    assert second.measure_key == first.measure_key


def test_new_pairs_embed_only_what_was_never_embedded(spark, tmp_path, quiet, pictures, checkpoint) -> None:
    score(tmp_path / "run", quiet, pictures[:3], model=str(checkpoint))
    repeated = pictures[0] | {"pair_id": "f" * 32, "caption": "another text", "caption_id": "c9"}
    _, manifest = score(tmp_path / "run", quiet, [*pictures[:4], repeated], model=str(checkpoint))
    assert manifest.measured == 2
    parts = list((tmp_path / "run/clip/embeddings/image").iterdir())
    assert len(parts) >= 2


def test_a_picture_that_is_gone_makes_only_its_own_pair_not_measured_l3_l4(
    spark, tmp_path, quiet, pictures, checkpoint
) -> None:
    """L3: one broken picture costs no other. L4: a score that is not there is never compared."""
    pictures[1]["image_offset"] = 10**9
    run, manifest = score(tmp_path / "run", quiet, pictures, model=str(checkpoint), min_score=-1.0)
    assert manifest.dropped == {"not_measured": 1}
    assert [pair for pair, found in scores_of(run).items() if found is None] == [pictures[1]["pair_id"]]


def test_without_a_model_the_stage_is_off(spark, tmp_path, quiet, pictures) -> None:
    _, manifest = score(tmp_path / "run", quiet, pictures)
    assert manifest.off
    assert (manifest.rows_in, manifest.kept) == (5, 5)
