"""A child that sleeps, waits or is stopped costs its message alone; and what a child gets of our environment."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from pipeline.core import children
from pipeline.core.children import Child, ChildDied, Death
from pipeline.core.errors import StageError

PROGRAM = """
import json, os, pathlib, sys, threading, time
from pipeline.core import children

children.WALL_PER_CPU = float(sys.argv[1])

def answer(message):
    asked = message.decode()
    if asked == "sleep":
        time.sleep(3600)
    if asked == "lock":
        lock = threading.Lock(); lock.acquire(); lock.acquire()
    if asked == "spin":
        while True: pass
    if asked.startswith("once "):
        first = pathlib.Path(asked.removeprefix("once "))
        if not first.exists():
            first.touch()
            time.sleep(3600)
    return json.dumps(dict(os.environ) | {"pid": str(os.getpid())}).encode()

children.serve(answer, 0.3, 1 << 28)
"""


@pytest.fixture
def child(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its messages have 0.3 s of CPU time, and three times that may pass."""
    (tmp_path / "toy_child.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    with Child("toy_child", getattr(request, "param", "3")) as found:
        yield found


def pid(child: Child, message: str = "who") -> str:
    return json.loads(child.ask(message.encode()))["pid"]


@pytest.mark.parametrize("asked", ["sleep", "lock"])
def test_a_child_that_does_nothing_is_replaced_and_its_message_blamed_after_a_second_try_r34(child, asked) -> None:
    """R34: it uses no CPU time, so only the time that passes ends it."""
    before = pid(child)
    begun = time.monotonic()
    with pytest.raises(ChildDied) as died:
        child.ask(asked.encode())
    assert died.value.death is Death.CLOCK
    assert time.monotonic() - begun >= 2 * 3 * 0.3
    assert pid(child) != before


def test_a_message_that_was_only_unlucky_is_answered_by_a_fresh_child_r34(child, tmp_path: Path) -> None:
    """R34: the machine may have been asleep."""
    before = pid(child)
    assert pid(child, f"once {tmp_path / 'seen'}") != before
    with pytest.raises(ChildDied):
        child.ask(f"once {tmp_path / 'other'}".encode(), tries=1)


@pytest.mark.parametrize("child", ["10000"], indirect=True)
def test_a_child_that_works_too_long_is_not_asked_twice_r34(child) -> None:
    """R34: CPU time does not depend on what else the machine does."""
    begun = os.times()
    with pytest.raises(ChildDied) as died:
        child.ask(b"spin", tries=1_000)
    assert died.value.death is Death.TIME
    assert os.times().children_user - begun.children_user < 5


def test_a_child_that_never_says_that_it_is_ready_is_not_waited_for_r34(tmp_path, monkeypatch) -> None:
    """R34"""
    (tmp_path / "mute_child.py").write_text("import time; time.sleep(3600)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(children, "_STARTING_S", 0.2)
    with pytest.raises(StageError, match="child_not_started"), Child("mute_child", "") as mute:
        mute.ask(b"")


def test_a_child_without_a_parent_does_not_sleep_on_r34(child) -> None:
    """R34: the child limits itself."""
    alone = int(pid(child))
    assert child._child is not None
    children._write(child._child.stdin, b"sleep")
    assert os.waitpid(alone, 0)[1] == signal.SIGALRM
    child._child.returncode = -signal.SIGALRM


def test_a_child_gets_no_credentials_r35(child, monkeypatch) -> None:
    """R35: only what it needs; printed by a real child."""
    secrets = [
        "AWS_SECRET_ACCESS_KEY",
        "AZURE_STORAGE_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "HF_TOKEN",
        "SSH_AUTH_SOCK",
    ]
    secrets += ["GITHUB_TOKEN", "DATABASE_URL", "http_proxy", "LD_PRELOAD_KEY", "PGPASSWORD", "_PYSPARK_SECRET"]
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/nowhere")
    found = json.loads(child.ask(b"environment"))
    assert "secret" not in found.values()
    assert (found["OMP_NUM_THREADS"], found["LC_ALL"], found["NUMBA_CACHE_DIR"]) == ("1", "C.UTF-8", "/nowhere")
    assert found["PATH"] == os.environ["PATH"]
    assert found["PYTHONPATH"].split(os.pathsep) == [path or os.getcwd() for path in sys.path]
    foreign = {name for name in found if not children.is_passed_on(name)} - {"pid"}
    assert foreign <= {"PYTHONPATH", "__CF_USER_TEXT_ENCODING"}
