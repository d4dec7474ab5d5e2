"""Shared by all tests: one local Spark session, the way to the real data, a tiny CLIP, and a reporter that says nothing.

Tests are many small jobs on few rows, where Spark spends its time on compiling, not on computing. So every JVM that a
test starts compiles quickly rather than well, and neither generates code nor plans anew in mid-query
(tests/support/small_jobs): half the processor time for the same rows. Builds that are compared for equal bytes plan as a
user's do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import fast
import pytest
import sharing
from checkout import SHARED
from pyspark.sql import SparkSession

from pipeline.core.progress import Reporter
from pipeline.core.spark import SparkConfig, spark_session

if TYPE_CHECKING:
    import torch

SHORT_LIVED_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

# Inherited by the builds that tests start.
os.environ.setdefault("SPARK_SUBMIT_OPTS", SHORT_LIVED_JVM)
os.environ.setdefault("SPARK_CONF_DIR", str(Path(__file__).parent / "support" / "small_jobs"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only what needs no Spark, network or torch")
    parser.addoption("--shuffle", type=int, metavar="SEED", help="files, and the tests of each, in a random order")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.fast:
        config.pluginmanager.register(fast.Block())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.option.fast and fast.is_slow_folder(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first, so that two workers end at the same time."""
    if config.option.fast:
        slow = [item for item in items if fast.is_slow(item)]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]
    if config.option.shuffle is not None:
        rng = Random(config.option.shuffle)
        draws = {item.path: rng.random() for item in items}
        items.sort(key=lambda item: (draws[item.path], rng.random()))
    else:
        items.sort(key=lambda item: sharing.rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    return sharing.Sharing(config, log) if config.option.dist == "loadfile" else None


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their parameter: what a packer writes (gzip's clock) must not enter the id of a test."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = spark_session(SparkConfig(master="local[2]", partitions=2, driver_memory="2g"))
    yield session
    session.stop()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs, pages and archives; tests that need them skip where they are not."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return folder


@pytest.fixture
def quiet() -> Reporter:
    return Reporter(quiet=True)


def random_clip(seed: int) -> torch.nn.Module:
    """A CLIP model of OpenAI's architecture, small enough for a test, with random weights."""
    import torch  # seconds; most tests do without

    from pipeline.vision.clip_model import clip

    torch.manual_seed(seed)
    return clip.model.CLIP(
        embed_dim=32,
        image_resolution=32,
        vision_layers=2,
        vision_width=64,
        vision_patch_size=16,
        context_length=77,
        vocab_size=49408,
        transformer_width=64,
        transformer_heads=1,
        transformer_layers=2,
    ).eval()


@pytest.fixture(scope="session")
def random_network() -> Callable[[int], torch.nn.Module]:
    """A function from a seed to a network."""
    return random_clip


@pytest.fixture(scope="session")
def write_random_checkpoint() -> Callable[[Path, int], Path]:
    """A function (path, seed): a state_dict as torch.save writes it; 13 MB, for the real vocabulary needs its table."""

    def write(path: Path, seed: int) -> Path:
        import torch

        torch.save(random_clip(seed).state_dict(), path)
        return path

    return write


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, write_random_checkpoint: Callable[[Path, int], Path]) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("clip") / "tiny.pt", 0)
