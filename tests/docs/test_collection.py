"""Two processes that collect the tests find the same ones: the workers of `make test` compare their lists."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from checkout import ROOT


def collect(hash_seed: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def ids_of(process: subprocess.Popen[str]) -> list[str]:
    ids = [line for line in process.communicate()[0].splitlines() if "::" in line]
    assert process.returncode == 0
    return ids


def test_the_ids_of_tests_depend_on_no_clock_and_no_hash_seed(request: pytest.FixtureRequest):
    """The tests of this run are compared with what another process finds, or two such where it runs few of them."""
    here = [item.nodeid for item in request.session.items]
    if len(here) < 1000 or request.config.option.shuffle is not None:
        here = ids_of(collect("1"))
        time.sleep(1)  # gzip writes the second
    there = ids_of(collect("2"))
    assert len(here) > 1000
    asked = set(here)
    assert [found for found in there if found in asked] == here
