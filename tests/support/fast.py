"""What `make test-fast` runs: the tests that start no Spark and no Python, open no socket and need no torch.

Nothing is marked by hand. A test is left out where its own code, that of its fixtures, or a function of the same files
that these name, names something slow. A test that gets past that fails when it reaches for Spark or the network; the
short-lived children in which the stages decode and parse are part of what is tested.
"""

from __future__ import annotations

import inspect
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest

SLOW = (
    "asyncio",
    "jobs",
    "multiprocessing",
    "pipeline.audit",
    "pipeline.core.spark",
    "pipeline.demo",
    "pipeline.evaluation",
    "pipeline.smallweb.image_web",
    "pipeline.smallweb.server",
    "pipeline.smallweb.trouble",
    "pipeline.training",
    "pipeline.vision.clip_model",
    "pyspark",
    "socket",
    "subprocess",
    "torch",
)
SLOW_FOLDERS = ("cluster", "demo", "e2e", "evaluation", "store", "training")  # not even imported
NETWORK = ("socket.bind", "socket.connect", "socket.getaddrinfo")


def is_slow(item: pytest.Function) -> bool:
    """Whether a test, or a fixture of it, names something slow."""
    fixtures = [one.func for found in item._fixtureinfo.name2fixturedefs.values() for one in found]
    seen: set[int] = set()
    return any(names_something_slow(function, seen) for function in [item.obj, *fixtures])


def names_something_slow(function: object, seen: set[int]) -> bool:
    """Follows functions and classes of the function's own file."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    if not isinstance(function, FunctionType) or id(function) in seen:
        return False
    seen.add(id(function))
    for name in names_of(function.__code__):
        value = function.__globals__.get(name)
        if is_of(name, SLOW) or is_of(home_of(value), SLOW):
            return True
        if home_of(value) == function.__module__ and any(names_something_slow(part, seen) for part in parts_of(value)):
            return True
    return False


def names_of(code: CodeType) -> Iterator[str]:
    """Globals, attributes and imports that code names, and the code in it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_of(constant)


def home_of(value: object) -> str:
    """The module of a function or a class; of a module its own name."""
    home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return home if isinstance(home, str) else ""


def parts_of(value: object) -> list[object]:
    return list(vars(value).values()) if inspect.isclass(value) else [value]


def is_of(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def is_slow_folder(path: Path) -> bool:
    return path.name in SLOW_FOLDERS and path.parent.name == "tests"


class Block:
    """Fails what reaches for the network or for Spark while a test runs."""

    on = False

    def __init__(self) -> None:
        sys.addaudithook(self.look)

    def look(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on:
            return
        is_outward = event in NETWORK and getattr(arguments[0], "family", None) != socket.AF_UNIX
        if is_outward or (event == "subprocess.Popen" and "spark-submit" in f"{arguments[1]}"):
            raise RuntimeError(f"{event} in make test-fast; tests/support/fast.py says which tests are left out")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self.on = True
        try:
            return (yield)
        finally:
            self.on = False
