"""No pattern that sees a stranger's text is slow over any text: twice the text takes at most three times as long."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from attacks import attacks, seconds
from checkout import ROOT

import pipeline
from pipeline.stages.extract.raw import heads

METHODS = ("search", "match", "fullmatch", "sub", "split", "findall", "finditer")
QUICK_S = 0.003  # over 2,000 characters; more is looked at closely
FIRST, SIZES = 20, (100, 400, 2000)
NOT_OF_STRANGERS = ("pipeline.smallweb", "pipeline.demo", "pipeline.stages_doc")
HOW = {  # of patterns that reach their method through another name
    "pipeline.stages.extract.lists.delimited._INSIDE": {"match"},
    "pipeline.stages.extract.lists.delimited._INSIDE_SPARK": {"match"},
    "pipeline.stages.extract.pages.srcset._SEPARATORS": {"match"},
    "pipeline.stages.extract.pages.srcset._DESCRIPTORS": {"match"},
    "pipeline.stages.extract.raw.members._GZIP_MEMBER": {"finditer"},
    "pipeline.stages.extract.raw.members._ZSTD_FRAME": {"finditer"},
    "pipeline.stages.text.boilerplate._FILENAME": {"fullmatch"},
}
BOUNDED = {  # why no long text reaches them
    "pipeline.stages.extract.pages.lazy._IMAGE_IN_TEXT": "MAX_TEXT_CHARS, and 2,000 characters from each place on",
    "pipeline.stages.extract.pages.srcset._PLAIN": "what _ALL_PLAIN has matched as a whole",
    "pipeline.vision.jpeg._SURPLUS_AT_END": "a message of libjpeg",
}
MADE_WITHIN = {  # functions that make a pattern in which something repeats
    ("pipeline/stages/extract/raw/heads.py", "_field"),  # a line end, a name, blanks, a colon, the rest of the line
}


class Known(NamedTuple):
    name: str
    pattern: re.Pattern[Any]


def modules(below: str) -> Iterator[Any]:
    for found in pkgutil.walk_packages(pipeline.__path__, "pipeline."):
        if found.name.startswith(below) and not found.name.startswith(NOT_OF_STRANGERS):
            yield importlib.import_module(found.name)


def patterns(below: str) -> Iterator[Known]:
    """Of all modules below one, alone and in collections; each where it is met first."""
    met = set()
    for module in modules(below):
        for name, value in vars(module).items():
            inside = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            )
            for pattern in inside:
                if isinstance(pattern, re.Pattern) and pattern not in met:
                    met.add(pattern)
                    yield Known(f"{module.__name__}.{name}", pattern)


def code() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted((ROOT / "pipeline").rglob("*.py")):
        yield str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))


def uses() -> dict[str, set[str]]:
    """The methods by which the code uses a pattern, by the pattern's name, with its module and without."""
    found = defaultdict(set)
    for path, tree in code():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in METHODS:
                name = getattr(node.value, "id", getattr(node.value, "attr", ""))
                found[f"{path.removesuffix('.py').replace('/', '.')}.{name}"].add(node.attr)
                found[name].add(node.attr)
    return found


def use(pattern: re.Pattern[Any], method: str, text: str) -> object:
    given = text if isinstance(pattern.pattern, str) else text.encode("latin-1", "replace")
    arguments = (given[:0], given) if method == "sub" else (given,)
    result = getattr(pattern, method)(*arguments)
    return sum(1 for _ in result) if method == "finditer" else result


def slow_text(pattern: re.Pattern[Any], method: str) -> str:
    """What is slow: head, what repeats, end; empty if nothing is."""

    def time_of(head: str, fed: str, end: str, size: int, times: int = 1) -> float:
        text = head + fed * (size // max(1, len(fed))) + end
        return seconds(lambda: use(pattern, method, text), times)

    for text in attacks(pattern):
        if time_of(*text, FIRST) > QUICK_S and time_of(*text, FIRST, 3) > QUICK_S:
            return f"{text}: exponential"
        for size in SIZES:
            if time_of(*text, size) > QUICK_S and time_of(*text, size, 5) > 3 * time_of(*text, size // 2, 5):
                return f"{text}: {size} characters"
    return ""


@pytest.mark.parametrize(
    "below", ["pipeline.web", "pipeline.stages.extract", pytest.param("pipeline.", marks=pytest.mark.long)]
)
def test_twice_the_text_takes_at_most_three_times_as_long_x82(below: str) -> None:
    """X82: of every pattern, over texts made from it."""
    used, slow = uses(), {}
    for name, pattern in patterns(below):
        if name not in BOUNDED:
            last = name.rpartition(".")[2]
            methods = HOW.get(name) or used.get(name) or (not last.startswith("_") and used.get(last)) or {"search"}
            for method in methods:
                if found := slow_text(pattern, method):
                    slow[f"{name}.{method}"] = found
    assert slow == {}


@pytest.mark.long
def test_the_exceptions_are_patterns_that_exist() -> None:
    known = {name for name, _ in patterns("pipeline.")}
    assert HOW.keys() | BOUNDED.keys() <= known
    assert len(known) > 150


def test_patterns_made_within_functions_are_plain_x82() -> None:
    """X82: nothing repeats in them, or they are listed."""
    for path, tree in code():
        if not path.startswith(("pipeline/stages/extract/", "pipeline/web/")) or "/sources/" in path:
            continue  # sources/ reads what the user writes
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                owner = getattr(call.func, "value", None)
                if getattr(owner, "id", "") == "re" and call.func.attr not in ("escape",):
                    text = call.args[0]
                    where = f"{path}:{call.lineno}"
                    is_plain = isinstance(text, ast.Constant) and not re.search(r"[+*}]", str(text.value))
                    assert is_plain or (path, function.name) in MADE_WITHIN, where


def test_a_field_of_a_header_is_found_in_linear_time_x82() -> None:
    """X82"""
    assert slow_text(heads._field("content-type"), "finditer") == ""


@pytest.mark.parametrize(
    "slow", [r"\s*([a-z ]+?)\s*:(.*)", r"url\(\s*(['\"]?)([^'\"()]+)\1\s*\)", r"(?:a+)+b", r"\s+([,.])", r"<!--.*?-->"]
)
def test_slow_patterns_are_found(slow: str) -> None:
    """Of this test itself."""
    assert slow_text(re.compile(slow, re.DOTALL), "search")
