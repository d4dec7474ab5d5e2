"""YAML for settings, read by the core schema of YAML 1.2.2 (section 10.3.2), as most programs read it today.

PyYAML implements YAML 1.1, in which ``no`` (Norwegian) is false, ``2024-05-06`` a date, ``12:30`` the number 750 and
``010`` the number 8. Here the first three are text and the last is 10. Only these are not text:

    null    null Null NULL ~ and nothing      int      10 -3 0o17 0x1f
    bool    true True TRUE false ...          float    1.5 .5 5e-4 .inf .nan

A duplicate key in one mapping is an error, as YAML has it (PyYAML does not). ``<<`` merges mappings, as in YAML 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"
_RESOLVERS = (
    (_MERGE, r"<<", ["<"]),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)


class NotYaml(ValueError):
    """The text breaks a rule of YAML: often it is plain text that needs quotes."""


class _Loader(yaml.SafeLoader):
    """Builds only plain values."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML's name; those of YAML 1.1 are left out

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise ValueError(f"{key} cannot be a key{_place(key_node.start_mark)}")
            if key in seen:
                raise ValueError(f"duplicate key {key}{_place(key_node.start_mark)}")
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base)


class _Dumper(yaml.SafeDumper):
    """Quotes text that this module or a reader of YAML 1.1 would take for another type."""


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
for _tag, _pattern, _first in _RESOLVERS:
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)


def parse(text: str) -> Any:
    """The value of a document. `NotYaml`, or another ValueError, says in one line what is wrong and where."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        problem = error.problem or error.context or "invalid"
        raise NotYaml(" ".join(problem.split()) + _place(error.problem_mark or error.context_mark)) from None
    except yaml.YAMLError as error:
        raise NotYaml(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def comment_at_end(text: str) -> str:
    """The comment that ends a valid document; empty if there is none."""
    ends = [token.end_mark.index for token in yaml.scan(text, _Loader) if token.end_mark.index > token.start_mark.index]
    return text[max(ends, default=0) :].strip()


def dump(value: Any) -> str:
    """The value as a document; keys stay in their order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def _place(mark: Any) -> str:
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
