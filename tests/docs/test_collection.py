"""Two processes that collect the tests find the same ones: the workers of `make test` compare their lists."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from checkout import ROOT


def collect(hash_seed: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_the_ids_of_tests_depend_on_no_clock_and_no_hash_seed():
    first = collect("1")
    time.sleep(3)  # gzip writes the second
    second = collect("2")
    collected = [
        [line for line in process.communicate()[0].splitlines() if "::" in line] for process in (first, second)
    ]
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(collected[0]) > 1000
    assert collected[0] == collected[1]
