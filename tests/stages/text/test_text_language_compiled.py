"""Machine code that is kept: found again, never mistaken for other code, and never needed."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numba
import pytest
from checkout import ROOT

from pipeline.core import compiled as keeping
from pipeline.core.compiled import compiled
from pipeline.stages.text.language import detect

ANSWER = "from pipeline.stages.text.language import detect; print(detect(['Ein Hund im Schnee', '12']))"


def doubling(folder: Path) -> Callable[[int], int]:
    """A function in a file of its own."""
    source = folder / "doubling.py"
    source.write_text("def double(n):\n    return 2 * n\n")
    spec = importlib.util.spec_from_file_location("doubling", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.double


@pytest.fixture
def double(tmp_path: Path) -> Callable[[int], int]:
    """The function where nothing can be kept beside it: a file is in the folder's place."""
    (tmp_path / "__pycache__").touch()
    return doubling(tmp_path)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "kept"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    return folder


def hits(function: Callable[[int], int]) -> int:
    return sum(function.stats.cache_hits.values())


def test_what_one_process_compiled_the_next_one_finds(double, kept):
    first = compiled(double, 1)
    again = compiled(double, 1)
    assert (first(21), again(21)) == (42, 42)
    assert (hits(first), hits(again)) == (0, 1)
    assert numba.config.CACHE_LOCATOR_CLASSES == ""


def test_another_processor_takes_no_code_of_this_one(double, kept, monkeypatch):
    compiled(double, 1)
    before = {path.name for path in kept.rglob("*.nb?")}
    keeping._digest.cache_clear()
    monkeypatch.setattr(keeping, "get_host_cpu_name", lambda: "another")
    try:
        assert hits(compiled(double, 1)) == 0
    finally:
        keeping._digest.cache_clear()
    after = {path.name for path in kept.rglob("*.nb?")}
    assert len(before) == 2
    assert len(after) == 4
    assert before < after


def test_a_damaged_file_costs_time_only(double, kept):
    compiled(double, 1)
    for path in kept.rglob("*.nb?"):
        path.write_bytes(path.read_bytes()[:50])
    assert compiled(double, 1)(21) == 42


def test_without_any_folder_to_write_in_the_function_is_compiled_all_the_same(double, tmp_path, monkeypatch):
    """Beside the source and in the place of both other folders lie files."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "doubling.py" / "no"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "doubling.py" / "no"))
    monkeypatch.setenv("HOME", str(tmp_path / "doubling.py" / "no"))
    assert compiled(double, 1)(21) == 42
    assert not list(tmp_path.rglob("*.nb?"))


def test_a_full_disk_costs_time_only(double, kept):
    """No file may grow beyond nothing, which is what a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        assert compiled(double, 1)(21) == 42
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_that_cannot_be_written_serves_what_is_in_it(double, kept, monkeypatch):
    """As in an image that is mounted read-only: numba alone would pass such a folder by."""
    compiled(double, 1)

    def refuse(**_: object) -> None:
        raise OSError("Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # numba's own question whether a folder can be written
    assert hits(compiled(double, 1)) == 1


@pytest.mark.parametrize("make_foreign", [lambda path: path.chmod(0o777), lambda path: os.chown(path, 12345, 12345)])
@pytest.mark.parametrize("inner", [False, True])
def test_code_from_a_folder_that_others_can_write_is_not_run_r33(
    double, kept, tmp_path, monkeypatch, make_foreign, inner
):
    """R33: numba's files hold pickles."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "personal"))
    monkeypatch.setenv("HOME", str(tmp_path / "personal"))
    compiled(double, 1)
    if os.geteuid() and make_foreign.__code__.co_names == ("os", "chown"):
        pytest.skip("only root can give a folder away")
    make_foreign(next(kept.iterdir()) if inner else kept)
    trap = tmp_path / "ran"
    for path in kept.rglob("*.nbi"):
        path.write_bytes(b"cos\nmkdir\n(V" + str(trap).encode() + b"\ntR.")
    again = compiled(double, 1)
    assert (again(21), hits(again), trap.exists()) == (42, 0, False)


def test_machine_code_beside_its_source_moves_with_it(tmp_path, monkeypatch):
    """`make dist` packs it, a worker unpacks it elsewhere."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    (tmp_path / "packed").mkdir()
    assert hits(compiled(doubling(tmp_path / "packed"), 1)) == 0
    (tmp_path / "packed").rename(tmp_path / "unpacked")
    os.utime(tmp_path / "unpacked" / "doubling.py", (0, 0))
    assert hits(compiled(doubling(tmp_path / "unpacked"), 1)) == 1


def test_the_packed_environment_has_the_machine_code_of_the_kernels(tmp_path):
    spec = importlib.util.spec_from_file_location("pack", ROOT / "conf" / "pack.py")
    pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    for package in ("pipeline", "schemas"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    pack.compile_kernels(tmp_path)
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("__pycache__/*"))
    kernels = ["stages/text/language/__pycache__/kernel.detect_batch"]
    kernels += [f"vision/__pycache__/kernels.{name}" for name in ("read_grey", "read_levels", "weighted_rows")]
    assert [Path(name).suffix for name in written] == [".nbc", ".nbi"] * len(kernels)
    assert all(name.startswith(f"pipeline/{kernel}-") for name, kernel in zip(written[::2], kernels, strict=True))


def at_once(code: str, processes: int, kept: Path) -> set[str]:
    """What so many new processes print that all start now; none may fail."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(kept)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    printed = {process.communicate()[0].strip() for process in started}
    assert [process.returncode for process in started] == [0] * processes
    assert len(list(kept.rglob("*.nb?"))) == 2
    return printed


def test_many_processes_may_start_at_once_with_nothing_kept(double, kept):
    """T5"""
    folder = str(Path(double.__code__.co_filename).parent)
    code = f"""
import sys; sys.path.append({folder!r})
from doubling import double
from pipeline.core.compiled import compiled
print(compiled(double, 1)(21))"""
    assert at_once(code, 4, kept) == {"42"}


@pytest.mark.long
def test_many_workers_may_start_at_once_with_nothing_kept(kept):
    """T5"""
    assert at_once(ANSWER, 6, kept) == {str(detect(["Ein Hund im Schnee", "12"]))}
