"""The fuzzer itself, some mutations of every target, and what it once found."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzing import fault_of, fuzz, targets

FOUND = Path(__file__).parent / "found"
WITH_CHILDREN = {"tar", "warc"}  # a process for each input


@pytest.mark.parametrize("name", sorted(targets().keys() - WITH_CHILDREN))
def test_mutations_cost_no_more_than_themselves_x84(tmp_path: Path, name: str) -> None:
    """X84: no exception leaves a reader, within its time and memory, and what it gives adds up."""
    assert fuzz([name], 0, 7, tmp_path)[name] == 20
    assert [str(path) for path in tmp_path.rglob("*/*")] == []


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=str)
def test_what_was_found_stays_mended_x84(path: Path) -> None:
    """X84"""
    assert fault_of(targets()[path.parent.name].read, path.read_bytes()) == ""


def test_a_target_that_fails_is_told(tmp_path: Path) -> None:
    """Of the fuzzer itself."""

    def read(data: bytes) -> None:
        raise KeyError(len(data))

    assert fault_of(read, b"abc") == "KeyError: 3"
