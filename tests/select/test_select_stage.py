"""The select stage on Spark: who represents a duplicate cluster, which captions stay beside it, and that nothing of
the way the rows came decides it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame

from pipeline.clip.stage import Clip
from pipeline.core.config import Operate, StageConfig
from pipeline.core.manifest import Manifest
from pipeline.core.progress import Reporter
from pipeline.core.rules import Rule
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.stage import Measured, Stage, rows_schema
from pipeline.core.storage import Storage
from pipeline.core.tables import spark_schema
from pipeline.core.user_rules import UserRule
from pipeline.funnel import BY_NAME
from pipeline.select.stage import Select

Row = dict[str, Any]
SCORED = rows_schema(Clip(), BY_NAME)


class Scored(Stage[Clip.Config]):
    """Scored pairs, as clip would hand them on."""

    name, unit, key, keeps, fans_out = "clip", "pair", "pair_id", ("pair", "pair_id"), True
    Config, Reason = Clip.Config, Clip.Reason
    adds = pa.schema([SCORED.field(name) for name in Select.carries], metadata=SCORED.metadata)
    rows: ClassVar[list[Row]] = []
    partitions: ClassVar[int] = 1

    def measure(self, rows: Mapping[str, DataFrame], config: Clip.Config, run: Run, measure_key: str) -> Measured:
        values = [tuple(row.get(name) for name in self.adds.names) for row in self.rows]
        return Measured(run.spark.createDataFrame(values, spark_schema(self.adds)).repartition(self.partitions))

    def rules(self, config: Clip.Config) -> list[Rule]:
        return []


class Config(StageConfig):
    clip: Operate[Clip.Config] = Clip.Config()
    select: Operate[Select.Config] = Select.Config()
    spark: Operate[SparkConfig] = SparkConfig()
    rules: Operate[list[UserRule]] = []  # noqa: RUF012


def pair(name: str, cluster: str = "c", *, caption: str | None = None, side: int = 100, score: float | None = 0.3) -> Row:
    """A pair whose key says where it stands among equals; its image is named after it."""
    text = name if caption is None else caption
    return {
        "pair_id": name, "url_id": f"image of {name}", "cluster_id": cluster, "caption": text, "caption_id": f"id of {text}",
        "caption_chars": len(text), "original_width": side, "original_height": 100, "clip_score": score,
    }  # fmt: skip


@pytest.fixture
def choose(spark: object, tmp_path: Path, quiet: Reporter):
    """choose(rows, captions_per_image=2) runs the stage in a folder of its own: (rows by pair_id, manifest, ledger)."""
    folders = (tmp_path / f"run{number}" for number in range(100))

    def run_select(rows: list[Row], partitions: int = 1, **select: Any) -> tuple[dict[str, Row], Manifest, dict[str, Row]]:
        Scored.rows, Scored.partitions = rows, partitions
        config = Config.model_validate({"select": select})
        run = Run(Storage.at(str(next(folders))), config, {"clip": Scored(), "select": Select()}, quiet)
        with open_for_writing(run):
            run_stage(run.stages["clip"], run)
            manifest = run_stage(run.stages["select"], run)
        files = {role: [run.storage.path(file.path) for file in manifest.files[role]] for role in ("rows", "ledger")}
        measured, ledger = (pa.concat_tables(map(pq.read_table, files[role])).to_pylist() for role in ("rows", "ledger"))
        return {row["pair_id"]: row for row in measured}, manifest, {row["key"]: row for row in ledger}

    return run_select


LADDERS = {
    "more pixels as served": [pair("z", side=300, score=0.1, caption="z"), pair("a", side=200, score=0.9, caption="a long one")],
    "then a higher score": [pair("z", score=0.9, caption="z"), pair("a", score=0.2, caption="a long one")],
    "no score is below any score": [pair("z", score=-0.5, caption="z"), pair("a", score=None, caption="a long one")],
    "then a longer caption": [pair("z", score=None, caption="quite long"), pair("a", score=None, caption="short")],
    "then the smallest key": [pair("a", caption="one"), pair("b", caption="two")],
}


def test_the_representative_is_the_best_by_each_step_of_the_order_d4(choose) -> None:
    """D4: pixels, then CLIP score (none comes last), then length of the caption, then pair_id."""
    rows = [row | {"cluster_id": step, "pair_id": f"{row['pair_id']} {step}"}
            for step, (best, other) in LADDERS.items() for row in (other, best)]  # fmt: skip
    measured, manifest, ledger = choose(rows)
    for step, (best, other) in LADDERS.items():
        winner, loser = f"{best['pair_id']} {step}", f"{other['pair_id']} {step}"
        assert (measured[winner]["cluster_rank"], measured[loser]["cluster_rank"]) == (1, 2), step
        assert (measured[winner]["duplicate_of"], measured[loser]["duplicate_of"]) == (None, winner), step
        assert {measured[name]["image_of"] for name in (winner, loser)} == {best["url_id"]}, step
        assert ledger[loser]["detail"] == winner
    assert (manifest.kept, manifest.dropped) == (len(LADDERS), {"duplicate_image": len(LADDERS)})


CLUSTER = [
    pair("a", side=500, caption="a fox"), pair("b", side=400, caption="a fox"), pair("c", side=300, caption="a red fox"),
    pair("d", side=200, caption="a red fox"), pair("e", side=100, caption="a fox in snow"), pair("f", cluster="other", caption="a fox"),
]  # fmt: skip


@pytest.mark.parametrize(("captions_per_image", "kept"), [(1, "af"), (2, "acf"), (3, "acef"), (9, "acef")])
def test_a_cluster_keeps_so_many_distinct_captions_and_never_one_twice_d6(choose, captions_per_image: int, kept: str) -> None:
    """D6: of equal captions in a cluster only the best pair's stays, however many may."""
    measured, manifest, ledger = choose(CLUSTER, captions_per_image=captions_per_image)
    assert "".join(sorted(measured.keys() - ledger.keys())) == kept
    assert manifest.rows_in == 6 == manifest.kept + manifest.dropped["duplicate_image"]
    assert [measured[name]["cluster_rank"] for name in "acebdf"] == [1, 2, 3, 4, 5, 1]
    assert [name for name, row in sorted(measured.items()) if row["repeated"]] == ["b", "d"]
    assert {measured[name]["image_of"] for name in "abcde"} == {"image of a"}
    assert {row["detail"] for row in ledger.values()} == {"a"}


def test_neither_order_nor_partitions_of_the_rows_move_a_choice_d4(choose) -> None:
    """D4: equal rows give equal verdicts, one partition or many."""
    dice = random.Random(7)
    rows = [
        pair(f"{number:03}", f"c{number % 9}", caption=f"caption {number % 5}", side=100 + number % 3, score=dice.choice([None, 0.3, 0.4]))
        for number in range(90)
    ]  # fmt: skip
    first = choose(rows, captions_per_image=2)
    for partitions in (1, 7):
        dice.shuffle(rows)
        other = choose(rows, partitions, captions_per_image=2)
        assert other[0] == first[0]
        assert other[2] == first[2]
        assert other[1].keeps.digest == first[1].keeps.digest
