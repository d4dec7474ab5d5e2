"""The reference of all stages, generated from the code: `pairmill stages`, docs/stages.md and docs/settings.md.

No stage is described here. Its text comes from the docstring of its module, its columns from the Arrow schema, its
settings from the pydantic model, its reasons from the enum and the comments in it, and what drops a row from the
rules under the default settings.

    python -m pipeline.stages_doc docs      writes docs/stages.md and docs/settings.md
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from pipeline.core.config import kind_of
from pipeline.core.rules import CoreReason
from pipeline.core.stage import Stage, rows_schema
from pipeline.funnel import BY_NAME, STAGES, Config
from schemas.export import CORPUS
from schemas.fields import description, unit
from schemas.ledger import LEDGER

GENERATED = "Generated from the code by `python -m pipeline.stages_doc docs`; a test checks that the two agree."
CODE_COLUMNS = frozenset({"column", "type", "key", "default", "code", "dropped when", "stage"})
READING = """The stages in the order in which they run. The column "dropped when" shows the rules under the default
settings. If it is empty, no rule gives that reason by default; `not_measured` is given when a rule reads a null. The
first rule that matches decides. `--retry-failed` tries rows with a retryable reason again."""
KINDS = """A **measure** setting affects measured values: after a change, rows are measured again.
A **decide** setting affects only verdicts: after a change, the rules are applied again to the stored rows.
An **operate** setting affects how the work is done: after a change, nothing is done again.
A **content** setting names files. Their content counts, not their path: if it changes, the rows are measured again
(**content, measure**), or the stage reads it as new input and keeps its measurements (**content, input**).

Set one with `--set KEY=VALUE` (VALUE is YAML) or in a YAML file given with `--config`."""


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; cells may be empty; an empty table is not shown."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class Chapter:
    """One heading of a document."""

    name: str
    prose: list[str]  # paragraphs
    facts: list[tuple[str, str]]
    tables: list[Table]


def plain() -> str:
    """Every stage in funnel order, for a terminal."""
    return "\n".join(_plain(chapter) for chapter in stage_chapters())


def markdown() -> str:
    """docs/stages.md."""
    overview = Table(
        "",
        ("stage", "measures", "hands on", "reads", "reasons"),
        [
            (stage.name, f"{stage.unit}s", f"{stage.keeps[0]}s", ", ".join(stage.reads), str(len(stage.reasons)))
            for stage in STAGES
        ],
    )
    tables = [
        Chapter(
            "The corpus",
            ["The Parquet file beside each tar; a sample's JSON has the same fields."],
            [],
            [Table("", COLUMN_HEAD, _columns(CORPUS))],
        ),
        Chapter(
            "The ledger", ["One row per row that a stage dropped."], [], [Table("", COLUMN_HEAD, _columns(LEDGER))]
        ),
    ]
    top = Chapter("", [READING, GENERATED], [], [overview])
    return _document("Stages", [top, *stage_chapters(), *tables])


def settings_markdown() -> str:
    """docs/settings.md."""
    chapters = [
        Chapter(name, [_first_paragraph(model)], [], [Table("", SETTING_HEAD, list(_settings(model, f"{name}.")))])
        for name, model in _sections(Config)
    ]
    top_level = [row for row in _settings(Config) if "." not in row[0].partition("[")[0]]
    rest = Chapter("Top level", [], [], [Table("", SETTING_HEAD, top_level)])
    return _document("Settings", [Chapter("", [KINDS, GENERATED], [], []), *chapters, rest])


# -- what the code says


COLUMN_HEAD = ("column", "type", "unit", "what")
SETTING_HEAD = ("key", "kind", "default", "values", "what")


def stage_chapters() -> Iterator[Chapter]:
    """One chapter per stage, in funnel order."""
    for stage in STAGES:
        module = sys.modules[type(stage).__module__]
        summary, *more = _paragraphs(module)
        facts = [
            ("measures", f"{stage.unit}s, by {stage.key}"),
            ("hands on", f"{stage.keeps[0]}s, by {stage.keeps[1]}"),
            ("reads", ", ".join(stage.reads) or "the input of the run"),
            ("looks at", _looks_at(stage)),
            ("carries", ", ".join(stage.carries) or "nothing (it makes its own rows)"),
            ("source", " ".join(match[1].split()) if (match := SOURCE.search("\n\n".join(more))) else ""),
            ("code", module.__name__.replace(".", "/") + ".py"),
        ]
        yield Chapter(
            stage.name,
            [_sentence(summary.removeprefix(f"{stage.name}:")), *(text for text in more if not CONTRACT.match(text))],
            [(name, text) for name, text in facts if text],
            [
                Table("Columns it measures", COLUMN_HEAD, _columns(stage.adds)),
                Table("Settings", SETTING_HEAD, list(_settings(stage.Config, f"{stage.name}."))),
                Table("Reasons", ("code", "retryable", "dropped when", "about"), _reasons(stage)),
            ],
        )


def _looks_at(stage: Stage[Any]) -> str:
    """What it sees besides the rows it reads, under the default settings."""
    seen = stage.looks_at(stage.Config())
    named = [f"all rows of {name}" for name in seen.rows]
    named += [f"the fact {name}" for name in seen.facts] + [f"the files {name}" for name in seen.files]
    return ", ".join(
        [*named, *(f"the setting {name}" if "." in name else f"the section {name}" for name in seen.settings)]
    )


CONTRACT = re.compile(r"(Reads|Adds|Source)  ")  # the table in a stage's docstring; here it comes from the code
SOURCE = re.compile(r"^Source  +(.*(?:\n +.*)*)", re.MULTILINE)


def _columns(schema: pa.Schema) -> list[tuple[str, ...]]:
    return [(field.name, str(field.type), unit(field), description(field)) for field in schema]


def _sections(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield name, field.annotation


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, ...]]:
    sections = dict(_sections(model))
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        if name in sections:
            yield from _settings(sections[name], f"{prefix}{name}.")
            continue
        default = "" if field.is_required() else as_text(field.get_default(call_default_factory=True))
        values = _values(schema["properties"][name])
        yield f"{prefix}{name}", kind_of(model, name).value, default, values, field.description or ""
        for item in get_args(field.annotation):
            if isinstance(item, type) and issubclass(item, BaseModel):
                yield from _settings(item, f"{prefix}{name}[].")


def as_text(value: Any) -> str:
    """A value as the documents show it: JSON, which is YAML too."""
    return json.dumps(to_jsonable_python(value), ensure_ascii=False)


BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "at least {}",
    "minLength": "at least {} long",
    "maxLength": "at most {} long",
}
TYPES = {"integer": "integer", "number": "number", "boolean": "true or false", "string": "text", "object": "mapping"}


def _values(schema: Mapping[str, Any]) -> str:
    """What a setting accepts, according to its JSON schema."""
    if "enum" in schema or "const" in schema:
        return " or ".join(schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(_values(choice) for choice in schema["anyOf"])
    kind = schema.get("type", "")
    if kind == "array":
        items = _values(schema["items"])
        kind = f"list of {items}" if items else "list"
    bounds = [text.format(schema[name]) for name, text in BOUNDS.items() if name in schema]
    return ", ".join([TYPES.get(kind, kind), *bounds])


def _reasons(stage: Stage[Any]) -> list[tuple[str, ...]]:
    """The closed set: first the reasons of the default rules, in their order; last those of the core."""
    schema = rows_schema(stage, BY_NAME)
    conditions: dict[str, list[str]] = {}
    for rule in stage.rules(stage.Config()):
        conditions.setdefault(str(rule.reason), []).append(_readable(rule.when.sql(schema)))
    place = {code: number for number, code in enumerate([*conditions, *stage.reasons])}
    codes = sorted(stage.reasons, key=lambda code: (code in list(CoreReason), place[code]))
    return [
        (code, "yes" if code in stage.retryable else "no", " or ".join(conditions.get(code, [])), _about(stage, code))
        for code in dict.fromkeys(codes)
    ]


def _readable(sql: str) -> str:
    """SQL without the parts that only make dialects agree (`pipeline.core.rules`)."""
    sql = re.sub(r"nullif\((\w+), CAST\('NaN' AS DOUBLE\)\)", r"\1", sql)
    sql = re.sub(r"CAST\((-?[\d.e+-]+) AS DOUBLE\)", r"\1", sql)
    return sql[1:-1] if sql.startswith("(") and sql.endswith(")") else sql


def _about(stage: Stage[Any], code: str) -> str:
    """The comment at the definition of the reason; the set of a stage may be built from other enums."""
    module = sys.modules[stage.Reason.__module__]
    enums = [enum for enum in vars(module).values() if isinstance(enum, type) and issubclass(enum, StrEnum)]
    comments = (_comments(enum) for enum in (*enums, CoreReason))
    return next((found[code] for found in comments if code in found), "")


MEMBER = re.compile(r"    ([A-Z][A-Z0-9_]*) = .*?(?:  # (.*))?")


@cache
def _comments(enum: type[StrEnum]) -> dict[str, str]:
    """By value: the comment on a member's line, else the one above its group, else the docstring of the enum."""
    try:
        lines = inspect.getsource(enum).splitlines()
    except (OSError, TypeError):  # built by a call: without source of its own
        return {}
    found: dict[str, str] = {}
    group = ""
    is_open = False
    for line in lines:
        if line.strip().startswith("#"):
            group = f"{group} {line.strip(' #')}" if is_open else line.strip(" #")
            is_open = True
            continue
        is_open = False
        member = MEMBER.fullmatch(line)
        if member and member[1] in enum.__members__:
            found[enum[member[1]].value] = member[2] or group or _first_paragraph(enum)
    return found


def _paragraphs(thing: Any) -> list[str]:
    return (inspect.getdoc(thing) or "").replace("``", "`").split("\n\n")


def _first_paragraph(thing: Any) -> str:
    return _paragraphs(thing)[0].replace("\n", " ")


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:]


# -- how it is written


def _document(title: str, chapters: Iterable[Chapter]) -> str:
    return "\n\n".join([f"# {title}", *(block for chapter in chapters for block in _markdown(chapter))]) + "\n"


def _markdown(chapter: Chapter) -> Iterator[str]:
    if chapter.name:
        yield f"## {chapter.name}"
    yield from filter(None, chapter.prose)
    if chapter.facts:
        yield "\n".join(f"- {name}: {text}" for name, text in chapter.facts)
    for table in chapter.tables:
        if table.rows:
            if table.title:
                yield f"### {table.title}"
            lines = [table.head, ("---",) * len(table.head), *(_marked(table.head, row) for row in table.rows)]
            yield "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _marked(head: tuple[str, ...], row: tuple[str, ...]) -> tuple[str, ...]:
    escaped = (cell.replace("|", "\\|") for cell in row)
    return tuple(
        f"`{cell}`" if name in CODE_COLUMNS and cell else cell for name, cell in zip(head, escaped, strict=True)
    )


def _plain(chapter: Chapter) -> str:
    lines = [f"{chapter.name}: {chapter.prose[0]}", *_aligned(chapter.facts)]
    for table in chapter.tables:
        if table.rows:
            lines += [f"  {table.title.lower()}", *_aligned(table.rows)]
    return "\n".join(lines) + "\n"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows as lines of a table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def main(folder: str) -> None:
    """Write both documents into a folder."""
    Path(folder, "stages.md").write_text(markdown(), encoding="utf-8")
    Path(folder, "settings.md").write_text(settings_markdown(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
