"""Export: pictures held against their sha256, shards without gaps or doubt, and a corpus that is swapped in whole."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.core.config import Operate, StageConfig
from pipeline.core.context import Context
from pipeline.core.errors import InputError, StageError
from pipeline.core.ids import key_of, key_of_bytes
from pipeline.core.manifest import Manifest
from pipeline.core.parts import committed
from pipeline.core.progress import Reporter
from pipeline.core.rules import Rule
from pipeline.core.run import Run, open_for_writing
from pipeline.core.runner import run_stage
from pipeline.core.spark import SparkConfig
from pipeline.core.stage import Measured, Stage, rows_schema
from pipeline.core.storage import Storage, open_storage
from pipeline.core.tables import spark_schema
from pipeline.core.user_rules import UserRule
from pipeline.funnel import BY_NAME
from pipeline.stages.export.corpus import publish_corpus, recover_swap
from pipeline.stages.export.shard import write_shard
from pipeline.stages.export.stage import Export
from pipeline.stages.fetch.stage import Fetch
from pipeline.stages.select.stage import Select
from schemas.export import PICTURE

Row = dict[str, Any]
STORE = "fetch/store/a.images"
FETCHED, SELECTED = rows_schema(Fetch(), BY_NAME), rows_schema(Select(), BY_NAME)
LOCATED = ("image_file", "image_offset", "image_bytes")


class Given(Stage[Any]):
    """Rows as a stage upstream would hand them on."""

    fans_out = True
    rows: ClassVar[list[Row]] = []
    partitions: ClassVar[int] = 1

    def measure(self, context: Context[Any]) -> Measured:
        values = [tuple(row[name] for name in self.adds.names) for row in Given.rows]
        return Measured(context.spark.createDataFrame(values, spark_schema(self.adds)).repartition(Given.partitions))

    def rules(self, config: Any) -> list[Rule]:
        return []


class Fetched(Given):
    name, unit, key, keeps = "fetch", "image", "url_id", ("image", "url_id")
    Config, Reason = Fetch.Config, Fetch.Reason
    adds = pa.schema([FETCHED.field(name) for name in ("url_id", *[field.name for field in PICTURE], *LOCATED)])


class Selected(Given):
    name, unit, key, keeps = "select", "pair", "pair_id", ("pair", "pair_id")
    Config, Reason = Select.Config, Select.Reason
    adds = pa.schema([SELECTED.field(name) for name in Export.carries])


class Config(StageConfig):
    fetch: Operate[Fetch.Config] = Fetch.Config()
    select: Operate[Select.Config] = Select.Config()
    export: Operate[Export.Config] = Export.Config()
    spark: Operate[SparkConfig] = SparkConfig()
    rules: Operate[list[UserRule]] = []  # noqa: RUF012


@functools.cache
def picture(number: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (16, 12), (number * 7 % 256, number * 31 % 256, 90)).save(data, "JPEG")
    return data.getvalue()


def pairs(n: int) -> list[Row]:
    """Pairs in pair_id order, each with a picture of its own in one store file."""
    rows, offset = [], 0
    for number in range(n):
        data = picture(number)
        rows.append(
            {
                "pair_id": key_of("pair", str(number)),
                "url_id": key_of("image", str(number)),
                "image_of": key_of("image", str(number)),
                "image_url": f"https://i.example/{number}.jpg",
                "page_url": "https://site.example/",
                "caption": f"scene {number}",
                "caption_id": key_of(f"scene {number}"),
                "caption_chars": len(f"scene {number}"),
                "lang": "en",
                "lang_prob": 0.99,
                "clip_score": 0.3,
                "cluster_id": f"c{number}",
                "cluster_images": 1,
                "sha256": key_of_bytes(data),
                "phash": number,
                "original_width": 16,
                "original_height": 12,
                "width": 16,
                "height": 12,
                "image_sha256": hashlib.sha256(data).hexdigest(),
                "image_file": STORE,
                "image_offset": offset,
                "image_bytes": len(data),
            }
        )
        offset += len(data)
    return sorted(rows, key=lambda row: row["pair_id"])


def storage_with_pictures(folder: Path, n: int) -> Storage:
    storage = open_storage(str(folder))
    storage.replace(STORE, b"".join(map(picture, range(n))))
    storage.replace("run.json", b"{}")
    return storage


def run_in(folder: Path, reporter: Reporter, **export: Any) -> Run:
    stages = {"fetch": Fetched(), "select": Selected(), "export": Export()}
    return Run(open_storage(str(folder)), Config.model_validate({"export": export}), stages, reporter)


def export_rows(folder: Path, rows: list[Row], reporter: Reporter, partitions: int = 1, **export: Any) -> Manifest:
    """Build a corpus of these rows; the pictures lie in the run already."""
    Given.rows, Given.partitions = rows, partitions
    run = run_in(folder, reporter, **export)
    with open_for_writing(run):
        run.stages["export"].check(run.context("export"))
        return [run_stage(stage, run) for stage in run.stages.values()][-1]


def corpus_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "corpus/manifest.json").read_text())


def members(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


@pytest.fixture(scope="module")
def built(spark: object, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest, list[Row], set[str]]:
    """Eleven pairs in shards of four, of whose pictures one is gone and one changed: (folder, manifest, rows, lost)."""
    folder = tmp_path_factory.mktemp("export") / "run"
    rows = pairs(11)
    storage = storage_with_pictures(folder, 11)
    rows[2]["image_offset"] = 10**9
    stored = bytearray(storage.read(STORE))
    stored[rows[5]["image_offset"] + 40] ^= 1
    storage.replace(STORE, bytes(stored))
    manifest = export_rows(folder, rows, Reporter(quiet=True), shard_size=4)
    return folder, manifest, rows, {rows[2]["pair_id"], rows[5]["pair_id"]}


def test_a_picture_that_is_gone_or_changed_costs_only_its_own_pair_e13(built) -> None:
    """E13"""
    folder, manifest, rows, lost = built
    assert (manifest.rows_in, manifest.kept, manifest.dropped) == (11, 9, {"image_bytes_lost": 2})
    ledger = pa.concat_tables(pq.read_table(folder / file.path) for file in manifest.files["ledger"])
    assert set(ledger["key"].to_pylist()) == lost
    packed = [key for shard in corpus_of(folder)["shards"] for key in keys_of(folder, shard["name"])]
    assert packed == [row["pair_id"] for row in rows if row["pair_id"] not in lost]


def keys_of(folder: Path, shard: str) -> list[str]:
    return pq.read_table(folder / f"corpus/{shard}.parquet")["key"].to_pylist()


def test_shards_are_numbered_without_a_gap_and_the_last_has_the_rest_e7(built) -> None:
    """E7; their members and their Parquet rows are the same samples."""
    folder, *_ = built
    corpus = corpus_of(folder)
    assert [(shard["name"], shard["samples"]) for shard in corpus["shards"]] == [
        ("00000", 4),
        ("00001", 4),
        ("00002", 1),
    ]
    assert corpus["samples"] == 9
    for shard in corpus["shards"]:
        keys = keys_of(folder, shard["name"])
        assert members(folder / f"corpus/{shard['name']}.tar") == [
            f"{key}.{end}" for key in keys for end in ("jpg", "txt", "json")
        ]
        assert (shard["first_key"], shard["last_key"]) == (keys[0], keys[-1])
    assert sorted(path.name for path in (folder / "corpus").iterdir()) == [
        *(f"0000{number}.{kind}" for number in range(3) for kind in ("parquet", "tar")),
        "README.md",
        "manifest.json",
    ]
    assert not (folder / "corpus.next").exists()


def test_another_build_of_the_same_rows_has_the_same_bytes_e11(built, tmp_path, quiet) -> None:
    """E11: other folder, other order, other partitions."""
    folder, _, rows, lost = built
    storage_with_pictures(tmp_path / "run", 11)
    whole = [row for row in reversed(rows) if row["pair_id"] not in lost]
    export_rows(tmp_path / "run", whole, quiet, partitions=5, shard_size=4)
    assert corpus_of(tmp_path / "run") == corpus_of(folder)


def test_no_pair_gives_a_valid_empty_corpus_and_one_line_e12(spark, tmp_path, capsys) -> None:
    """E12"""
    storage_with_pictures(tmp_path, 0)
    manifest = export_rows(tmp_path, [], Reporter(log="json"))
    lines = [json.loads(line)["text"] for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert [line for line in lines if "no pair is left" in line] == ["export: no pair is left; the corpus is empty"]
    assert corpus_of(tmp_path)["shards"] == []
    assert (manifest.kept, corpus_of(tmp_path)["samples"]) == (0, 0)
    assert {file.path for file in manifest.files["corpus"]} == {"corpus/README.md", "corpus/manifest.json"}


def test_fewer_pairs_than_wanted_end_the_build_and_publish_nothing_e12(spark, tmp_path, quiet) -> None:
    """E12"""
    storage_with_pictures(tmp_path, 1)
    with pytest.raises(StageError, match=r"1 pairs are left; export\.min_pairs is 2") as caught:
        export_rows(tmp_path, pairs(1), quiet, min_pairs=2)
    assert (caught.value.code, caught.value.exit_code) == ("too_few_pairs", 1)
    assert not (tmp_path / "corpus").exists()
    assert not (tmp_path / "export/manifest.json").exists()


def test_a_folder_named_corpus_that_we_did_not_write_is_left_alone_e10(tmp_path, quiet) -> None:
    """E10"""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/poems.txt").write_text("mine")
    run = run_in(tmp_path, quiet)
    with pytest.raises(InputError, match="was not written by pairmill") as caught:
        run.stages["export"].check(run.context("export"))
    assert caught.value.code == "output_exists"
    assert (tmp_path / "corpus/poems.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("killed", "folders", "stands"),
    [
        ("while the new one was written", {"corpus": "old", "corpus.next": None}, "old"),
        ("before the first rename", {"corpus": "old", "corpus.next": "new"}, "old"),
        ("between the renames", {"corpus.old": "old", "corpus.next": "new"}, "new"),
        ("between the renames, and the new one was lost", {"corpus.old": "old", "corpus.next": None}, "old"),
        ("after the second rename", {"corpus": "new", "corpus.old": "old"}, "new"),
        ("in the first export of all", {"corpus.next": None}, None),
    ],
)
def test_a_swap_that_was_cut_off_is_completed_or_undone_e1(tmp_path, killed, folders, stands) -> None:
    """E1: a whole corpus stands afterwards, or none; nothing half-written is left beside it."""
    for name, content in folders.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "00000.tar").write_text("a shard")
        if content:
            (tmp_path / name / "manifest.json").write_text(content)
    recover_swap(open_storage(str(tmp_path)))
    assert sorted(path.name for path in tmp_path.iterdir()) == (["corpus"] if stands else [])
    if stands:
        assert (tmp_path / "corpus/manifest.json").read_text() == stands


def test_a_shard_that_is_finished_is_not_written_again_and_has_the_same_bytes_anywhere_e2(tmp_path) -> None:
    """E2"""
    one, other = (storage_with_pictures(tmp_path / name, 5) for name in ("one", "other"))
    name = write_shard(one, 0, pairs(5))
    written = one.names("export/shards")
    assert (write_shard(one, 0, pairs(5)), one.names("export/shards")) == (name, written)
    assert write_shard(other, 0, pairs(5)) == name
    digests = [
        {kind: file.sha256 for kind, file in committed(storage, "export")[0].files.items()} for storage in (one, other)
    ]
    assert digests[0] == digests[1]


def test_two_samples_of_one_key_stop_the_export_e4(tmp_path) -> None:
    """E4: in one shard, and across two."""
    storage = storage_with_pictures(tmp_path, 4)
    rows = pairs(4)
    with pytest.raises(StageError) as caught:
        write_shard(storage, 0, [rows[0], rows[0] | {"caption": "hidden"}])
    assert caught.value.code == "key_collision"
    assert storage.names("export/shards") == []
    write_shard(storage, 0, rows[:3])
    write_shard(storage, 1, rows[2:])
    with pytest.raises(StageError, match=f"{rows[2]['pair_id']} is in shards 00000 and 00001") as caught:
        publish_corpus(storage, committed(storage, "export"), Manifest.model_construct(kept=5))
    assert caught.value.code == "key_collision"
    assert not storage.exists("corpus")


def test_a_picture_that_changed_after_it_was_verified_is_never_packed_e13(tmp_path) -> None:
    """E13"""
    storage = storage_with_pictures(tmp_path, 2)
    storage.replace(STORE, storage.read(STORE)[::-1])
    with pytest.raises(StageError, match="changed since it was verified") as caught:
        write_shard(storage, 0, pairs(2))
    assert caught.value.code == "shard_mismatch"
    assert storage.names("export/shards") == []


def swapped(names: list[str]) -> list[str]:
    return [*names[3:6], *names[:3], *names[6:]]


@pytest.mark.parametrize(
    "damage", [swapped, lambda names: names[:-3], lambda names: names[::-1]], ids=["swapped", "short", "reversed"]
)
def test_a_tar_that_disagrees_with_its_parquet_is_not_published_e6(tmp_path, damage) -> None:
    """E6: other order of samples, a sample too few, other order of members."""
    storage = storage_with_pictures(tmp_path, 3)
    write_shard(storage, 0, pairs(3))
    (part,) = committed(storage, "export")
    path = storage.path(part.files["tar"].path)
    with tarfile.open(path) as tar:
        contents = {member.name: tar.extractfile(member).read() for member in tar}
    with tarfile.open(path, "w") as tar:
        for name in damage(list(contents)):
            info = tarfile.TarInfo(name)
            info.size = len(contents[name])
            tar.addfile(info, io.BytesIO(contents[name]))
    with pytest.raises(StageError, match="tar and Parquet differ in keys or order") as caught:
        publish_corpus(storage, [part], Manifest.model_construct(kept=3))
    assert caught.value.code == "shard_mismatch"
    assert not storage.exists("corpus")


def test_a_tar_that_cannot_be_read_is_not_published_e6(tmp_path) -> None:
    """E6"""
    storage = storage_with_pictures(tmp_path, 3)
    write_shard(storage, 0, pairs(3))
    (part,) = committed(storage, "export")
    storage.path(part.files["tar"].path).write_bytes(b"no tar at all" * 100)
    with pytest.raises(StageError) as caught:
        publish_corpus(storage, [part], Manifest.model_construct(kept=3))
    assert caught.value.code == "shard_mismatch"
