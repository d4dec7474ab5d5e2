"""Several processes train as one does: torchrun, gloo and two real processes on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from checkout import ROOT

from pipeline.core.progress import Reporter
from pipeline.training.loop import train


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def two_processes(config) -> Iterator[list[subprocess.Popen[str]]]:
    """As torchrun starts them, each a child of the test's own."""
    sets = [f"--set={name}={json.dumps(value)}" for name, value in config.model_dump().items()]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "jobs/train.py", *sets],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(ROOT)},
        )
        for rank in range(2)
    ]
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


def test_two_processes_have_the_losses_of_one_after_a_stop_too(settings, trained, make_samples, write_corpus, tmp_path):
    """N1, N6, N11: three uneven shards; a signal to one process stops and saves both; one process goes on alone."""
    corpus = write_corpus(tmp_path / "corpus", make_samples(40), shards=3)
    config = settings(tmp_path / "out", data=[str(corpus)], steps=12)
    metrics = tmp_path / "out" / "metrics.jsonl"
    with two_processes(config) as ranks:
        deadline = time.monotonic() + 120
        while not (metrics.exists() and metrics.read_text().count("\n") >= 3):
            assert time.monotonic() < deadline
            assert [rank.poll() for rank in ranks] == [None, None], [rank.communicate()[1] for rank in ranks]
            time.sleep(0.01)
        ranks[1].send_signal(signal.SIGTERM)
        errors = [rank.communicate(timeout=60)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [143, 143], errors
    stopped = metrics.read_text().count("\n")
    together = [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]
    alone = train(settings(tmp_path / "alone", data=[str(corpus)], steps=12), Reporter(quiet=True)).losses
    assert together == pytest.approx(alone[:stopped], abs=1e-5)
    assert train(config, Reporter(quiet=True)).losses == pytest.approx(alone, abs=1e-5)


def test_a_process_that_dies_takes_the_others_with_it(settings, tmp_path):
    """N13"""
    config = settings(tmp_path / "out", steps=5000, checkpoint_steps=2)
    latest = tmp_path / "out" / "checkpoints" / "latest.json"
    with two_processes(config) as ranks:
        deadline = time.monotonic() + 120
        while not latest.exists():
            assert time.monotonic() < deadline
            assert [rank.poll() for rank in ranks] == [None, None], [rank.communicate()[1] for rank in ranks]
            time.sleep(0.01)
        ranks[1].kill()
        _, errors = ranks[0].communicate(timeout=120)
    assert ranks[0].returncode == 1
    assert errors.splitlines()[-1].startswith("pairmill: error: rank_failed: ")
    assert "Traceback" not in errors


STILL_WAITING = """
import threading, time
from jobs import command
from pipeline.core.errors import ErrorCode, ProcessLost

def lost(**_): raise ProcessLost(ErrorCode.RANK_FAILED, "process 0 of 2 lost another one")

threading.Thread(target=time.sleep, args=(600,)).start()
command.run(lost)
"""


def test_a_process_that_lost_another_one_ends_though_its_threads_wait_for_that_one_n13():
    """N13: gloo's threads may wait as long as a save may take; the line is said and the process is gone."""
    done = subprocess.run(
        [sys.executable, "-c", STILL_WAITING], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (1, "pairmill: error: rank_failed: process 0 of 2 lost another one\n")


def test_a_batch_that_cannot_be_shared_evenly_is_refused(settings, tmp_path):
    """N11"""
    with two_processes(settings(tmp_path / "out", batch_size=9)) as ranks:
        errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert {rank.returncode for rank in ranks} == {2}
    assert all("config_invalid: batch_size 9 cannot be shared evenly by 2 processes" in error for error in errors)
