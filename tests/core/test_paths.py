"""Names of runs that mean something to a shell, a URL or Hadoop are only names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from pipeline.core.spark import log_option
from pipeline.core.storage import LocalStorage, at_home
from pipeline.core.tables import literal_path, read_table, write_file

SCHEMA = pa.schema([("n", pa.int64())])
NAMES = [
    "my run [v1]",
    "{a,b}",
    "a*b?",
    "[]",
    "[",
    "{",
    "}",
    "[^a]",
    "back\\slash",
    "a#b",
    "a%20b",
    "%zz",
    "ünï",
    "a:b",
    "a=b",
    "a,b",
    "a\nb",
    "_a",
    ".a",
    "~",
    "'q\"",
    "$HOME",
    "a;b&c",
]


def test_rows_of_a_run_of_any_name_are_read_each_once_x43(spark: SparkSession, tmp_path: Path) -> None:
    """X43: a name is not a glob; "a*b?" does not also read its neighbour."""
    found = {}
    for name in [*NAMES, "axbx"]:
        storage = LocalStorage.at(str(tmp_path / name))
        written = write_file(storage, "x/rows", SCHEMA, [pa.table({"n": [1, 2]}, schema=SCHEMA)])
        storage.path(written.path).rename(storage.path("x/rows/part.parquet"))
        record = storage.record("x/rows/part.parquet", 2)
        found[name] = read_table(spark, storage, [record], SCHEMA).count()
    assert found == dict.fromkeys([*NAMES, "axbx"], 2)


@pytest.mark.parametrize("name", NAMES)
def test_an_escaped_path_is_the_same_path(name: str) -> None:
    escaped = literal_path(Path("/runs", name))
    assert re.sub(r"\\(.)", r"\1", escaped) == f"/runs/{name}"
    assert not re.search(r"(?<!\\)(?:\\\\)*[\[\]{}*?]", escaped)


@pytest.mark.parametrize("name", NAMES)
def test_pairmill_may_be_installed_anywhere(name: str) -> None:
    """An option with a space would be two, and the JVM would not start."""
    option = log_option(Path("/opt", name))
    assert shlex.split(option) == [option]
    assert unquote(urlsplit(option.partition("=")[2]).path) == f"/opt/{name}/log4j2.properties"


def test_a_tilde_is_the_home_unless_something_has_this_name_x43(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X43: --run=~/x is not expanded by a shell, nor is a path in a config."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert at_home("~/runs/x") == f"{tmp_path}/home/runs/x"
    assert at_home("~nobody-here/x") == "~nobody-here/x"
    assert at_home("a/~/b") == "a/~/b"
    assert LocalStorage.at("~/runs/x").root == f"{tmp_path}/home/runs/x"
    (tmp_path / "~").mkdir()
    assert LocalStorage.at("~").root == f"{tmp_path}/~"
