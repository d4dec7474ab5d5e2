"""Tars read in place: the verdicts of the same pictures fetched, no byte copied before export, nobody asked."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from flickr8k import read_flickr8k
from PIL import Image, ImageCms
from pyspark.sql import SparkSession

from jobs import cli
from pipeline import audit, funnel
from pipeline.core.config_files import load_config
from pipeline.core.errors import InputError
from pipeline.core.manifest import Manifest
from pipeline.core.parts import committed, files_of
from pipeline.core.progress import Reporter
from pipeline.core.run import Run
from pipeline.core.runner import run_stage
from pipeline.core.storage import open_storage
from pipeline.core.tables import read_file
from pipeline.stages.fetch import store
from pipeline.stages.fetch.blocklist import Blocklist
from pipeline.stages.fetch.config import Config
from pipeline.stages.fetch.shards import is_repeated, measure_in_place
from pipeline.stages.fetch.stage import missing

SIZES = {"fetch.max_bytes": 100_000, "fetch.max_pixels": 2_000_000}
SUBJECTS = ("fox", "harbour", "bridge", "lighthouse", "orchard", "violin", "glacier", "market", "tram", "heron")
PLACES = (
    "in the snow",
    "before sunrise",
    "near an old wall",
    "seen from the hill",
    "under heavy clouds",
    "by the river",
)


@dataclass(frozen=True)
class Owned:
    """A picture with its text; ``reason`` is what fetch must say of it."""

    number: int
    data: bytes
    ending: str = "jpg"
    reason: str | None = None
    as_it_lies: bool = True
    has_url: bool = True

    @property
    def url(self) -> str:
        if not self.has_url:
            return f"urn:sha256:{hashlib.sha256(self.data).hexdigest()}"
        return f"http://img{self.number % 3}.example/{self.number}.{self.ending}"

    @property
    def text(self) -> str:
        return f"A {SUBJECTS[self.number % 10]} {PLACES[self.number // 10]} in colour"


def encoded(picture: Image.Image, format_: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format_, **options)
    return stream.getvalue()


def pictures(picture: Callable[..., bytes]) -> list[Owned]:
    """Sixty: 45 plain JPEGs, six that must be encoded again, nine that nobody wants."""
    noise = [Image.open(io.BytesIO(picture(seed))) for seed in range(1000, 1009)]
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    again = [
        encoded(noise[0], "PNG"),
        encoded(noise[1].quantize(16), "GIF"),
        encoded(noise[2], "WEBP", lossless=True),
        encoded(noise[3].convert("CMYK"), "JPEG"),
        encoded(noise[4], "JPEG", exif=exif),
        encoded(Image.fromarray((np.arange(128 * 128, dtype=np.uint16) * 4).reshape(128, 128)), "PNG"),
    ]
    bad = [
        (b"<html>sorry</html>", "not_an_image"),
        (picture(2001)[:-900], "truncated_image"),
        (encoded(noise[5], "TIFF"), "format_not_allowed"),
        (encoded(Image.new("1", (2000, 2000)), "PNG"), "too_many_pixels"),
        (picture(2002, 40, 60), "too_small"),
        (picture(2003, 600, 80), "aspect_ratio"),
        (encoded(Image.new("RGB", (90, 90), "teal"), "JPEG"), "blank_image"),
        (picture(2004, 300, 300, "PNG"), "body_too_large"),
        (encoded(noise[6], "PNG")[:60] + b"?" * 99, "truncated_image"),
    ]
    plain = [picture(number, 70 + number, 90) for number in range(44)]
    plain.append(encoded(noise[7], "JPEG", icc_profile=profile))  # a profile that is no picture's: ignored
    owned = [Owned(number, data, has_url=number != 7) for number, data in enumerate(plain)]
    owned += [Owned(45 + number, data, "png", as_it_lies=False) for number, data in enumerate(again)]
    return owned + [Owned(51 + number, data, reason=reason) for number, (data, reason) in enumerate(bad)]


def write_tar(path: Path, owned: list[Owned], **more: object) -> Path:
    """As img2dataset writes it; ``more`` fields are in every sample's JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for one in owned:
            url = {"url": one.url} if one.has_url else {}
            fields = json.dumps({"caption": one.text, "key": f"{one.number:09d}"} | url | more).encode()
            for ending, data in ((one.ending, one.data), ("json", fields), ("txt", one.text.encode())):
                info = tarfile.TarInfo(f"{one.number:09d}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def opened(folder: Path, **settings: Any) -> Run:
    sets = [f"{key}={json.dumps(value)}" for key, value in (SIZES | settings).items()]
    return funnel.open_run(str(folder), load_config(funnel.Config, sets=sets), Reporter(quiet=True))


def in_place(folder: Path, inputs: list[Path]) -> Run:
    return opened(folder, **{"extract.inputs": [str(path) for path in inputs], "fetch.engine": "shards"})


def rows_of(run: Run) -> dict[str, dict[str, Any]]:
    return {row["url_id"]: row.asDict() for row in run.rows("fetch").collect()}


@dataclass
class Built:
    """Tars, and the run that the command line built of them, corpus and all."""

    owned: list[Owned]
    tars: list[Path]
    folder: Path
    said: str

    def copy(self, to: Path, until: str) -> Path:
        """A run that has done what this one did up to a stage."""
        shutil.copytree(self.folder, to)
        names = [stage.name for stage in funnel.STAGES]
        for name in (*names[names.index(until) + 1 :], "corpus"):
            shutil.rmtree(to / name)
        return to


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, spark: object, picture: Callable[..., bytes]) -> Built:
    folder = tmp_path_factory.mktemp("owned")
    owned = pictures(picture)
    tars = [write_tar(folder / f"tars/{name}.tar", owned[part::2]) for part, name in enumerate(("00000", "00001"))]
    settings = SIZES | {"extract.inputs": [str(folder / "tars")], "fetch.engine": "shards"}
    arguments = [argument for key, value in settings.items() for argument in ("--set", f"{key}={json.dumps(value)}")]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        cli.app(args=["build", "--run", str(folder / "run"), "--log", "json", *arguments], standalone_mode=False)
    return Built(owned, tars, folder / "run", said.getvalue())


def corpus_of(folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, bytes], list[str]]:
    """Rows by URL, pictures by key, and the digests of all shard files."""
    rows, packed, digests = {}, {}, []
    for path in sorted((folder / "corpus").glob("0*")):
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
        if path.suffix == ".parquet":
            rows |= {row["url"]: row for row in pq.read_table(path).to_pylist()}
        else:
            with tarfile.open(path) as tar:
                packed |= {m.name.split(".")[0]: tar.extractfile(m).read() for m in tar if m.name.endswith(".jpg")}
    return rows, packed, digests


def test_owned_tars_become_a_corpus_with_one_command_and_no_contact(built: Built) -> None:
    """Nothing is on the web here; no setting names who asks."""
    rows, packed, _ = corpus_of(built.folder)
    wanted = [one for one in built.owned if one.reason is None]
    assert built.said == f"{len(wanted)} pairs in {built.folder / 'corpus'}\n"
    assert {url: row["caption"] for url, row in rows.items()} == {one.url: one.text for one in wanted}
    for one in wanted:
        row = rows[one.url]
        assert row["sha256"] == hashlib.sha256(one.data).hexdigest()
        assert (packed[row["key"]] == one.data) is one.as_it_lies
        assert Image.open(io.BytesIO(packed[row["key"]])).format == "JPEG"


def test_a_picture_without_a_url_is_found_by_its_urn_a10(built: Built) -> None:
    """A10: as the corpus writes it, and by the sha256 alone."""
    (one,) = [one for one in built.owned if not one.has_url]
    for asked in (one.url, one.url.removeprefix("urn:sha256:")):
        assert audit.why(opened(built.folder), asked).answer.startswith("kept: in the corpus as corpus/00000.tar, key ")


def test_no_byte_of_a_picture_is_copied_before_export_but_of_those_encoded_again(built: Built) -> None:
    run = opened(built.folder)
    stored = [path for path in built.folder.rglob("*.images") if path.is_file()]
    again = [row for row in rows_of(run).values() if (row["image_file"] or "").startswith("fetch/store/")]
    assert len(again) == sum(one.reason is None and not one.as_it_lies for one in built.owned) == 6
    assert sum(path.stat().st_size for path in stored) == sum(row["image_bytes"] for row in again)
    records = run.manifest("fetch").files["images"]
    assert (sum(record.rows for record in records), {run.storage.path(record.path) for record in records}) == (
        6,
        set(stored),
    )


def test_the_account_of_a_run_of_tars_is_proved_from_disk(built: Built) -> None:
    run = opened(built.folder)
    assert audit.check(run) == []
    manifest = run.manifest("fetch")
    reasons = [one.reason for one in built.owned if one.reason]
    assert manifest.dropped == {reason: reasons.count(reason) for reason in set(reasons)}
    assert manifest.facts["requests"] == 0


@dataclass
class Moved:
    """The run built on, up to the corpus, after its tars went to another folder."""

    tars: list[Path]
    run: Run
    manifests: dict[str, Manifest]
    digests: list[str]


@pytest.fixture(scope="module")
def moved(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Moved:
    folder = tmp_path_factory.mktemp("moved")
    tars = [Path(shutil.copy(path, folder)) for path in built.tars]
    run = in_place(built.copy(folder / "run", until="fetch"), tars)
    manifests = {manifest.stage: manifest for manifest in funnel.build(run)}
    return Moved(tars, run, manifests, corpus_of(folder / "run")[2])


def test_no_path_of_the_owners_is_in_the_corpus_or_in_a_key(built: Built, moved: Moved) -> None:
    """The same tars from another folder: the same corpus, byte for byte, and nothing is measured again."""
    for path in (built.folder / "corpus").rglob("*"):
        assert str(built.tars[0].parent).encode() not in path.read_bytes()
    assert (moved.manifests["extract"].measured, moved.manifests["fetch"].measured) == (0, 0)
    assert moved.digests == corpus_of(built.folder)[2]
    files = {row["image_file"] for row in rows_of(moved.run).values() if row["image_file"]}
    assert {name for name in files if name.startswith("/")} == {str(path) for path in moved.tars}


def test_bytes_that_changed_after_they_were_measured_are_not_packed_e13(moved: Moved) -> None:
    """E13: the tar is the owner's, and nobody keeps him from writing into it while a build runs."""
    packed = [row for row in moved.run.rows("export").collect() if row["image_file"] == str(moved.tars[0])]
    places = [row["image_offset"] for row in packed]
    with moved.tars[0].open("r+b") as tar:
        tar.seek(min(places) + 200)
        tar.write(b"!")
        tar.truncate(max(places) + 10)
    moved.run.storage.delete("export/manifest.json")
    assert run_stage(moved.run.stages["export"], moved.run).dropped == {"image_bytes_lost": 2}


def test_keys_of_the_tars_lead_from_the_corpus_back_to_the_owners_rows(built: Built) -> None:
    run = opened(built.folder)
    keys = {row["pair_id"]: row["source_key"] for row in run.rows("extract").collect()}
    rows, _, _ = corpus_of(built.folder)
    for one in built.owned:
        if one.reason is None:
            assert keys[rows[one.url]["pair_id"]] == f"0000{one.number % 2}/{one.number:09d}"


def test_a_picture_in_a_tar_gets_the_verdict_it_gets_when_fetched(built: Built, hosts: Any, tmp_path: Path) -> None:
    """F24 to F40: the same reasons, hashes and sizes; only what HTTP says of it is missing."""
    named = [one for one in built.owned if one.has_url]
    hosts.pages |= {f"/{one.number}.{one.ending}": (200, {}, one.data) for one in named}
    listed = tmp_path / "list.jsonl"
    listed.write_text("".join(json.dumps({"url": one.url, "caption": one.text}) + "\n" for one in named))
    fetched = opened(
        tmp_path / "run",
        **{
            "extract.inputs": [str(listed)],
            "fetch.resize_mode": "no",
            "fetch.rate_per_host": 0.0,
            "web.contact": "https://contact.example/",
            "web.allow_networks": ["127.0.0.0/8"],
            "web.resolve": {"*": f"127.0.0.1:{hosts.port}"},
        },
    )
    over_http = funnel.build(fetched, until="fetch")[-1]
    owned = opened(built.folder)
    assert over_http.dropped == owned.manifest("fetch").dropped
    here, there = rows_of(owned), rows_of(fetched)
    assert len(there) == len(named) == len(here) - 1
    of_http = {"http_status", "content_type", "final_url", "tries", "fetched_at", "detail"}
    of_place = {"image_file", "image_offset", "image_bytes"}
    for url_id, row in there.items():
        compared = row.keys() - of_http - of_place
        assert {name: row[name] for name in compared} == {name: here[url_id][name] for name in compared}


def test_an_engine_that_does_not_fit_the_inputs_is_refused_with_the_way_out(built: Built, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("url,caption\n")
    tar, listed = str(built.tars[0]), str(tmp_path / "list.csv")
    for inputs, engine, line in (
        ([tar], None, r"extract\.inputs has tars of images, which are read in place; set fetch\.engine=shards"),
        (
            [listed],
            "shards",
            r"fetch\.engine is shards, which reads tars of images, but extract has urls; give only tars",
        ),
        ([tar, listed], "shards", r"but extract has urls; give only tars, or choose another engine"),
    ):
        chosen = {"fetch.engine": engine} if engine else {}
        with pytest.raises(InputError, match=line) as caught:
            funnel.build(opened(tmp_path / "run", **{"extract.inputs": inputs}, **chosen))
        assert (caught.value.code, caught.value.exit_code) == ("config_invalid", 2)
    assert not list((tmp_path / "run").glob("*/manifest.json"))


def test_what_was_measured_at_another_place_counts_for_nothing(spark: SparkSession) -> None:
    boxes = "boxes array<double>"
    rows = [(name, f"shard b {name}", None) for name in "kmn"]
    places = spark.createDataFrame(rows, f"url_id string, request_url string, {boxes}")
    known = [("k", "shard b k", "ok", 1, None), ("m", "shard a m", "decode_failed", 2, None)]
    stored = spark.createDataFrame(known, f"url_id string, request_url string, outcome string, try_number int, {boxes}")
    todo = [
        (row.url_id, row.request_url, row.try_number)
        for row in missing(places, stored, retry_failed=False, by_place=True).collect()
    ]
    assert sorted(todo) == [("m", "shard b m", 3), ("n", "shard b n", 1)]


@pytest.mark.long
def test_another_picture_under_a_known_url_is_measured_at_its_new_place(
    built: Built, tmp_path: Path, picture: Any
) -> None:
    """A tar that was mended: what was measured in the old one counts for nothing, the pictures of the other stay."""
    mended = [Owned(one.number, picture(3000 + one.number), one.ending) for one in built.owned[::2]]
    folder = built.copy(tmp_path / "run", until="fetch")
    run = in_place(folder, [write_tar(tmp_path / "00000.tar", mended), built.tars[1]])
    fetch = funnel.build(run, until="fetch")[-1]
    assert (fetch.rows_in, fetch.measured) == (len(built.owned), len(mended))
    served = {row["sha256"] for row in rows_of(run).values() if row["outcome"] == "ok"}
    assert served >= {hashlib.sha256(one.data).hexdigest() for one in mended}
    assert not served & {hashlib.sha256(one.data).hexdigest() for one in built.owned[::2]}
    assert {row["try_number"] for row in rows_of(run).values()} == {1, 2}


def test_a_picture_with_boxes_leaves_its_tar_blurred_and_new_boxes_measure_it_again(
    spark: object, tmp_path: Path, picture: Any
) -> None:
    owned = [Owned(number, picture(number)) for number in range(2)]
    boxed = write_tar(tmp_path / "00000.tar", owned[:1], faces=[[0.0, 0.0, 0.5, 1.0]])
    plain = write_tar(tmp_path / "00001.tar", owned[1:], faces=None)
    listed = {"extract.inputs": [str(boxed), str(plain)], "fetch.engine": "shards"}
    run = opened(tmp_path / "run", **listed, **{"extract.boxes_column": "faces"})
    funnel.build(run, until="fetch")
    rows = {row["sha256"]: row for row in rows_of(run).values()}
    blurred, left = (rows[hashlib.sha256(one.data).hexdigest()] for one in owned)
    assert (left["image_file"], left["blurred_boxes"]) == (str(plain), None)
    assert blurred["image_file"].startswith("fetch/store/")
    assert blurred["blurred_boxes"] == [0.0, 0.0, 0.5, 1.0]
    run = opened(tmp_path / "run", **listed)
    assert funnel.build(run, until="fetch")[-1].measured == 1
    assert {row["image_file"] for row in rows_of(run).values()} == {str(boxed), str(plain)}


IMG2DATASET = """
import sys
from img2dataset import download

if __name__ == "__main__":
    download(
        url_list=sys.argv[1], output_folder=sys.argv[2], output_format="webdataset", input_format="csv", url_col="url",
        caption_col="caption", processes_count=1, thread_count=4, number_sample_per_shard=10, image_size=80, timeout=20,
    )
"""


@pytest.mark.long
def test_what_img2dataset_wrote_is_read_with_no_byte_copied(built: Built, hosts: Any, tmp_path: Path) -> None:
    """Its folder as it is: tars, Parquet and JSON; what failed stands in the Parquet alone."""
    wanted = [one for one in built.owned if one.reason is None][:25]
    hosts.pages |= {f"/{one.number}.{one.ending}": (200, {}, one.data) for one in wanted} | {
        "/gone.jpg": (404, {}, b"")
    }
    lines = [f"http://127.0.0.1:{hosts.port}/{one.number}.{one.ending},{one.text}" for one in wanted]
    (tmp_path / "list.csv").write_text(
        "\n".join(["url,caption", *lines, f"http://127.0.0.1:{hosts.port}/gone.jpg,gone"])
    )
    (tmp_path / "download.py").write_text(IMG2DATASET)
    command = [sys.executable, str(tmp_path / "download.py"), str(tmp_path / "list.csv"), str(tmp_path / "tars")]
    environment = os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"}
    subprocess.run(command, check=True, capture_output=True, timeout=300, cwd=tmp_path, env=environment)
    assert len(list((tmp_path / "tars").glob("*.tar"))) == 3
    run = in_place(tmp_path / "run", [tmp_path / "tars"])
    fetch = funnel.build(run, until="fetch")[-1]
    assert (fetch.rows_in, fetch.dropped) == (25, {})
    assert not list((tmp_path / "run").rglob("*.images"))
    row = next(iter(run.rows("extract").where(f"image_url like '%/{wanted[3].number}.jpg'").collect()))
    assert (row["alt_text"], row["source_key"]) == (wanted[3].text, "00000/000003")


@pytest.mark.long
def test_two_thousand_photographs_are_measured_where_they_lie(shared_data: Path, spark: object, tmp_path: Path) -> None:
    """Flickr8k's in four tars; what fetch leaves on disk is its tables."""
    photographs = read_flickr8k(
        shared_data / "flickr8k-images.tar", shared_data / "flickr8k-captions.tsv.gz", limit=2000
    )
    tars = [tmp_path / f"{number:05d}.tar" for number in range(4)]
    for tar in tars:
        with webdataset.TarWriter(str(tar)) as writer:
            for name, data, captions in islice(photographs, 500):
                writer.write({"__key__": Path(name).stem, "jpg": data, "txt": captions[0][0]})
    fetch = funnel.build(in_place(tmp_path / "run", tars), until="fetch")[-1]
    assert (fetch.kept, fetch.dropped) == (fetch.rows_in, {})
    assert fetch.rows_in > 1990
    files = [path for path in (tmp_path / "run/fetch").rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix == ".images"]
    assert sum(path.stat().st_size for path in files) < sum(tar.stat().st_size for tar in tars) / 10


def test_a_killed_reader_of_tars_loses_only_the_part_in_flight_r9(built: Built, tmp_path: Path) -> None:
    """R9: the next attempt measures what no committed part has, and no file of the open part is left."""
    places = [row for row in rows_of(opened(built.folder)).values() if row["image_file"] == str(built.tars[0])]
    names = ("url_id", "image_file", "image_offset", "image_bytes")
    todo = [
        {name: row[name] for name in names} | {"request_url": "shard", "try_number": 1, "boxes": None} for row in places
    ]
    storage, config = open_storage(str(tmp_path)), Config(engine="shards", part_images=4)

    def batches(fails: bool) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist(todo[:10])
        if fails:
            raise ConnectionResetError("the worker is gone")
        yield pa.RecordBatch.from_pylist(todo[10:])

    with pytest.raises(ConnectionResetError):
        list(measure_in_place(batches(fails=True), storage, (), "key", config))
    before = committed(storage, store.STAGE)
    assert sorted(part.stats["rows"] for part in before) == [4, 4]
    (done,) = measure_in_place(batches(fails=False), storage, (), "key", config)
    parts = committed(storage, store.STAGE)
    assert done.to_pydict() == {"images": [len(todo) - 8]}
    rows = [row for record in files_of(parts, "rows") for row in read_file(storage, record, ["url_id"]).to_pylist()]
    assert sorted(row["url_id"] for row in rows) == sorted(row["url_id"] for row in todo)
    assert {storage.path(record.path) for record in files_of(parts, "rows")} == set((tmp_path / store.FOLDER).iterdir())


def test_the_first_attempt_at_a_task_of_tars_is_not_a_repeated_one(spark: SparkSession) -> None:
    def repeated(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            yield pa.RecordBatch.from_pydict({"repeated": [is_repeated()]})

    assert not any(row["repeated"] for row in spark.range(1).mapInArrow(repeated, "repeated boolean").collect())


def test_a_range_that_is_not_there_is_worth_another_try_and_a_large_one_is_never_read(tmp_path: Path) -> None:
    """F3, F5: as of a body that is cut off, and of one that is too long. The file is sparse: reading it would take long."""
    with (tmp_path / "x.tar").open("wb") as tar:
        tar.truncate(2**42)
    (tmp_path / "short.tar").write_bytes(b"x" * 600)
    rows = [
        {"url_id": "large", "image_file": str(tmp_path / "x.tar"), "image_offset": 512, "image_bytes": 2**41},
        {"url_id": "short", "image_file": str(tmp_path / "short.tar"), "image_offset": 512, "image_bytes": 100},
        {"url_id": "gone", "image_file": str(tmp_path / "gone.tar"), "image_offset": 512, "image_bytes": 100},
        {"url_id": "empty", "image_file": str(tmp_path / "short.tar"), "image_offset": 512, "image_bytes": 0},
    ]
    batch = pa.RecordBatch.from_pylist([row | {"request_url": "shard", "try_number": 1, "boxes": None} for row in rows])
    storage = open_storage(str(tmp_path / "run"))
    list(measure_in_place(iter([batch]), storage, (), "key", Config(engine="shards")))
    (record,) = files_of(committed(storage, store.STAGE), "rows")
    found = read_file(storage, record, ["url_id", "outcome"]).to_pylist()
    assert {row["url_id"]: row["outcome"] for row in found} == {
        "large": "body_too_large",
        "short": "truncated_body",
        "gone": "truncated_body",
        "empty": "empty_body",
    }


def test_nothing_of_a_blocklisted_picture_is_told_where_it_lies(tmp_path: Path) -> None:
    tar = tmp_path / "own.tar"
    tar.write_bytes(b"listed" + b"others")
    rows = [{"url_id": str(place), "image_file": str(tar), "image_offset": place, "image_bytes": 6} for place in (0, 6)]
    batch = pa.RecordBatch.from_pylist([row | {"request_url": "shard", "try_number": 1, "boxes": None} for row in rows])
    lists = Blocklist(key=b"a key of mine", sha256=frozenset([hashlib.sha256(b"listed").digest()]))
    storage = open_storage(str(tmp_path / "run"))
    list(measure_in_place(iter([batch]), storage, (), "key", Config(engine="shards"), lists))
    (record,) = files_of(committed(storage, store.STAGE), "rows")
    found = {row["url_id"]: row for row in read_file(storage, record, ["url_id", "outcome", "sha256"]).to_pylist()}
    assert (found["0"]["outcome"], found["0"]["sha256"]) == ("blocklisted", None)
    assert found["6"]["outcome"] == "not_an_image"
