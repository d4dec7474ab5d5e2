"""A run on an object store: killed in the middle, built again, equal to one on a disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from reports import Lines

from pipeline import audit, funnel
from pipeline.core.config_files import load_config
from pipeline.core.errors import InputError
from pipeline.core.manifest import Manifest
from pipeline.core.parts import committed, files_of
from pipeline.core.progress import Reporter
from pipeline.core.run import Run, open_for_writing
from pipeline.core.storage import ObjectStorage, Storage
from pipeline.core.tables import read_file
from pipeline.stages.export.corpus import MANIFEST, PLAN, recover_swap


def opened(location: str, web, reporter: Reporter, inputs: list[str] | None = None) -> Run:
    """A run that crawls the web, or that reads ``inputs``."""
    sets = [setting for setting in web.settings if not (inputs and setting.startswith("crawl.seeds="))]
    sets += [f"extract.inputs={json.dumps(inputs)}"] if inputs else []
    return funnel.open_run(location, load_config(funnel.Config, preset="demo", sets=sets), reporter)


def downloaded(crawl: Manifest, storage: Storage, folder: Path) -> list[str]:
    """WARC files of a crawl on a store, on the disk."""
    paths = []
    for file in crawl.files["warc"]:
        paths.append(folder / Path(file.path).name)
        paths[-1].write_bytes(storage.read(file.path))
    return [str(path) for path in paths]


def killed_in_fetch(location: str, web, storage: ObjectStorage) -> int:
    """Build in a process of its own, and kill it with -9 when some images are stored; its number."""
    sets = [argument for setting in web.settings for argument in ("--set", setting)]
    command = [sys.executable, "-m", "jobs.cli", "build", "--run", location, "--preset", "demo", *sets]
    driver = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while len(storage.names("fetch/parts")) < 2:
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.3)
        driver.kill()
        driver.wait(30)
        _wait_for_children(driver.pid)
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
    return driver.pid


def _wait_for_children(group: int) -> None:
    """The JVM and its workers end with the driver: only then is it certain what they wrote."""
    deadline = time.monotonic() + 30
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def shards(storage: Storage) -> dict[str, str]:
    """sha256 of every file of the corpus but its card, read back; they are those its manifest says."""
    listed = {
        f"corpus/{shard['name']}.{kind}": file["sha256"]
        for shard in json.loads(storage.read(MANIFEST))["shards"]
        for kind, file in shard["files"].items()
    }
    assert {path: storage.record(path, 0).sha256 for path in listed} == listed
    return listed


def test_a_build_on_a_store_is_killed_and_ends_with_the_corpus_of_a_local_one_r9(
    spark, bucket, web, tmp_path: Path
) -> None:
    """R9: nothing that was stored is asked for again, no lock stays in the way, and every row is accounted for. The local
    run reads the pages that the other has crawled."""
    location = f"{bucket}/runs/one"
    storage = ObjectStorage.at(location)
    process = killed_in_fetch(location, web, storage)
    assert not storage.exists("fetch/manifest.json")
    records = files_of(committed(storage, "fetch"), "rows")
    stored = {row["request_url"] for file in records for row in read_file(storage, file, ["request_url"]).to_pylist()}
    before = Counter(web.asked())

    reporter = Lines()
    run = opened(location, web, reporter)
    manifests = {manifest.stage: manifest for manifest in funnel.build(run)}
    assert f"taking over the lock of process {process} on" in reporter.lines[0]
    asked_again = {f"http://{url}" for url in Counter(web.asked()) - before} & stored
    assert stored
    assert not asked_again
    assert (manifests["crawl"].measured, len(manifests["fetch"].files["store"]) > 2) == (0, True)

    local = opened(str(tmp_path / "run"), web, Reporter(quiet=True), downloaded(manifests["crawl"], storage, tmp_path))
    kept = funnel.build(local)[-1].kept
    assert kept == manifests["export"].kept > 16
    assert shards(storage) == shards(local.storage)
    assert len(shards(storage)) >= 6

    again = funnel.open_existing(location, Reporter(quiet=True))
    assert audit.check(again) == []
    account = audit.funnel_table(again)
    assert account.verdict == "every row is accounted for"
    assert audit.write_report(again, account) == f"{location}/audit/report.html"
    assert b"<html" in storage.read("audit/report.html")
    key = json.loads(storage.read(MANIFEST))["shards"][1]["first_key"]
    assert audit.why(again, key).answer == f"kept: in the corpus as corpus/00001.tar, key {key}"

    listed = {file.path for name in manifests for file in again.manifest(name).all_files}
    for folder in ("crawl/warc", "fetch/store", "text/rows", "export/rows", "corpus"):
        assert {f"{folder}/{name}" for name in storage.names(folder)} <= listed | {MANIFEST}
    with open_for_writing(run), pytest.raises(InputError, match=r"output_locked: .* is in use by process"):
        funnel.build(opened(location, web, Reporter(quiet=True)))
    assert {manifest.measured for manifest in funnel.build(opened(location, web, Reporter(quiet=True)))} == {0}


@pytest.mark.parametrize(
    ("killed", "there", "gone", "stands"),
    [
        ("before the plan", {MANIFEST: b"old"}, [PLAN], b"old"),
        ("before the old manifest went", {MANIFEST: b"old"}, [], b"new"),
        ("after it went", {}, [], b"new"),
        ("when a shard was copied", {"corpus/00000.tar": b"shard 0"}, [], b"new"),
        ("when all were", {"corpus/00000.tar": b"shard 0", "corpus/00001.tar": b"shard 1"}, [], b"new"),
        ("before the plan went", {MANIFEST: b"new", "corpus/00000.tar": b"shard 0"}, [], b"new"),
        ("and its shards were lost", {MANIFEST: b"old"}, ["export/shards/b"], b"old"),
        ("and lost when some were copied", {"corpus/00000.tar": b"shard 0"}, ["export/shards/b"], None),
    ],
)
def test_a_swap_on_a_store_that_was_cut_off_is_completed_or_undone_e1(
    store: ObjectStorage, killed, there, gone, stands
) -> None:
    """E1: a corpus is whole, or has no manifest and is none."""
    plan = {"name": "new", "copies": {"00000.tar": "export/shards/a", "00001.tar": "export/shards/b"}}
    files = {
        "export/shards/a": b"shard 0",
        "export/shards/b": b"shard 1",
        PLAN: json.dumps(plan).encode(),
        "corpus.next/README.md": b"card",
        "corpus/README.md": b"old card",
        "corpus/00007.tar": b"an old shard",
    } | there
    for relative, data in files.items():
        if relative not in gone:
            store.replace(relative, data)
    recover_swap(store)
    if stands == b"new":
        assert json.loads(store.read(MANIFEST)) == {"name": "new"}
        assert {name: store.read(f"corpus/{name}") for name in store.names("corpus") if name != "manifest.json"} == {
            "00000.tar": b"shard 0",
            "00001.tar": b"shard 1",
            "README.md": b"card",
        }
    elif stands == b"old":
        assert store.read(MANIFEST) == b"old"
        assert store.read("corpus/00007.tar") == b"an old shard"
    else:
        assert "corpus" not in store.entries()
    assert not store.exists(PLAN)
