"""Nothing of the building machine or moment enters a shard: same WARCs, same image bytes, same corpus."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.smallweb.truth import Kind, read_truth

# master, partitions (0: by the number of rows), lanes, images a part, order of the inputs; the undisturbed run has
# local[2], 2, as many, 250
WAY = ("local[1]", 0, 1, 7, -1)
LONG_WAYS = [
    ("local[2]", 16, 3, 100, -1),
    ("local[2]", 4, 2, 1, 1),
    ("local[1]", 4, 5, 1000, -1),
    ("local[2]", 1, 1, 33, -1),
    ("local[4]", 7, 0, 10, 1),
]


@pytest.fixture(scope="module")
def warcs(built) -> list[str]:
    """The WARC files of the undisturbed run's crawl."""
    run, manifests = built
    return [str(run.storage.path(record.path)) for record in manifests["crawl"].files["warc"]]


def corpus_of(start, folder: Path, inputs: list[str], way: tuple, digests) -> list[str]:
    master, partitions, lanes, part_images, order = way
    start(
        folder,
        {
            "extract.inputs": inputs[::order],
            "crawl.seeds": None,
            "spark.master": master,
            "spark.partitions": partitions,
            "fetch.lanes": lanes,
            "fetch.part_images": part_images,
        },
        as_users_do=True,
    ).finish()
    return digests(folder)


def test_the_corpus_is_the_same_on_one_core_and_on_two_e11(warcs, start, tmp_path, digests, folder) -> None:
    """E11, E7: also for other partitions, lanes, parts and order of the inputs, and read from the WARC files of another
    run; shards are numbered without a gap."""
    expected = digests(folder)
    assert len(expected) >= 4
    assert corpus_of(start, tmp_path / "run", warcs, WAY, digests) == expected
    assert sorted(path.name for path in (tmp_path / "run/corpus").glob("*.tar")) == [
        f"{n:05d}.tar" for n in range(len(expected) // 2)
    ]


@pytest.mark.long
@pytest.mark.parametrize("way", LONG_WAYS, ids=str)
def test_the_corpus_is_the_same_in_every_way_of_work_e11(warcs, start, tmp_path, digests, folder, way) -> None:
    """E11."""
    assert corpus_of(start, tmp_path / "run", warcs, way, digests) == digests(folder)


@pytest.mark.long
def test_the_rows_of_a_url_list_in_another_order_give_the_same_corpus_e11(start, small_web, tmp_path, digests) -> None:
    """E11."""
    good = [truth for truth in read_truth(small_web.site) if truth.kind is Kind.GOOD]
    built = []
    for order in (1, -1):
        rows = good[::order]
        table = pa.table({"url": [row.image_url for row in rows], "caption": [row.alt_text for row in rows]})
        urls = tmp_path / f"urls{order}.parquet"
        pq.write_table(table, urls)
        way = ("local[2]", 4, 2, 10, 1)
        built.append(corpus_of(start, tmp_path / f"run{order}", [str(urls)], way, digests))
    assert len(built[0]) >= 4
    assert built[0] == built[1]
