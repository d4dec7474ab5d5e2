"""A run that an older version built: older_run.tar.gz is one of two pages and six images, with a tiny CLIP of seed 0."""

from __future__ import annotations

import json
import socket
import tarfile
from pathlib import Path

import pytest

from pipeline import funnel
from pipeline.audit.proof import check
from pipeline.core.progress import Reporter
from pipeline.core.run import Run

OLDER = Path(__file__).with_name("older_run.tar.gz")


@pytest.fixture
def older(tmp_path, monkeypatch, write_random_checkpoint) -> Path:
    """The run, in a folder that also has its model."""
    with tarfile.open(OLDER) as tar:
        tar.extractall(tmp_path, filter="data")
    write_random_checkpoint(tmp_path / "tiny.pt", 0)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


@pytest.fixture
def web():
    """An open port to which every name resolves."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def manifests(run: Path) -> dict[str, dict]:
    return {name: json.loads((run / name / "manifest.json").read_text()) for name in funnel.BY_NAME}


def test_a_run_of_an_older_version_is_brought_up_to_date_without_a_request(spark, older: Path, web) -> None:
    before, corpus = manifests(older), (older / "corpus" / "manifest.json").read_bytes()
    opened = funnel.open_existing(str(older), Reporter(quiet=True))
    assert "is not recorded (result of an older pairmill)" in " ".join(map(str, check(opened)))
    port = web.getsockname()[1]
    settings = opened.config.model_dump(mode="json")
    settings["web"] |= {"resolve": {"*": f"127.0.0.1:{port}"}}
    run = Run(opened.storage, funnel.Config.model_validate(settings), opened.stages, opened.reporter)
    funnel.build(run)
    with pytest.raises(BlockingIOError):  # nobody has connected
        web.accept()
    after = manifests(older)
    for name in ("crawl", "fetch", "clip"):
        assert after[name]["measure_key"] == before[name]["measure_key"]
        assert after[name]["measured"] == 0
    assert (older / "corpus" / "manifest.json").read_bytes() == corpus
    assert check(run) == []
