"""A checkpoint is whole or not there, and holds nothing but tensors and plain values."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle

import pytest
import torch

from pipeline.core.errors import InputError
from pipeline.core.storage import open_storage
from pipeline.training import checkpoint


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path))


def state(step):
    return {"network": {"weight": torch.full((50,), float(step))}, "step": step, "losses": [0.5] * step, "key": "a"}


def save(storage, *steps, keep=3):
    for step in steps:
        checkpoint.save(storage, step, state(step), keep)


def newest(storage):
    lines = []
    loaded = checkpoint.load_newest(storage, lines.append)
    return loaded and loaded["step"], lines


def files(storage):
    return [name for name in storage.names("checkpoints") if name != "latest.json"]


def test_the_newest_checkpoint_comes_back_as_it_was_saved(storage):
    assert newest(storage) == (None, [])
    save(storage, 1, 2)
    loaded = checkpoint.load_newest(storage, print)
    assert torch.equal(loaded["network"].pop("weight"), state(2)["network"].pop("weight"))
    assert loaded == state(2) | {"network": {}}


def test_the_same_state_has_the_same_bytes():
    assert checkpoint.to_bytes(state(3)) == checkpoint.to_bytes(state(3))


def test_only_the_newest_are_kept(storage):
    """N17"""
    save(storage, 5, 10, 15, 20, keep=2)
    assert files(storage) == ["step-000015.pt", "step-000020.pt"]
    save(storage, 20, keep=2)
    assert files(storage) == ["step-000015.pt", "step-000020.pt"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(storage, damage):
    """N3"""
    save(storage, 1, 2)
    path = storage.path("checkpoints/step-000002.pt")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data if damage == "flipped" else data[:-100])
    if damage == "gone":
        path.unlink()
    step, lines = newest(storage)
    assert step == 1
    assert len(lines) == 1
    assert "step-000002.pt" in lines[0]


def test_no_whole_checkpoint_is_an_error_and_not_a_new_beginning(storage):
    """N3"""
    save(storage, 1, 2)
    for name in files(storage):
        storage.path(f"checkpoints/{name}").write_bytes(b"")
    with pytest.raises(InputError, match="checkpoint_corrupt: no whole checkpoint"):
        newest(storage)
    storage.path("checkpoints/latest.json").write_text("[{")
    with pytest.raises(InputError, match=r"checkpoint_corrupt: checkpoints/latest\.json"):
        newest(storage)


class Trap:
    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


@pytest.mark.parametrize("dump", [pickle.dumps, checkpoint.to_bytes])
def test_a_pickle_with_code_is_refused_and_runs_nothing(storage, tmp_path, monkeypatch, dump):
    """N4"""
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    save(storage, 1)
    data = dump({"step": 1, "key": "a", "network": Trap()})
    storage.path("checkpoints/step-000001.pt").write_bytes(data)
    entry = {"file": "checkpoints/step-000001.pt", "step": 1, "sha256": hashlib.sha256(data).hexdigest()}
    storage.path("checkpoints/latest.json").write_text(json.dumps([entry]))
    with pytest.raises(InputError, match=r"unsafe_checkpoint: checkpoints/step-000001\.pt"):
        newest(storage)
    assert not (tmp_path / "sprung").exists()


def test_a_full_disk_leaves_the_checkpoints_that_there_are(storage, monkeypatch):
    """N16, N17"""
    save(storage, 1, 2, keep=2)
    before = {name: storage.read(f"checkpoints/{name}") for name in storage.names("checkpoints")}

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="disk_full"):
        save(storage, 3, keep=1)
    monkeypatch.undo()
    assert {name: storage.read(f"checkpoints/{name}") for name in storage.names("checkpoints")} == before
    assert newest(storage) == (2, [])


def test_what_a_killed_save_left_is_swept_by_the_next(storage):
    """N2"""
    save(storage, 1)
    storage.path("checkpoints/.step-000002.pt.0123").write_bytes(b"half")
    storage.path("checkpoints/step-000002.pt").write_bytes(b"whole, but not listed")
    assert newest(storage) == (1, [])
    save(storage, 3)
    assert files(storage) == ["step-000001.pt", "step-000003.pt"]
