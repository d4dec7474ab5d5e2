"""A run that a stranger made: nothing in it makes us read, empty, replace or remove a file outside of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.core.corpus_manifest import VERSION
from pipeline.core.corpus_manifest import parse as parse_corpus
from pipeline.core.errors import InputError
from pipeline.core.lock import run_lock
from pipeline.core.manifest import KeptRows, Manifest, publish, read_manifest
from pipeline.core.parts import Part, commit, committed, swept
from pipeline.core.storage import FileRecord, LocalStorage, open_storage

OUTSIDE = ["/etc/passwd", "../thesis.txt", "fetch/../../thesis.txt", "./thesis.txt", "fetch//x", "", "a\0b"]


@pytest.fixture
def thesis(tmp_path: Path) -> Path:
    """A file of ours beside the run."""
    path = tmp_path / "thesis.txt"
    path.write_text("mine")
    return path


@pytest.fixture
def run(tmp_path: Path, thesis: Path) -> LocalStorage:
    (tmp_path / "run" / "fetch").mkdir(parents=True)
    storage = open_storage(str(tmp_path / "run"))
    assert isinstance(storage, LocalStorage)
    return storage


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to], ids=["soft", "hard"])
def test_a_lock_that_is_a_link_empties_nothing_r31(run: LocalStorage, thesis: Path, make: Callable) -> None:
    """R31: one line; what the link names is as before."""
    make(Path(run.root, ".lock"), thesis)
    line = r"output_unwritable: .*/run/\.lock is a link or not a file"
    with pytest.raises(InputError, match=line) as raised, run_lock(run, print):
        pass
    assert "\n" not in str(raised.value)
    assert thesis.read_text() == "mine"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_a_lock_that_is_not_a_file_neither_stops_nor_hangs_us_r31(run: LocalStorage, make: Callable) -> None:
    """R31: a pipe that nobody reads would wait for ever."""
    make(os.path.join(run.root, ".lock"))
    with pytest.raises(InputError, match="is a link or not a file"), run_lock(run, print):
        pass


def test_a_link_to_nothing_is_not_followed_when_we_test_whether_we_can_write_r31(run: LocalStorage, thesis) -> None:
    """R31: the probe has a name of its own."""
    Path(run.root, ".probe").symlink_to(thesis.with_name("new.txt"))
    run.require_writable()
    assert not thesis.with_name("new.txt").exists()


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_record_names_only_files_of_its_run_r32(run: LocalStorage, thesis: Path, path: str) -> None:
    """R32: in manifests it is an error, a part's record does not count, and nothing outside is touched."""
    with pytest.raises(ValueError, match="is not the path of a file of this run"):
        FileRecord(path, 0, 4, "")
    record = asdict(FileRecord("fetch/rows", 0, 4, "")) | {"path": path}
    part = asdict(Part("p", "key", "input", {})) | {"files": {"rows": record}}
    run.replace("fetch/parts/p.json", json.dumps(part).encode())
    assert swept(run, "fetch", ["fetch/store"]) == []
    rows = KeptRows(stage="fetch", unit="image", rows=0, digest="")
    facts = {"stage": "fetch", "unit": "image", "rows_in": 0, "kept": 0, "measured": 0, "seconds": 0.0, "keeps": rows}
    keys = dict.fromkeys(("measure_key", "decide_key", "input_fingerprint", "result"), "")
    made = Manifest(**facts, **keys, dropped={}, inputs=[], settings={}, rules=[], files={})
    publish(run, made)
    assert read_manifest(run, "fetch") == made
    text = made.model_dump_json().replace('"files":{}', f'"files":{{"rows":[{json.dumps(record)}]}}')
    run.replace("fetch/manifest.json", text.encode())
    with pytest.raises(InputError, match=r"fetch/manifest.json is not a valid manifest: files\.rows\.0.*of this run"):
        read_manifest(run, "fetch")
    assert thesis.read_text() == "mine"


def test_a_record_under_another_name_does_not_count_r32(run: LocalStorage) -> None:
    """R32: export removes the record of a part by the part's name."""
    commit(run, "fetch", Part("p", "key", "input", {}))
    run.replace("fetch/parts/q.json", run.read("fetch/parts/p.json"))
    assert [part.name for part in committed(run, "fetch")] == ["p"]


@pytest.mark.parametrize("relative", ["fetch/link", "fetch/folder/thesis.txt", "../thesis.txt"])
@pytest.mark.parametrize("operation", ["read", "open", "size", "delete", "names"])
def test_a_link_out_of_the_run_is_not_followed_r32(run, thesis: Path, relative: str, operation: str) -> None:
    """R32: whatever a stage would do there, it is one line."""
    Path(run.root, "fetch", "link").symlink_to(thesis)
    Path(run.root, "fetch", "folder").symlink_to(thesis.parent)
    with pytest.raises(InputError, match=r"input_unreadable: .* leads out of the run, to .*thesis\.txt"):
        getattr(run, operation)(relative)
    with pytest.raises(InputError, match="leads out of the run"):
        run.replace("fetch/folder/new", b"")
    assert (thesis.read_text(), thesis.with_name("new").exists()) == ("mine", False)


def test_a_link_within_the_run_and_a_run_behind_a_link_are_as_good_as_any_r32(run, tmp_path: Path) -> None:
    """R32: only what leads out is refused."""
    run.replace("fetch/real", b"here")
    Path(run.root, "fetch", "alias").symlink_to("real")
    (tmp_path / "elsewhere").symlink_to(run.root)
    assert run.read("fetch/alias") == b"here"
    assert LocalStorage(str(tmp_path / "elsewhere")).read("fetch/alias") == b"here"


@pytest.mark.parametrize("name", ["../../thesis", "/tmp/x", "", "a/b", "00000\n"])
def test_a_corpus_names_only_shards_beside_its_manifest_r32(name: str) -> None:
    """R32: training reads corpora that others made."""
    shard = {"name": name, "samples": 1, "first_key": "0", "last_key": "0", "files": {}}
    data = json.dumps({"samples": 1, "schema_version": str(VERSION), "shards": [shard]}).encode()
    with pytest.raises(InputError, match=r"not the manifest of a corpus: shards\.0\.name"):
        parse_corpus(data, "manifest.json")
