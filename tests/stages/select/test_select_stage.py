"""The select stage on Spark: who represents the copies in a duplicate cluster, which captions stay beside it, and that
nothing of the way the rows came decides it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.copies.signature import CopyLimits
from pipeline.core.config import Operate, StageConfig
from pipeline.core.context import Context
from pipeline.core.manifest import Manifest
from pipeline.core.progress import Reporter
from pipeline.core.rules import Rule
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.stage import Measured, Stage, rows_schema
from pipeline.core.storage import open_storage
from pipeline.core.tables import spark_schema
from pipeline.core.user_rules import UserRule
from pipeline.funnel import BY_NAME
from pipeline.stages.clip.stage import Clip
from pipeline.stages.dedup.stage import Dedup
from pipeline.stages.select.greedy import Choice
from pipeline.stages.select.greedy import choose as choose_in_batches
from pipeline.stages.select.stage import Select

Row = dict[str, Any]
PHASH = 0x0F0F_3C3C_5A5A_6969
SCORED = rows_schema(Clip(), BY_NAME)


class Scored(Stage[Clip.Config]):
    """Scored pairs, as clip would hand them on."""

    name, unit, key, keeps, fans_out = "clip", "pair", "pair_id", ("pair", "pair_id"), True
    Config, Reason = Clip.Config, Clip.Reason
    adds = pa.schema([SCORED.field(name) for name in Select.carries], metadata=SCORED.metadata)
    rows: ClassVar[list[Row]] = []
    partitions: ClassVar[int] = 1

    def measure(self, context: Context[Any]) -> Measured:
        values = [tuple(row.get(name) for name in self.adds.names) for row in self.rows]
        return Measured(context.spark.createDataFrame(values, spark_schema(self.adds)).repartition(self.partitions))

    def rules(self, config: Clip.Config) -> list[Rule]:
        return []


class Config(StageConfig):
    dedup: Operate[Dedup.Config] = Dedup.Config()
    clip: Operate[Clip.Config] = Clip.Config()
    select: Operate[Select.Config] = Select.Config()
    spark: Operate[SparkConfig] = SparkConfig()
    rules: Operate[list[UserRule]] = []  # noqa: RUF012


def pair(
    name: str,
    cluster: str = "c",
    *,
    caption: str | None = None,
    side: int = 100,
    score: float | None = 0.3,
    phash: int = PHASH,
    phash256: bytes = bytes(32),
    chroma4: bytes = bytes([128] * 32),
) -> Row:
    """A pair whose key says where it stands among equals; its image is named after it, and looks as all others do."""
    text = name if caption is None else caption
    return {
        "pair_id": name,
        "url_id": f"image of {name}",
        "cluster_id": cluster,
        "caption": text,
        "caption_id": f"id of {text}",
        "caption_chars": len(text),
        "original_width": side,
        "original_height": 100,
        "clip_score": score,
        "sha256": f"sha256 of {name}",
        "phash": phash,
        "phash256": phash256,
        "chroma4": chroma4,
    }


def steps_from(phash: int, bits: int) -> int:
    """A hash with the lowest ``bits`` bits of ``phash`` flipped."""
    return phash ^ ((1 << bits) - 1)


@pytest.fixture
def choose(spark: object, tmp_path: Path, quiet: Reporter):
    """choose(rows, captions_per_image=2) runs the stage in a folder of its own: (rows by pair_id, manifest, ledger)."""
    folders = (tmp_path / f"run{number}" for number in range(100))

    def run_select(
        rows: list[Row], partitions: int = 1, dedup: dict[str, int] | None = None, **select: Any
    ) -> tuple[dict[str, Row], Manifest, dict[str, Row]]:
        Scored.rows, Scored.partitions = rows, partitions
        config = Config.model_validate({"dedup": dedup or {}, "select": select})
        run = Run(open_storage(str(next(folders))), config, {"clip": Scored(), "select": Select()}, quiet)
        with open_for_writing(run):
            run_stage(run.stages["clip"], run)
            manifest = run_stage(run.stages["select"], run)
        files = {role: [run.storage.path(file.path) for file in manifest.files[role]] for role in ("rows", "ledger")}
        measured, ledger = (
            pa.concat_tables(map(pq.read_table, files[role])).to_pylist() for role in ("rows", "ledger")
        )
        return {row["pair_id"]: row for row in measured}, manifest, {row["key"]: row for row in ledger}

    return run_select


LADDERS = {
    "more pixels as served": [
        pair("z", side=300, score=0.1, caption="z"),
        pair("a", side=200, score=0.9, caption="a long one"),
    ],
    "then a higher score": [pair("z", score=0.9, caption="z"), pair("a", score=0.2, caption="a long one")],
    "no score is below any score": [pair("z", score=-0.5, caption="z"), pair("a", score=None, caption="a long one")],
    "then a longer caption": [pair("z", score=None, caption="quite long"), pair("a", score=None, caption="short")],
    "then the smallest key": [pair("a", caption="one"), pair("b", caption="two")],
}


def test_the_representative_is_the_best_by_each_step_of_the_order_d4(choose) -> None:
    """D4: pixels, then CLIP score (none comes last), then length of the caption, then pair_id."""
    rows = [
        row | {"cluster_id": step, "pair_id": f"{row['pair_id']} {step}"}
        for step, (best, other) in LADDERS.items()
        for row in (other, best)
    ]
    measured, manifest, ledger = choose(rows)
    for step, (best, other) in LADDERS.items():
        winner, loser = f"{best['pair_id']} {step}", f"{other['pair_id']} {step}"
        assert (measured[winner]["caption_rank"], measured[loser]["caption_rank"]) == (1, 2), step
        assert (measured[winner]["duplicate_of"], measured[loser]["duplicate_of"]) == (None, winner), step
        assert {measured[name]["image_of"] for name in (winner, loser)} == {best["url_id"]}, step
        assert ledger[loser]["detail"] == winner
    assert (manifest.kept, manifest.dropped) == (len(LADDERS), {"duplicate_image": len(LADDERS)})


CLUSTER = [
    pair("a", side=500, caption="a fox"),
    pair("b", side=400, caption="a fox"),
    pair("c", side=300, caption="a red fox"),
    pair("d", side=200, caption="a red fox"),
    pair("e", side=100, caption="a fox in snow"),
    pair("f", cluster="other", caption="a fox"),
]


@pytest.mark.parametrize(("captions_per_image", "kept"), [(1, "af"), (2, "acf"), (3, "acef"), (9, "acef")])
def test_a_cluster_keeps_so_many_distinct_captions_and_never_one_twice_d6(
    choose, captions_per_image: int, kept: str
) -> None:
    """D6: of equal captions in a cluster only the best pair's stays, however many may."""
    measured, manifest, ledger = choose(CLUSTER, captions_per_image=captions_per_image)
    assert "".join(sorted(measured.keys() - ledger.keys())) == kept
    assert manifest.rows_in == 6 == manifest.kept + manifest.dropped["duplicate_image"]
    ranks = [1, 2, 3][:captions_per_image] + [captions_per_image + 1] * (3 - captions_per_image)
    assert [measured[name]["caption_rank"] for name in "ace"] == ranks
    assert measured["b"]["repeated"]
    assert measured["d"]["repeated"] == (captions_per_image > 1)  # else its caption does not stay at all
    assert {measured[name]["image_of"] for name in "abcde"} == {"image of a"}
    assert {row["detail"] for row in ledger.values()} == {"a"}


def test_neither_order_nor_partitions_of_the_rows_move_a_choice_d4(choose) -> None:
    """D4: equal rows give equal verdicts, one partition or many."""
    dice = random.Random(7)
    rows = [
        pair(
            f"{number:03}",
            f"c{number % 9}",
            caption=f"caption {number % 5}",
            side=100 + number % 3,
            score=dice.choice([None, 0.3, 0.4]),
            phash=steps_from(PHASH, number % 12),
        )
        for number in range(90)
    ]
    first = choose(rows, captions_per_image=2)
    assert len({row["image_of"] for row in first[0].values()}) > 9
    for partitions in (1, 7):
        dice.shuffle(rows)
        other = choose(rows, partitions, captions_per_image=2)
        assert other[0] == first[0]
        assert other[2] == first[2]
        assert other[1].keeps.digest == first[1].keeps.digest


CHAIN = [pair(chr(ord("a") + step), side=900 - step, phash=steps_from(PHASH, 2 * step)) for step in range(16)]
"""Each two bits from the one before, the last 30 bits from the first."""


def test_a_chain_keeps_every_picture_that_is_no_copy_of_one_that_stays_d2(choose) -> None:
    """D2: a goes with no one, b and c with a; d is six bits from a and stays, and so on. The last is 30 bits from a."""
    measured, manifest, ledger = choose(CHAIN)
    assert "".join(sorted(measured.keys() - ledger.keys())) == "adgjmp"
    assert manifest.dropped == {"duplicate_image": 10}
    for name, row in measured.items():
        kept = "adgjmp"[(ord(name) - ord("a")) // 3]
        assert row["image_of"] == f"image of {kept}"
        assert (row["duplicate_of"], row["duplicate_bits"]) == (
            (None, None) if name == kept else (kept, 2 * (ord(name) - ord(kept)))
        )
        assert name == kept or ledger[name]["detail"] == kept


def test_a_whole_cluster_goes_but_for_one_where_that_is_wanted_d2(choose) -> None:
    """D2: with select.whole_cluster the best pair stands for all, 30 bits away or not."""
    measured, manifest, _ = choose(CHAIN, whole_cluster=True)
    assert (manifest.kept, measured["p"]["duplicate_of"], measured["p"]["duplicate_bits"]) == (1, "a", 30)


@pytest.mark.parametrize("chunk", [1, 3, 2000])
def test_batches_may_end_inside_a_cluster(chunk: int) -> None:
    rows = pa.RecordBatch.from_pylist(CHAIN, schema=Scored.adds)
    batches = (rows.slice(start, chunk) for start in range(0, len(CHAIN), chunk))
    answered = pa.Table.from_batches(choose_in_batches(batches, Choice(CopyLimits(4, 24, 16), 1, whole_cluster=False)))
    assert answered["image_of"].to_pylist() == [f"image of {'adgjmp'[step // 3]}" for step in range(16)]


COPY = {"phash": PHASH ^ 0b1111, "phash256": bytes([255] * 3) + bytes(29), "chroma4": bytes([128 - 16, 128 + 16] * 16)}
"""At all three limits."""
BEYOND = {
    "phash": PHASH ^ 0b11111,
    "phash256": bytes([255] * 3) + b"\1" + bytes(28),
    "chroma4": bytes([128] * 31 + [111]),
}


def test_a_copy_is_within_all_three_limits_and_dedups_settings_are_these(choose) -> None:
    """The hash of a mug proposes, its colours decide; moved limits of dedup choose anew over the same clusters."""
    rows = [pair("copy", "copy", **COPY)] + [pair(name, name, **COPY | {name: BEYOND[name]}) for name in BEYOND]
    rows += [pair(f"best {row['cluster_id']}", row["cluster_id"], side=300) for row in rows]
    limits = {"max_distance": 4, "max_distance256": 24, "max_chroma": 16}
    measured, before, _ = choose(rows, dedup=limits)
    assert {name: row["duplicate_bits"] for name, row in measured.items() if row["duplicate_of"]} == {"copy": 4}
    measured, after, _ = choose(rows, dedup={name: limit + 1 for name, limit in limits.items()})
    assert {name for name, row in measured.items() if row["duplicate_of"]} == {"copy", *BEYOND}
    assert before.measure_key != after.measure_key


def test_equal_bytes_are_one_picture_whatever_is_measured_of_it_d1_d7(choose) -> None:
    """D1: a blank picture's copies go by their bytes. D7: where there are no hashes either, nothing matches nothing."""
    unhashed = {"phash": None, "phash256": None, "chroma4": None}
    rows = [pair("a", side=300) | unhashed, pair("b") | unhashed | {"sha256": "sha256 of a"}, pair("c") | unhashed]
    measured, manifest, _ = choose(rows)
    assert {name: row["duplicate_of"] for name, row in measured.items()} == {"a": None, "b": "a", "c": None}
    assert measured["b"]["duplicate_bits"] is None
    assert (manifest.rows_in, manifest.kept) == (3, 2)


def test_the_captions_of_a_copy_stay_beside_the_picture_that_stays_d6(choose) -> None:
    """D6: under their own pair_id, with image_of naming the picture; another picture of the cluster has its own."""
    rows = [
        pair("a", side=500),
        pair("b", side=400),
        pair("far", side=300, caption="a", phash=steps_from(PHASH, 20)),
        pair("c", phash=steps_from(PHASH, 2)),
    ]
    measured, _, ledger = choose(rows, captions_per_image=2)
    assert measured.keys() - ledger.keys() == {"a", "b", "far"}
    assert (measured["b"]["image_of"], measured["b"]["caption_rank"]) == ("image of a", 2)
    assert (measured["far"]["image_of"], measured["far"]["repeated"]) == ("image of far", False)
    assert (ledger["c"]["value"], ledger["c"]["threshold"], ledger["c"]["detail"]) == ("3", "2", "a")


def test_a_domain_has_no_more_images_than_its_cap_the_same_ones_in_any_order(choose) -> None:
    """Ten images of one domain, two of another, two of none; and a duplicate, which takes no place in its domain."""
    rows = [pair(f"a{number}", f"c{number}") | {"image_domain": "large.example"} for number in range(10)]
    rows += [pair("a0 again", "c0", side=50, caption="another") | {"image_domain": "large.example"}]
    rows += [pair(f"b{number}", f"d{number}") | {"image_domain": "small.example"} for number in range(2)]
    rows += [pair(f"n{number}", f"e{number}") | {"image_domain": ""} for number in range(4)]
    found, manifest, ledger = choose(rows, images_per_domain=3)
    assert manifest.dropped == {"duplicate_image": 1, "domain_cap": 7}
    kept = set(found) - set(ledger)
    assert kept == {"a0", "a1", "a2", "b0", "b1", "n0", "n1", "n2", "n3"}
    assert found["a0 again"]["domain_rank"] is None
    assert (ledger["a5"]["value"], ledger["a5"]["threshold"], ledger["a5"]["detail"]) == ("6", "3", "large.example")
    again, _, ledger_again = choose(rows[::-1], partitions=5, images_per_domain=3)
    assert (again, ledger_again) == (found, ledger)


def test_captions_of_one_picture_share_its_place_in_the_domain(choose) -> None:
    rows = [
        pair(f"{image}{caption}", image, caption=caption)
        | {"image_domain": "a.example", "sha256": image, "url_id": image}
        for image in "pq"
        for caption in ("one", "two")
    ]
    found, manifest, _ = choose(rows, images_per_domain=1, captions_per_image=2)
    assert manifest.dropped == {"domain_cap": 2}
    assert {name: row["domain_rank"] for name, row in found.items()} == {"pone": 1, "ptwo": 1, "qone": 2, "qtwo": 2}


def test_a_caption_from_a_small_domain_goes_with_its_picture_from_a_large_one(choose) -> None:
    rows = [
        pair("rep", "c", side=300) | {"image_domain": "large.example", "url_id": "z"},
        pair("copy", "c", caption="other") | {"image_domain": "small.example"},
        pair("first", "d") | {"image_domain": "large.example", "url_id": "a"},
    ]
    _, manifest, ledger = choose(rows, images_per_domain=1, captions_per_image=2)
    assert manifest.dropped == {"domain_cap": 2}
    assert set(ledger) == {"rep", "copy"}
    assert {row["detail"] for row in ledger.values()} == {"large.example"}
