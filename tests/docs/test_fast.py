"""What `make test-fast` leaves out, and how it stops what got past that."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import fast
import pytest


def starts_a_process() -> None:
    subprocess.run(["true"], check=True)


class Web:
    def __enter__(self) -> None:
        self.socket = socket.socket()


def reads_a_text() -> str:
    return "of this file"


def by_a_function() -> None:
    starts_a_process()


def by_a_class() -> None:
    with Web():
        pass


def inside() -> None:
    import torch.nn  # noqa: F401


def quick() -> None:
    assert [reads_a_text() for _ in range(2)]


@pytest.mark.parametrize(
    ("test", "slow"),
    [(starts_a_process, True), (by_a_function, True), (by_a_class, True), (inside, True), (quick, False)],
)
def test_a_test_is_slow_for_what_it_names_and_calls_in_its_own_file(test, slow: bool) -> None:
    assert fast.names_something_slow(test, set()) == slow


@pytest.fixture
def process() -> None:
    starts_a_process()


def test_a_test_is_slow_for_a_fixture_that_is(process: None, request: pytest.FixtureRequest) -> None:
    assert fast.is_slow(request.node)


def test_a_test_with_quick_fixtures_is_not_slow(tmp_path, request: pytest.FixtureRequest) -> None:
    assert not fast.is_slow(request.node)


@pytest.fixture
def blocked() -> Iterator[None]:
    block = fast.Block()
    block.on = True
    yield
    block.on = False


def test_what_got_past_that_reaches_neither_the_network_nor_spark(blocked: None) -> None:
    with pytest.raises(RuntimeError, match=r"socket\.connect in make test-fast"), socket.socket() as dialled:
        dialled.connect(("127.0.0.1", 9))
    with pytest.raises(RuntimeError, match=r"subprocess\.Popen in make test-fast"):
        subprocess.run(["spark-submit", "--version"], check=True)
    starts_a_process()
