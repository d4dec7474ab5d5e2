"""Loading a config: defaults ← preset ← user's file ← --set a.b=VALUE, checked as one tree before anything starts."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.core import yaml12
from pipeline.core.errors import ErrorCode, InputError

M = TypeVar("M", bound=BaseModel)
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\"""")
_BOOLEANS_OF_YAML_1_1 = {"y": "true", "yes": "true", "on": "true", "n": "false", "no": "false", "off": "false"}
_CREDENTIALS = re.compile(r"//[^/\s'\"@]*@")  # of a URL: never shown


def load_config(
    model: type[M], preset: str | None = None, file: Path | None = None, sets: Sequence[str] = (), saved: str = ""
) -> M:
    """The resolved config; InputError (`config_unknown_key`, `config_invalid`, `input_missing`) names what is wrong.

    ``saved`` is the text of the config saved with a run; the other sources are merged into it.
    """
    tree = _mapping(saved, "config.yaml")
    if preset is not None:
        tree = _merge(tree, _read(preset_path(preset)))
    if file is not None:
        tree = _merge(tree, _read(file))
    for setting in sets:
        tree = _merge(tree, _parse_set(setting))
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, model) from None


def conf_folder() -> Path:
    """The folder of presets: beside the packages in a checkout, inside `pipeline` in an installed wheel."""
    package = Path(str(resources.files("pipeline")))
    inside, beside = package / "conf", package.parent / "conf"
    return inside if inside.is_dir() else beside


def preset_path(name: str) -> Path:
    """The YAML file of a preset; InputError for a name that does not exist."""
    names = preset_names()
    if name not in names:
        raise InputError(ErrorCode.CONFIG_INVALID, unknown("preset", name, names))
    return conf_folder() / f"{name}.yaml"


def preset_names() -> list[str]:
    """All presets, sorted."""
    return sorted(file.stem for file in conf_folder().glob("*.yaml"))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The message for an unknown name, with the known names and the nearest of them."""
    known = list(known)
    return f"unknown {what} {name}; choose from {', '.join(known)}{did_you_mean(name, known)}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names, as the end of a message; empty if none is near."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]}?" if nearest else ""


class Dumpable(Protocol):
    """Any pydantic model."""

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


def dump_yaml(config: Dumpable) -> str:
    """The resolved config as it is saved with a run."""
    return yaml12.dump(config.model_dump(mode="json"))


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(ErrorCode.INPUT_MISSING, f"config {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"config {path}: {error}") from None
    return _mapping(text, str(path))


def _parse_set(setting: str) -> dict[str, Any]:
    dotted, equals, text = setting.partition("=")
    if not equals or not dotted:
        raise InputError(ErrorCode.CONFIG_INVALID, f"--set {setting}: write KEY=VALUE, such as text.min_chars=8")
    *sections, name = dotted.split(".")
    nested: dict[str, Any] = {name: _value(dotted, text)}
    for section in reversed(sections):
        nested = {section: nested}
    return nested


def _value(key: str, text: str) -> Any:
    """The value of a --set; text that YAML takes for something else is shown in quotes, to copy."""
    where = f"--set {key}={text}"
    try:
        value = yaml12.parse(text)
        if comment := yaml12.comment_at_end(text):
            raise yaml12.NotYaml(f"{comment} is a comment in YAML")
        return value
    except yaml12.NotYaml as error:
        hint = f"put text in quotes: --set {shlex.quote(f'{key}={_in_quotes(text)}')}"
        raise InputError(ErrorCode.CONFIG_INVALID, f"{where}: {error}; {hint}") from None
    except ValueError as error:
        raise InputError(ErrorCode.CONFIG_INVALID, f"{where}: {error}") from None


def _in_quotes(text: str) -> str:
    """A text, or each text of a list, in double quotes; what has quotes already stays."""
    listed = re.fullmatch(r"\s*\[(.*)\]\s*", text, re.DOTALL)
    texts = re.split(r",(?![^{]*\})", listed[1]) if listed else [text]  # not the commas of {a,b}
    quoted = ", ".join(map(_as_quoted, texts))
    return f"[{quoted}]" if listed else quoted


def _as_quoted(text: str) -> str:
    text = text.strip()
    if _QUOTED.fullmatch(text) and _is_yaml(text):
        return text
    inner = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    return json.dumps(inner, ensure_ascii=False)


def _is_yaml(text: str) -> bool:
    """False for an escape that is none, as in ``"C:\\data"``."""
    try:
        yaml12.parse(text)
    except ValueError:
        return False
    return True


def _mapping(text: str, where: str) -> dict[str, Any]:
    try:
        value = yaml12.parse(text)
    except yaml12.NotYaml as error:
        hint = 'put text with special characters in quotes, such as ["*.tar"]'
        raise InputError(ErrorCode.CONFIG_INVALID, f"{where}: {error}; {hint}") from None
    except ValueError as error:
        raise InputError(ErrorCode.CONFIG_INVALID, f"{where}: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(ErrorCode.CONFIG_INVALID, f"{where} is a {type(value).__name__}, not a mapping of sections")
    return {name: section for name, section in value.items() if section is not None}  # with all lines commented out


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _explain(error: ValidationError, model: type[BaseModel]) -> InputError:
    first = error.errors(include_url=False)[0]
    dotted = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        hint = did_you_mean(dotted, _keys(model))
        if len(first["loc"]) == 1 and dotted in _keys(model):
            hint = f"; in a file write {dotted.rpartition('.')[2]}: below {dotted.partition('.')[0]}:"
        return InputError(ErrorCode.CONFIG_UNKNOWN_KEY, f"unknown setting {dotted}{hint}{more}")
    text = first["msg"].removeprefix("Value error, ")
    value = _CREDENTIALS.sub("//***@", repr(first["input"]))
    return InputError(ErrorCode.CONFIG_INVALID, f"{dotted} is {value}: {text[0].lower()}{text[1:]}{_how(first)}{more}")


def _how(error: ErrorDetails) -> str:
    """What to write for text without quotes, a list without brackets, or yes; empty for other errors."""
    kind, value = error["type"], error["input"]
    if kind == "string_type" and not isinstance(value, list):
        return "; put text in quotes"
    if kind == "list_type" and isinstance(value, str):
        inner = value[1:-1] if value.startswith("[") and value.endswith("]") else value
        texts = [text.strip(" '\"") for text in inner.split(",")]
        return f"; write {json.dumps(texts, ensure_ascii=False)}"
    if kind == "bool_type" and str(value).lower() in _BOOLEANS_OF_YAML_1_1:
        return f"; write {_BOOLEANS_OF_YAML_1_1[str(value).lower()]}"
    return ""


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
