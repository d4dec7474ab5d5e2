"""One build end to end on real sockets, Spark and WARCs, and what a second one does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import webdataset

from pipeline import audit
from pipeline.core.manifest import Manifest
from pipeline.core.run import Run
from pipeline.demo.score import score
from pipeline.demo.truth import read_truth
from pipeline.vision.phash import phash

MEASURING = ("crawl", "extract", "text", "fetch", "dedup", "attach", "clip")


@pytest.fixture(scope="module")
def built(build, tmp_path_factory) -> tuple[Run, dict[str, Manifest]]:
    return build(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def folder(built) -> Path:
    return Path(built[0].storage.root)


def test_every_row_is_accounted_for_from_disk(built) -> None:
    run, manifests = built
    for manifest in manifests.values():
        assert manifest.rows_in == manifest.kept + sum(manifest.dropped.values())
    assert manifests["export"].kept > 40
    assert audit.check(run) == []


def test_every_filter_does_what_the_planted_truth_asks(built, small_web) -> None:
    scores = {found.fate: found for found in score(read_truth(small_web.site), built[0])}
    for fate in (
        "crawl/dropped/robots_disallow", "extract/dropped/alt_missing", "extract/dropped/alt_empty",
        "extract/dropped/data_uri", "text/dropped/text_boilerplate", "text/dropped/text_too_short",
        "text/dropped/optout_meta", "text/dropped/duplicate_pair", "fetch/dropped/http_4xx", "fetch/dropped/http_5xx",
        "fetch/dropped/too_small", "fetch/dropped/deadline_exceeded", "fetch/dropped/robots_disallow",
        "fetch/dropped/optout_xrobots", "fetch/dropped/too_many_redirects", "fetch/dropped/not_an_image",
        "select/dropped/duplicate_image",
    ):  # fmt: skip
        assert (scores[fate].precision, scores[fate].recall) == (1.0, 1.0), scores[fate]


def test_no_decoy_and_nothing_forbidden_is_ever_asked_for(built, small_web) -> None:
    asked = small_web.requests()
    assert not [path for _, path in asked if "/decoy/" in path or path.startswith("/private/")]
    assert not [path for host, path in asked if path.startswith("/members/")]


def test_the_corpus_reads_back_with_webdataset_and_pyarrow_e5_e6_e8(folder) -> None:
    """E5: members of a sample adjacent, in order. E6: tar and parquet agree. E8: texts come back as they were."""
    manifest = json.loads((folder / "corpus/manifest.json").read_text())
    samples = 0
    for shard in manifest["shards"]:
        tar_path, rows = (
            folder / f"corpus/{shard['name']}.tar",
            pq.read_table(folder / f"corpus/{shard['name']}.parquet").to_pylist(),
        )
        with tarfile.open(tar_path) as tar:
            members = tar.getmembers()
        assert [member.name for member in members] == [
            f"{row['key']}.{end}" for row in rows for end in ("jpg", "txt", "json")
        ]
        assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in members} == {
            (0, 0, 0, "", 0o644)
        }
        read = list(webdataset.WebDataset(str(tar_path), shardshuffle=False, empty_check=False).decode("pil"))
        assert (
            [sample["__key__"] for sample in read] == [row["key"] for row in rows] == sorted(row["key"] for row in rows)
        )
        for sample, row in zip(read, rows, strict=True):
            assert sample["txt"] == row["caption"]
            assert sample["json"] == row
            assert sample["jpg"].size == (row["width"], row["height"])
        samples += len(rows)
    assert samples == manifest["samples"] > 0


def test_whoever_holds_the_corpus_can_recompute_the_hashes(folder) -> None:
    import io

    from PIL import Image

    with tarfile.open(folder / "corpus/00000.tar") as tar:
        rows = {row["key"]: row for row in pq.read_table(folder / "corpus/00000.parquet").to_pylist()}
        for member in [member for member in tar if member.name.endswith(".jpg")][:20]:
            picture = Image.open(io.BytesIO(tar.extractfile(member).read()))
            assert phash(picture) == rows[member.name.removesuffix(".jpg")]["phash"]


def test_tables_are_read_by_anyone_with_pyarrow(folder) -> None:
    for stage in (*MEASURING, "select", "export"):
        manifest = json.loads((folder / stage / "manifest.json").read_text())
        rows, ledger = (ds.dataset(folder / stage / name).to_table() for name in ("rows", "ledger"))
        assert ledger.num_rows <= rows.num_rows
        assert sum(ledger["count"].to_pylist()) == sum(manifest["dropped"].values())
        assert all(field.metadata and b"description" in field.metadata for field in rows.schema)


def test_a_second_build_does_nothing_and_asks_nothing(built, build, folder, small_web, digests) -> None:
    asked, before = small_web.requests(), digests(folder)
    _, again = build(folder)
    assert small_web.requests() == asked
    assert digests(folder) == before
    assert {manifest.measured for manifest in again.values()} == {0}


def test_a_changed_decide_setting_measures_nothing_again(built, build, folder, small_web) -> None:
    """A minimum length moves: the same measure keys, nothing measured, nothing asked."""
    _, first = built
    asked = small_web.requests()
    _, second = build(folder, {"text.min_chars": 40})
    assert small_web.requests() == asked
    assert second["text"].dropped["text_too_short"] > first["text"].dropped["text_too_short"]
    for stage in MEASURING:
        assert second[stage].measure_key == first[stage].measure_key
        assert second[stage].measured == 0, stage
    build(folder)


def test_an_operate_setting_changes_no_key(build, folder, built) -> None:
    _, second = build(folder, {"fetch.timeout_s": 2.5, "web.tries": 1})
    for stage, manifest in second.items():
        assert manifest.measure_key == built[1][stage].measure_key
        assert manifest.measured == 0


def test_a_loosened_language_filter_fetches_only_what_was_never_fetched(build, small_web, tmp_path, digests) -> None:
    """And the corpus is byte for byte that of a fresh run with the loosened filter."""
    before = len(small_web.requests())
    _, tight = build(tmp_path / "run", {"text.languages": ["en"], "text.und": "drop"})
    asked_tight = small_web.requests()[before:]
    _, loose = build(tmp_path / "run")
    asked_loose = small_web.requests()[before + len(asked_tight) :]
    assert loose["fetch"].measured == loose["fetch"].rows_in - tight["fetch"].rows_in > 0
    assert asked_loose
    assert not set(asked_loose) & set(asked_tight)
    build(tmp_path / "fresh")
    assert digests(tmp_path / "run") == digests(tmp_path / "fresh")


def test_a_build_that_was_stopped_and_killed_goes_on_to_the_same_corpus_r8_r9_r13(
    built, build, folder, small_web, tmp_path, digests
) -> None:
    """R13: SIGTERM in the crawl ends with one line and 143. R9: kill -9 in the fetch. R8: no lock stays in the way."""
    run_folder = tmp_path / "run"
    settings = small_web.settings() | {"fetch.part_images": 5, "spark.master": "local[2]"}
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    command = [sys.executable, "-m", "jobs.cli", "build", "--run", str(run_folder), "--preset", "demo", *sets]

    stopped = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for_parts(run_folder / "crawl/parts", 2)
    stopped.send_signal(signal.SIGTERM)
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 143
    assert said.strip().splitlines()[-1].startswith("pairmill: error: terminated: stopped; finished parts are kept")

    killed = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for_parts(run_folder / "fetch/parts", 3)
    killed.kill()
    killed.wait()
    stored = set(ds.dataset(parts_rows(run_folder, "fetch")).to_table()["request_url"].to_pylist())
    before = len(small_web.requests())

    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "taking over the lock" in done.stderr
    asked = {f"http://{host}{path}" for host, path in small_web.requests()[before:]}
    assert stored
    assert not asked & stored
    build(folder)
    assert digests(run_folder) == digests(folder)


def wait_for_parts(parts: Path, count: int) -> None:
    """Until that many commit records are there."""
    for _ in range(6000):
        if len(list(parts.glob("*.json"))) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {count} parts in {parts}")


def parts_rows(run_folder: Path, stage: str) -> list[str]:
    records = [json.loads(path.read_text()) for path in (run_folder / stage / "parts").glob("*.json")]
    return [str(run_folder / record["files"]["rows"]["path"]) for record in records]


def test_a_moved_fetch_rule_shows_in_what_attach_says_of_the_image(built, build, folder) -> None:
    """The kept images stay the same; the reason of a dropped one changes."""
    build(folder, {"fetch.min_side": 1})
    run, manifests = build(folder, {"fetch.min_side": 1, "fetch.min_spread": 0.0, "fetch.max_aspect": 100.0})
    assert "too_small" not in manifests["fetch"].dropped
    assert not [row for row in run.rows("attach").collect() if row["image_verdict"] == "fetch/dropped/too_small"]
    build(folder)


def test_a_users_rule_is_in_funnel_ledger_and_proof(built, build, folder) -> None:
    rule = [{"stage": "select", "name": "small_and_german", "drop_when": "width < 300 and lang = 'de'"}]
    run, manifests = build(folder, {"rules": rule})
    assert manifests["select"].dropped["user:small_and_german"] > 0
    assert audit.check(run) == []
    build(folder)
