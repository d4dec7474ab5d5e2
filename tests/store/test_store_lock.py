"""One writer a run, on a store: a lease that its holder renews."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from pipeline.core.errors import InputError
from pipeline.core.lock import LOCK, lease
from pipeline.core.storage import ObjectStorage

ELSEWHERE = {
    "host": "far.example",
    "process": 7,
    "started": "2026-01-01T00:00:00+00:00",
    "machine": "another",
    "begun": "1",
}

HOLDS = """
import sys, time
from pipeline.core.lock import run_lock
from pipeline.core.storage import open_storage

with run_lock(open_storage(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(600)
"""


STALE_S = 6.0


def silent(text: str) -> None:
    raise AssertionError(text)


def test_a_second_writer_is_refused_while_the_first_lives_and_not_after_r7(store: ObjectStorage) -> None:
    """R7: the line names host, process and start; a lock that was given back is taken without a word."""
    second = lease(store, silent)
    with (
        lease(store, silent),
        pytest.raises(InputError, match=r"is in use by process \d+ on .*, started .*, last renewed \d s ago") as caught,
    ):
        second.__enter__()
    assert caught.value.code == "output_locked"
    with lease(store, silent):
        pass


def test_a_lease_that_is_renewed_does_not_become_stale_r7(store: ObjectStorage) -> None:
    """R7: refused as long as the heart beats, however old the run."""
    with lease(store, silent, beat_s=0.3, stale_s=30.0):
        time.sleep(3.5)
        with pytest.raises(InputError, match="output_locked"), lease(store, silent, stale_s=3.0):
            pass


def test_a_lease_nobody_renews_is_taken_over_when_it_is_stale_r8(store: ObjectStorage) -> None:
    """R8: of a holder on another machine the store's clock alone tells."""
    lines: list[str] = []
    store.replace(LOCK, json.dumps(ELSEWHERE).encode())
    with pytest.raises(InputError, match=r"process 7 on far\.example"), lease(store, silent):
        pass
    time.sleep(2.1)
    with lease(store, lines.append, stale_s=1.0):
        pass
    assert lines == [
        "taking over the lock of process 7 on far.example, started 2026-01-01T00:00:00+00:00, which ended without releasing it"
    ]


def test_a_holder_killed_on_this_machine_is_known_to_be_dead_at_once_r8(store: ObjectStorage) -> None:
    """R8: kill -9, and the same command again."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, store.root], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=f"process {holder.pid} on"), lease(store, silent):
        pass
    holder.kill()
    holder.wait(10)
    lines: list[str] = []
    with lease(store, lines.append):
        pass
    assert [f"process {holder.pid} on" in line for line in lines] == [True]


def test_a_process_number_that_is_used_again_is_not_taken_for_the_holder_r8(store: ObjectStorage) -> None:
    """R8: this process has the dead one's number, and began later."""
    lines: list[str] = []
    with lease(store, silent):
        note = json.loads(store.read(LOCK))
    store.replace(LOCK, json.dumps(note | {"begun": "1"}).encode())
    with lease(store, lines.append):
        pass
    assert len(lines) == 1


def test_a_holder_whose_lock_was_taken_over_stops(store: ObjectStorage) -> None:
    """It had slept too long: what it goes on to write would meet another writer."""
    begun, cleaned_up = time.monotonic(), []

    def work() -> None:
        with lease(store, silent, beat_s=0.2):
            store.replace(LOCK, json.dumps(ELSEWHERE).encode())
            try:
                time.sleep(60)
            finally:
                cleaned_up.append(True)
                store.delete("text/rows/of the other")

    store.replace("text/rows/of the other", b"")
    with pytest.raises(InputError, match=r"output_locked: .* was taken over; stopped"):
        work()
    assert time.monotonic() - begun < 30
    assert (cleaned_up, store.exists("text/rows/of the other")) == ([True], True)
    assert json.loads(store.read(LOCK)) == ELSEWHERE  # the other's lock is left alone


def test_a_holder_that_cannot_renew_its_lock_stops_before_others_may_take_it(store: ObjectStorage, monkeypatch) -> None:
    """The store is gone for the heart alone."""

    def unreachable(*_: object) -> None:
        raise OSError("cannot be reached")

    def work() -> None:
        with lease(store, silent, beat_s=0.2, stale_s=STALE_S):
            monkeypatch.setattr(ObjectStorage, "replace_version", unreachable)
            time.sleep(60)

    begun = time.monotonic()
    with pytest.raises(InputError, match="could not be renewed in time"):
        work()
    assert time.monotonic() - begun < STALE_S


def test_of_two_that_take_over_at_once_one_does(store: ObjectStorage) -> None:
    """Both have read the same stale note; the second write finds another."""
    store.replace(LOCK, json.dumps(ELSEWHERE).encode())
    _, seen = store.read_version(LOCK)
    assert store.replace_version(LOCK, b"one", seen) is not None
    assert store.replace_version(LOCK, b"two", seen) is None
    assert store.read(LOCK) == b"one"
    assert store.replace_version("new", b"one", None) is not None
    assert store.replace_version("new", b"two", None) is None


def test_what_is_raised_under_the_lock_comes_through(store: ObjectStorage) -> None:
    with pytest.raises(ZeroDivisionError), lease(store, silent):
        raise ZeroDivisionError
    with lease(store, silent):
        pass
