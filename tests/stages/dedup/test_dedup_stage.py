"""The dedup stage on Spark: which images make a cluster, on hashes of pictures that are drawn and measured here."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFont

from pipeline.copies.signature import CopyLimits, telling
from pipeline.core.config import Operate, StageConfig
from pipeline.core.context import Context
from pipeline.core.errors import InputError
from pipeline.core.progress import Reporter
from pipeline.core.rules import Rule
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.stage import Measured, Stage
from pipeline.core.storage import open_storage
from pipeline.core.tables import spark_schema
from pipeline.core.user_rules import UserRule
from pipeline.stages.dedup.eval_lists import Listed, overlaps
from pipeline.stages.dedup.stage import Dedup, says_nothing
from pipeline.vision.image import measure_image
from pipeline.vision.settings import ImageSettings
from pipeline.web.urls import url_id
from schemas.fetch import ADDS as FETCHED
from schemas.fields import STRING, column, table
from schemas.hashes import HASHES

Row = dict[str, Any]


class Given(Stage[StageConfig]):
    """Rows from a list, as the stage before would hand them on."""

    fans_out = True
    Config, Reason = StageConfig, Dedup.Reason
    rows: ClassVar[list[Row]] = []
    partitions: ClassVar[int] = 1

    def measure(self, context: Context[Any]) -> Measured:
        values = [tuple(row.get(name) for name in self.adds.names) for row in self.rows]
        return Measured(context.spark.createDataFrame(values, spark_schema(self.adds)).repartition(self.partitions))

    def rules(self, config: StageConfig) -> list[Rule]:
        return []


class Fetched(Given):
    name, unit, key, keeps = "fetch", "image", "url_id", ("image", "url_id")
    adds = table(
        1, [column("url_id", STRING, "key"), *(FETCHED.field(name) for name in (*Dedup.carries[1:], "phash_margin"))]
    )


class Paired(Given):
    name, unit, key, keeps = "text", "pair", "pair_id", ("pair", "pair_id")
    adds = table(1, [column(name, STRING, name) for name in ("pair_id", "url_id", "caption_id", "image_domain")])


class Config(StageConfig):
    fetch: Operate[StageConfig] = StageConfig()
    text: Operate[StageConfig] = StageConfig()
    dedup: Operate[Dedup.Config] = Dedup.Config()
    spark: Operate[SparkConfig] = SparkConfig()
    rules: Operate[list[UserRule]] = []  # noqa: RUF012


Cluster = Callable[..., dict[str, Row]]


@pytest.fixture
def cluster(spark: object, tmp_path: Path, quiet: Reporter) -> Cluster:
    """cluster(images, captions, max_chroma=255) runs the stage in a folder of its own: its rows by url_id."""
    folders = (tmp_path / f"run{number}" for number in range(100))

    def run_dedup(
        images: list[Row], captions: Mapping[str, list[str]] | None = None, partitions: int = 1, **dedup: Any
    ) -> dict[str, Row]:
        Fetched.rows, Fetched.partitions = images, partitions
        pairs = captions or {row["url_id"]: ["one"] for row in images}
        Paired.rows = [
            {"pair_id": f"{url} {caption}", "url_id": url, "caption_id": caption, "image_domain": f"{url[:1]}.example"}
            for url in pairs
            for caption in pairs[url]
        ]
        config = Config.model_validate({"dedup": dedup})
        run = Run(
            open_storage(str(next(folders))), config, {"fetch": Fetched(), "text": Paired(), "dedup": Dedup()}, quiet
        )
        with open_for_writing(run):
            for name in ("fetch", "text"):
                run_stage(run.stages[name], run)
            manifest = run_stage(run.stages["dedup"], run)
        rows = pa.concat_tables(
            pq.read_table(run.storage.path(file.path)) for file in manifest.files["rows"]
        ).to_pylist()
        assert manifest.rows_in == len(rows) == len(images)
        return {row["url_id"]: row for row in rows}

    return run_dedup


def image(name: str, picture: Image.Image, extension: str = "png", **options: Any) -> Row:
    """What fetch measures of a picture that is served in this format."""
    stream = io.BytesIO()
    picture.save(stream, extension, **options)
    columns = measure_image(stream.getvalue(), ImageSettings()).columns
    return {"url_id": name} | {key: value for key, value in columns.items() if key in Fetched.adds.names}


def hashed(name: str, phash: int, sha256: str | None = None, **columns: Any) -> Row:
    """An image with this phash that looks as all others do otherwise."""
    given = {"phash": phash, "phash256": bytes(32), "chroma4": bytes([128] * 32), "phash_margin": 1.0} | columns
    return {"url_id": name, "sha256": hashlib.sha256((sha256 or name).encode()).hexdigest()} | given


def clusters(rows: Mapping[str, Row]) -> set[str]:
    """The members of each cluster, in one word; the first names the cluster."""
    found: dict[str, list[str]] = {}
    for name, row in sorted(rows.items()):
        found.setdefault(row["cluster_id"], []).append(name)
    assert all(cluster_id == members[0] for cluster_id, members in found.items())
    assert all(rows[name]["cluster_images"] == len(members) for members in found.values() for name in members)
    return {" ".join(members) for members in found.values()}


def mug(colour: str) -> Image.Image:
    picture = Image.new("RGB", (320, 320), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((190, 110, 290, 220), outline=colour, width=22)
    draw.rounded_rectangle((60, 70, 230, 260), radius=24, fill=colour)
    draw.ellipse((60, 50, 230, 96), fill=(235, 235, 235), outline=colour, width=8)
    return picture


def card(words: str) -> Image.Image:
    """A quotation on one layout: ground, frame and signature are the same."""
    picture = Image.new("RGB", (480, 320), (32, 58, 92))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((16, 16, 464, 304), outline=(230, 220, 180), width=6)
    draw.multiline_text((40, 70), words, fill="white", font=ImageFont.load_default(34), spacing=12)
    draw.text((270, 260), "quotes of the day", fill=(230, 220, 180), font=ImageFont.load_default(22))
    return picture


def test_copies_are_one_cluster_and_mugs_of_two_colours_or_two_cards_are_not(cluster: Cluster) -> None:
    """Grey 64 bits cannot tell the mugs apart; what they propose the second look refuses."""
    red, blue = mug("#c8201e"), mug("#2038c8")
    assert image("a", red)["phash"] == image("b", blue)["phash"]
    images = [
        image("red", red),
        image("red-q50", red, "jpeg", quality=50),
        image("red-small", red.resize((200, 200))),
        image("blue", blue),
        image("blue-q50", blue, "jpeg", quality=50),
        image("card", card("Be yourself, for all\nothers are taken.")),
        image("card-other", card("The best way out\nis through.")),
    ]
    assert clusters(cluster(images)) == {"red red-q50 red-small", "blue blue-q50", "card", "card-other"}
    assert "blue blue-q50 red red-q50 red-small" in clusters(cluster(images, max_chroma=255))


def halves(one: str, other: str) -> Image.Image:
    picture = Image.new("RGB", (256, 256), one)
    picture.paste(other, (0, 128, 256, 256))
    return picture


def test_pictures_that_say_nothing_go_by_their_bytes_alone_d1(cluster: Cluster) -> None:
    """D1: squares of one colour and half-dark images have the hashes of each other; only equal bytes are a cluster."""
    pictures = {
        "blue": Image.new("RGB", (256, 256), "blue"),
        "white": Image.new("RGB", (256, 256), "white"),
        "half": halves("black", "white"),
        "half-grey": halves("#101010", "#e0e0e0"),
    }
    images = [image(name, picture) for name, picture in pictures.items()]
    twins = [row | {"url_id": f"{row['url_id']}-too"} for row in images]
    rows = cluster(images + twins)
    assert clusters(rows) == {f"{name} {name}-too" for name in pictures}
    assert {row["nearest_bits"] for row in rows.values()} == {0}
    assert {row["same_bytes_images"] for row in rows.values()} == {2}


TELLING = 0x0F0F_3C3C_5A5A_6969


SAYS_SOMETHING = {
    (0b1111, 1.0): False,
    (0b11111, 1.0): True,
    (-16, 1.0): False,
    (-32, 1.0): True,
    (-1, 1.0): False,
    (0, 1.0): False,
    (TELLING, 9e-7): False,
    (TELLING, 1e-6): True,
}
"""By phash and margin."""


def test_a_hash_of_nearly_one_value_or_without_a_margin_joins_nothing_d1(cluster: Cluster) -> None:
    """D1: at most 4 or at least 60 of 64 bits, or a coefficient so near the median that noise decides."""
    images = [
        hashed(f"{case}{side}", phash, phash_margin=margin, chroma4=bytes([20 * case] * 32))
        for case, (phash, margin) in enumerate(SAYS_SOMETHING)
        for side in "ab"
    ]
    rows = cluster(images)
    expected = [
        {f"{case}a {case}b"} if says else {f"{case}a", f"{case}b"} for case, says in enumerate(SAYS_SOMETHING.values())
    ]
    assert clusters(rows) == set().union(*expected)
    assert [rows[f"{case}a"]["nearest_bits"] for case in range(len(SAYS_SOMETHING))] == [
        0 if says else None for says in SAYS_SOMETHING.values()
    ]


def test_rows_without_hashes_match_nothing_and_stay_rows_d7(cluster: Cluster) -> None:
    """D7: a missing value is equal to none, not even to another missing one."""
    missing = [
        hashed(f"no {name} {number}", TELLING) | {name: None}
        for name in ("phash", "phash256", "chroma4", "phash_margin")
        for number in (1, 2)
    ]
    no_bytes = [hashed(f"no bytes {number}", TELLING) | {"sha256": None} for number in (1, 2)]
    rows = cluster([hashed("a", TELLING), hashed("b", TELLING), *missing, *no_bytes])
    assert {row["cluster_id"] for name, row in rows.items() if name.startswith("no bytes")} == {None}
    measured = {name: row for name, row in rows.items() if not name.startswith("no bytes")}
    assert clusters(measured) == {"a b", *(row["url_id"] for row in missing)}


def test_a_chain_is_one_cluster_whose_rows_know_their_nearest_copy_d2(cluster: Cluster) -> None:
    """D2: what pairs connect is measured here; select says which of them stay."""
    chain = [hashed(chr(ord("a") + step), TELLING ^ ((1 << 2 * step) - 1)) for step in range(16)]
    far = [hashed("y", TELLING ^ (0xFFFF << 40)), hashed("z", TELLING ^ (0xFFFF << 40) ^ (0b111 << 20))]
    rows = cluster(chain + far)
    assert clusters(rows) == {" ".join("abcdefghijklmnop"), "y z"}
    assert [rows[name]["nearest_bits"] for name in "apyz"] == [2, 2, 3, 3]


def test_equal_bytes_are_one_cluster_though_two_decoders_saw_other_pixels(cluster: Cluster) -> None:
    """Hashes are of the stored picture; workers with other libraries may have stored another one."""
    rows = cluster(
        [hashed("a", TELLING, "same"), hashed("b", ~TELLING, "same"), hashed("c", TELLING), hashed("d", ~TELLING)]
    )
    assert len(clusters(rows)) == 2
    assert rows["a"]["cluster_id"] == rows["b"]["cluster_id"]


COUNTS = ("same_bytes_images", "same_picture_images", "same_picture_domains", "same_picture_captions")


def test_a_placeholder_is_told_by_its_bytes_or_hashes_over_urls_domains_and_captions_f41(cluster: Cluster) -> None:
    """F41: the same card, served with other bytes by another host, is the same card; one that looks alike is not."""
    images = [hashed(name, TELLING, "no photo") for name in ("a1", "a2", "b1")]
    images += [hashed("again", TELLING), hashed("near", TELLING ^ 1)]
    rows = cluster(images, {"a1": ["x", "y"], "a2": ["y"], "b1": ["z"], "again": ["w"], "near": ["v"]})
    counts = {name: tuple(row[count] for count in COUNTS) for name, row in rows.items()}
    assert counts == {
        "a1": (3, 4, 2, 4),
        "a2": (3, 4, 2, 4),
        "b1": (3, 4, 2, 4),
        "again": (1, 4, 2, 4),
        "near": (1, 1, 1, 1),
    }
    assert clusters(rows) == {"a1 a2 again b1 near"}


def test_blank_pictures_of_equal_hashes_are_counted_by_their_bytes_f41(cluster: Cluster) -> None:
    """F41"""
    rows = cluster([hashed("a", 0, "blank"), hashed("b", 0, "blank"), hashed("c", 0)])
    assert {name: row["same_picture_images"] for name, row in rows.items()} == {"a": 2, "b": 2, "c": 1}


def test_bytes_under_enough_urls_beside_enough_captions_are_dropped_whatever_they_show_f41(cluster: Cluster) -> None:
    """F41"""
    rules = Dedup().rules(Dedup.Config())
    (placeholder,) = [rule for rule in rules if rule.reason == Dedup.Reason.PLACEHOLDER_IMAGE]
    counts = [(20, 10), (19, 10), (20, 9), (1000, 1)]
    rows = pa.table(
        {
            "same_picture_images": [images for images, _ in counts],
            "same_picture_captions": [texts for _, texts in counts],
            "same_picture_domains": [1] * 4,
        }
    )
    (spread,) = [
        rule
        for rule in Dedup().rules(Dedup.Config(placeholder_domains=2))
        if rule.reason == Dedup.Reason.PLACEHOLDER_IMAGE
    ]
    assert not any(spread.when.arrow(rows).to_pylist())
    assert placeholder.when.arrow(rows).to_pylist() == [True, False, False, False]


def test_a_million_rows_of_one_picture_are_one_row_of_work_d3(spark, tmp_path: Path) -> None:
    """D3: counted, not timed: ten times the rows give the join the same single row."""
    from pyspark.sql import functions as F

    from pipeline.stages.dedup.stage import clusters_of, pictures_of
    from schemas.dedup import COMPONENTS

    for images in (100_000, 1_000_000):
        rows = spark.range(images).select(
            F.format_string("%032x", "id").alias("url_id"),
            F.lit("5a").alias("sha256"),
            F.lit(TELLING).alias("phash"),
            F.lit(bytes(32)).alias("phash256"),
            F.lit(bytes(32)).alias("chroma4"),
            F.lit(1.0).alias("phash_margin"),
        )
        found = clusters_of(pictures_of(rows), spark.createDataFrame([], spark_schema(COMPONENTS))).collect()
        assert [(row["cluster_id"], row["cluster_images"], row["nearest_bits"]) for row in found] == [
            ("0" * 32, images, 0)
        ]


def test_neither_order_nor_partitions_move_a_cluster_d4(cluster: Cluster) -> None:
    """D4: one partition or many, and the rows backwards."""
    images = [
        hashed(f"{number:03}", TELLING ^ (number % 7 << 8) ^ (0x3FF << 20) * (number % 2)) for number in range(60)
    ]
    first = cluster(images)
    assert cluster(images[::-1], partitions=7) == first
    assert len(clusters(first)) == 2


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("http://I.Example/a.jpg", "http://i.example/a.jpg", True),
        ("https://i.example:443/a.jpg", "https://i.example/a.jpg", True),
        ("http://i.example/a.jpg#top", "http://i.example/a.jpg", True),
        ("http://i.example/A.jpg", "http://i.example/a.jpg", False),
        ("http://i.example/a.jpg?x=1&y=2", "http://i.example/a.jpg?y=2&x=1", False),
    ],
)
def test_urls_are_one_image_where_no_server_could_tell_them_apart_d5(one: str, other: str, is_same: bool) -> None:
    """D5: case of the host, the default port and the fragment; not case of the path, nor order of the query."""
    assert (url_id(one) == url_id(other)) == is_same


def photo(seed: int) -> Image.Image:
    """Patches of muted colour under patches of light, from coarse to fine: other ones for each seed."""
    draws = np.random.default_rng(seed)
    levels = np.full((240, 320, 3), 128.0)
    for cells, strength in ((4, 40), (8, 50), (16, 60), (32, 60)):
        light = draws.integers(0, 256, (cells * 3 // 4, cells), dtype=np.uint8)
        levels += (
            (np.asarray(Image.fromarray(light).resize((320, 240), Image.Resampling.BICUBIC), float)[..., None] - 128)
            * strength
            / 128
        )
    tint = draws.integers(96, 160, (3, 4, 3), dtype=np.uint8)
    levels += np.asarray(Image.fromarray(tint).resize((320, 240), Image.Resampling.BICUBIC), float) - 128
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def listed(tmp_path: Path):
    """``listed(rows)`` writes a list of these pictures, and gives its path."""

    def write(rows: list[Row], name: str = "hashes.parquet") -> str:
        path = tmp_path / name
        pq.write_table(pa.Table.from_pylist([{"name": row["url_id"]} | row for row in rows], schema=HASHES), path)
        return str(path)

    return write


def test_a_copy_of_a_listed_picture_overlaps_and_another_picture_does_not_d8(cluster, listed) -> None:
    """D8"""
    tested = [image(f"set/{number}.png", photo(number)) for number in range(20)]
    copy = image("copy", photo(7).resize((240, 180)), "jpeg", quality=80)
    rows = cluster(
        [copy, image("same", photo(11)), image("other", photo(99))],
        eval_hashes=[listed(tested[:10]), listed(tested[10:], "more")],
    )
    assert {name: row["eval_name"] for name, row in rows.items()} == {
        "copy": "set/7.png",
        "same": "set/11.png",
        "other": None,
    }
    assert rows["copy"]["eval_bits"] <= 4
    assert rows["same"]["eval_bits"] == 0


def test_the_limits_hold_for_listed_pictures_as_for_any_other_d8(cluster, listed) -> None:
    """D8"""
    theirs = hashed("set/a", 0x0F0F_0F0F_0F0F_0F0F)
    near = hashed("near", theirs["phash"] ^ 0b1111)
    far = hashed("far", theirs["phash"] ^ 0b11111)
    recoloured = hashed("recoloured", theirs["phash"], chroma4=bytes([200] * 32))
    rows = cluster([near, far, recoloured], eval_hashes=[listed([theirs])])
    assert {name for name, row in rows.items() if row["eval_name"]} == {"near"}
    assert rows["near"]["eval_bits"] == 4


def test_a_blank_picture_overlaps_by_its_bytes_alone_d8(cluster, listed) -> None:
    """D8"""
    blank = hashed("set/blank", 0, "blank")
    rows = cluster([hashed("same", 0, "blank"), hashed("other", 0)], eval_hashes=[listed([blank])])
    assert {name: row["eval_bits"] for name, row in rows.items()} == {"same": 0, "other": None}


def test_spark_and_arrow_agree_on_which_hashes_tell_something_d1(spark) -> None:
    """D1: one definition, written twice, since rows of a table and columns of a list are judged by other engines."""
    hashes = [None, 0, -1, 0b1111, 0b11111, ~0b1111, ~0b11111, TELLING]
    rows = [(phash, b"", b"", margin) for phash in hashes for margin in (None, 0.0, 1e-7, 1e-6, 1.0)]
    columns = "phash long, phash256 binary, chroma4 binary, phash_margin double"
    by_spark = [row[0] for row in spark.createDataFrame(rows, columns).select(~says_nothing()).collect()]
    phash, margin = (
        pa.array(values, kind)
        for values, kind in zip(list(zip(*rows, strict=True))[::3], (pa.int64(), pa.float64()), strict=True)
    )
    assert telling(phash, margin).tolist() == by_spark
    assert 0 < sum(by_spark) < len(by_spark)


@pytest.mark.parametrize("content", [None, b"", b"no parquet"])
def test_a_missing_list_ends_the_run_before_it_begins_d8(tmp_path, quiet, content) -> None:
    """D8"""
    path = tmp_path / "list"
    if content is not None:
        path.write_bytes(content)
    config = Config.model_validate({"dedup": {"eval_hashes": [str(path)]}})
    run = Run(open_storage(str(tmp_path)), config, {"dedup": Dedup()}, quiet)
    with pytest.raises(InputError, match="pairmill hashes build") as raised:
        Dedup().check(run.context("dedup"))
    assert raised.value.code == "resource_missing"


def test_a_list_is_found_exactly_against_brute_force_d8() -> None:
    """D8"""
    draws = np.random.default_rng(3)
    theirs = draws.integers(-(2**63), 2**63, 500)
    ours = np.concatenate([theirs[:300], draws.integers(-(2**63), 2**63, 300)])
    ours ^= np.array(
        [sum(1 << int(bit) for bit in draws.choice(63, draws.integers(0, 8), replace=False)) for _ in ours]
    )
    told = Listed(
        pa.Table.from_pylist(
            [hashed(f"set/{n:03}", int(phash)) | {"name": f"set/{n:03}"} for n, phash in enumerate(theirs)],
            schema=HASHES,
        ),
        np.ones(500, bool),
        "",
    )
    batch = pa.RecordBatch.from_pylist([hashed(f"our{n}", int(phash)) for n, phash in enumerate(ours)])
    (found,) = overlaps(iter([batch]), told, CopyLimits(4, 256, 255))
    bits = np.bitwise_count((ours[:, None] ^ theirs).view(np.uint64))
    expected = {
        batch["sha256"][row].as_py(): (f"set/{bits[row].argmin():03}", int(bits[row].min()))
        for row in np.flatnonzero(bits.min(axis=1) <= 4)
    }
    assert 100 < len(expected) < 500
    assert {row["sha256"]: (row["eval_name"], row["eval_bits"]) for row in found.to_pylist()} == expected
