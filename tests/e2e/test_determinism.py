"""Nothing of the building machine or moment enters a shard: same WARCs, same image bytes, same corpus."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.demo.truth import Kind, read_truth

# master, partitions, lanes, images a part, order of the inputs
WAYS = [("local[1]", 1, 1, 7, 1), ("local[2]", 16, 3, 100, -1)]
LONG_WAYS = [
    ("local[2]", 4, 2, 1, 1),
    ("local[1]", 4, 5, 1000, -1),
    ("local[2]", 1, 1, 33, -1),
    ("local[4]", 7, 0, 10, 1),
]


@pytest.fixture(scope="module")
def warcs(build, tmp_path_factory) -> list[str]:
    """The WARC files of one crawl, and nothing else of it."""
    run, _ = build(tmp_path_factory.mktemp("crawled") / "run", until="crawl")
    return [str(run.storage.path(record.path)) for record in run.manifest("crawl").files["warc"]]


def corpus_of(folder: Path, warcs: list[str], small_web, way: tuple, digests) -> list[str]:
    master, partitions, lanes, part_images, order = way
    settings = {
        "extract.inputs": warcs[::order], "web.resolve": small_web.resolve, "export.shard_size": 20,
        "spark.master": master, "spark.partitions": partitions, "fetch.lanes": lanes, "fetch.part_images": part_images,
    }  # fmt: skip
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    command = [sys.executable, "-m", "jobs.cli", "build", "--run", str(folder), "--preset", "demo", *sets]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return digests(folder)


@pytest.fixture(scope="module")
def reference(warcs, small_web, tmp_path_factory, digests) -> list[str]:
    return corpus_of(tmp_path_factory.mktemp("reference") / "run", warcs, small_web, WAYS[0], digests)


def test_the_corpus_is_the_same_on_one_core_and_on_two_e11(warcs, small_web, tmp_path, digests, reference) -> None:
    """E11, E7: also for other partitions, lanes, parts and order of the inputs; shards are numbered without a gap."""
    assert len(reference) >= 4
    assert corpus_of(tmp_path / "run", warcs, small_web, WAYS[1], digests) == reference
    assert sorted(path.name for path in (tmp_path / "run/corpus").glob("*.tar")) == [
        f"{n:05d}.tar" for n in range(len(reference) // 2)
    ]


@pytest.mark.long
@pytest.mark.parametrize("way", LONG_WAYS, ids=str)
def test_the_corpus_is_the_same_in_every_way_of_work_e11(warcs, small_web, tmp_path, digests, reference, way) -> None:
    """E11."""
    assert corpus_of(tmp_path / "run", warcs, small_web, way, digests) == reference


@pytest.mark.long
def test_the_rows_of_a_url_list_in_another_order_give_the_same_corpus_e11(small_web, tmp_path, digests) -> None:
    """E11."""
    good = [truth for truth in read_truth(small_web.site) if truth.kind is Kind.GOOD]
    built = []
    for order in (1, -1):
        rows = good[::order]
        table = pa.table({"url": [row.image_url for row in rows], "caption": [row.alt_text for row in rows]})
        pq.write_table(table, tmp_path / f"urls{order}.parquet")
        way = ("local[2]", 4, 2, 10, 1)
        built.append(
            corpus_of(tmp_path / f"run{order}", [str(tmp_path / f"urls{order}.parquet")], small_web, way, digests)
        )
    assert len(built[0]) >= 4
    assert built[0] == built[1]
