"""Which lane asks for which image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.stages.fetch.config import Config
from pipeline.stages.fetch.spread import TO_ASK, spread

Spread = Callable[..., dict[str, dict[int, int]]]


def table_of(spark: SparkSession, images: dict[str, int]) -> DataFrame:
    """TO_ASK, with that many images a host, made by Spark: a row at a time from Python takes seconds."""
    hosts = spark.createDataFrame(list(images.items()), "host string, images int")
    return hosts.selectExpr("host", "explode(sequence(1, images)) as number").selectExpr(
        "concat(host, number) as url_id",
        "concat('http://', host, '/', number, '.jpg') as request_url",
        "1 as try_number",
        "cast(null as array<double>) as boxes",
        "cast(null as string) as alternate_url",
    )


@pytest.fixture
def lanes_of(spark) -> Spread:
    """``lanes_of(images, lanes, ...)``: by host, the images in each lane; and the one share that all its rows have."""

    def run(images: dict[str, int], lanes: int, **settings: object):
        table = spread(table_of(spark, images), lanes, Config(**settings))
        found: dict[str, dict[int, int]] = defaultdict(dict)
        shares: dict[str, set[int]] = defaultdict(set)
        assert table.rdd.getNumPartitions() == lanes
        for row in table.groupBy("host", "share", F.spark_partition_id().alias("lane")).count().collect():
            found[row["host"]][row["lane"]] = row["count"]
            shares[row["host"]].add(row["share"])
        assert all(len(share) == 1 for share in shares.values())
        return found, {host: share.pop() for host, share in shares.items()}

    return run


def test_a_host_is_in_one_lane_with_and_without_www(lanes_of) -> None:
    images = {f"{www}site{number}.example": 3 for number in range(6) for www in ("", "www.")}
    found, shares = lanes_of(images, 8)
    assert set(shares.values()) == {1}
    for number in range(6):
        (lane,) = {lane for www in ("", "www.") for lane in found[f"{www}site{number}.example"]}
        assert 0 <= lane < 8


def test_a_very_large_host_is_split_where_one_lane_could_not_keep_up_with_its_rate(lanes_of) -> None:
    images = {"cdn.example": 45_000, "small.example": 500}
    found, shares = lanes_of(images, 8, rate_per_host=0.0, per_host=16)
    assert shares == {"cdn.example": 4, "small.example": 1}
    assert 2 <= len(found["cdn.example"]) <= 4
    assert sum(found["cdn.example"].values()) == 45_000


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({"rate_per_host": 10.0}, 1),
        ({"rate_per_host": 120.0}, 3),
        ({"rate_per_host": 0.0, "per_host": 2}, 2),
        ({"rate_per_host": 60.0, "per_host": 1}, 1),
    ],
)
def test_a_host_has_no_more_lanes_than_its_rate_and_its_connections_allow(lanes_of, settings, share) -> None:
    _, shares = lanes_of({"cdn.example": 40_001}, 8, **settings)
    assert shares == {"cdn.example": share}


def test_what_is_never_asked_for_has_a_lane_too(spark) -> None:
    rows = spread(spark.createDataFrame([("id", "http://[broken", 1, None, None)], TO_ASK), 4, Config()).collect()
    assert [(row.host, row.share) for row in rows] == [("", 1)]
