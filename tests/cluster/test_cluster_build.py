"""A build on a cluster: the corpus of one process, whoever dies on the way."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline.core.parts import committed, files_of, part_files, swept
from pipeline.core.storage import Storage, open_storage
from pipeline.core.tables import read_file

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "jobs" / "build.py"

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]


def checksums(run: Path) -> list[str]:
    """sha256 of every file of the corpus, in order of shards."""
    shards = json.loads((run / "corpus/manifest.json").read_text())["shards"]
    return [file["sha256"] for shard in shards for _, file in sorted(shard["files"].items())]


def seconds(run: Path) -> dict[str, float]:
    """Seconds of each stage, as the manifests have them."""
    manifests = [json.loads(path.read_text()) for path in run.glob("*/manifest.json")]
    return {manifest["stage"]: manifest["seconds"] for manifest in manifests if "stage" in manifest}


def stored(storage: Storage) -> list[tuple[str, int, str]]:
    """(url_id, try_number, request_url) of every row of every committed part of fetch."""
    columns = ["url_id", "try_number", "request_url"]
    files = files_of(committed(storage, "fetch"), "rows")
    tables = [read_file(storage, file, columns) for file in files]
    return [tuple(row.values()) for table in tables for row in table.to_pylist()]


def address(url: str) -> tuple[str, str]:
    """(host, path) as the server's log has them."""
    parts = urlsplit(url)
    return parts.netloc, f"{parts.path}?{parts.query}" if parts.query else parts.path


def test_the_python_of_the_workers_has_none_of_our_packages(cluster) -> None:
    for package in ("pipeline", "pyarrow", "torch"):
        command = ["/usr/bin/env", "python3", "-c", f"import {package}"]
        asked = subprocess.run(command, env=cluster.environment, cwd=cluster.folder, capture_output=True)
        assert asked.returncode != 0, package


@pytest.mark.parametrize("cluster", ["4.3"], indirect=True)  # the other Spark is held against it below
def test_a_cluster_gives_the_corpus_of_one_process(cluster, web, local_run, tmp_path) -> None:
    run = tmp_path / "run"
    cluster.finish(cluster.submit(BUILD, *web.build_arguments(run)))
    assert checksums(run) == checksums(local_run)
    print(json.dumps({"local[2]": seconds(local_run), "cluster": seconds(run), "corpus": checksums(run)}))


def test_a_killed_worker_costs_time_only(cluster, web, local_run, tmp_path, wait_for) -> None:
    """R10, R12: the worker, its executor and their Python go with SIGKILL in the middle of fetch. Nothing that was
    stored is asked for again, no row is lost, none is there twice; files of parts that were open are never read."""
    run, storage = tmp_path / "run", open_storage(str(tmp_path / "run"))
    driver = cluster.submit(BUILD, *web.build_arguments(run))
    wait_for(lambda: storage.names("fetch/parts") or driver.poll() is not None, 900, "a committed part of fetch")
    cluster.kill_worker()
    before, asked = stored(storage), web.requests()
    assert not (run / "fetch/manifest.json").exists()
    try:
        cluster.finish(driver)
    finally:
        cluster.start_worker()

    assert checksums(run) == checksums(local_run)
    after = stored(storage)
    assert set(before) <= set(after)
    assert len({row[:2] for row in after}) == len(after)
    listed = {file.path for file in part_files(storage, "fetch")}
    swept(storage, "fetch", ["fetch/store"])  # as a build does before it fetches: what the dead left goes
    assert {f"fetch/store/{name}" for name in storage.names("fetch/store")} == listed
    again = web.requests() - asked
    assert [url for _, _, url in before if again[address(url)]] == []


def test_of_two_attempts_at_one_part_the_first_counts(cluster, tmp_path) -> None:
    """R12: both write on executors of their own, wait for one another, and commit at once."""
    storage = open_storage(str(tmp_path / "run"))
    said = json.loads(cluster.finish(cluster.submit(HERE / "twins.py", storage.root)))
    assert said["batch_rows"] == cluster.GIVEN["spark.sql.execution.arrow.maxRecordsPerBatch"]
    assert len({attempt["work_folder"] for attempt in said["attempts"]}) == 2
    winner, loser = sorted(said["attempts"], key=lambda attempt: not attempt["counts"])
    assert (winner["counts"], loser["counts"]) == (True, False)
    assert storage.names("trial/parts") == ["one.json"]
    assert [f"trial/rows/{name}" for name in storage.names("trial/rows")] == [winner["file"]]
    assert files_of(committed(storage, "trial"), "rows")[0].path == winner["file"]


def test_workers_that_cannot_run_our_code_end_the_build_with_one_line(cluster, web, tmp_path) -> None:
    driver = cluster.submit(BUILD, *web.build_arguments(tmp_path / "run"), python="python3")
    said = cluster.finish(driver, exit_code=2)
    errors = [line for line in said.splitlines() if line.startswith("pairmill: error:")]
    assert len(errors) == 1
    assert "environment_invalid: the workers cannot run python3" in errors[0]
    assert "make dist" in errors[0]
