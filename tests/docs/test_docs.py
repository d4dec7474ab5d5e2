"""The documents tell the truth: what is generated is current, what is named exists, what is tested is listed."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from checkout import ROOT
from pydantic import BaseModel

from jobs.cli import app
from pipeline import stages_doc
from pipeline.audit import FindingCode
from pipeline.core.config import kind_of
from pipeline.core.errors import ErrorCode
from pipeline.funnel import STAGES, Config

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
REFRESH = "run `python -m pipeline.stages_doc docs`"

FAULT = re.compile(r"\b[COXTFDLERNVA]\d{1,2}\b")
FAULT_IN_NAME = re.compile(r"_([coxtfdlernva]\d{1,2})(?=_|$)")
ABOUT_THE_SMALL_WEB = {
    "test_smallweb_server.py",
    "test_smallweb_site.py",
}  # what it plants, not what pairmill makes of it


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def table_rows(text: str) -> Iterator[list[str]]:
    """Cells of the tables of a page, code marks and heads left out."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# -- what is generated


def test_the_page_of_stages_is_what_the_code_says() -> None:
    assert text_of("docs/stages.md") == stages_doc.markdown(), f"docs/stages.md is behind the code: {REFRESH}"


def test_the_page_of_settings_is_what_the_code_says() -> None:
    assert text_of("docs/settings.md") == stages_doc.settings_markdown(), f"docs/settings.md is behind: {REFRESH}"


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, object]]:
    """Every key below a config with kind and default, read from the models themselves."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind_of(model, name).value, field.get_default(call_default_factory=True)


def test_every_setting_is_documented_with_kind_and_default() -> None:
    documented = {cells[0]: cells for cells in table_rows(text_of("docs/settings.md"))}
    for key, kind, default in keys_of(Config):
        assert key in documented, f"{key} is not in docs/settings.md: {REFRESH}"
        assert documented[key][1] == kind
        assert documented[key][2] == stages_doc.as_text(default)
        assert documented[key][4], f"{key} has no description"


def test_every_column_and_every_reason_is_documented() -> None:
    plain, page = stages_doc.plain(), text_of("docs/stages.md")
    for stage in STAGES:
        for name in (*stage.adds.names, *stage.reasons):
            assert f"| `{name}` |" in page
            assert f"    {name}" in plain
    undescribed = [
        f"{stage.name}.{column.name}"
        for stage in STAGES
        for column in stage.adds
        if not (column.metadata or {}).get(b"description")
    ]
    assert undescribed == []


# -- what is named


def test_every_make_target_is_documented() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", text_of("Makefile"), re.MULTILINE)
    assert targets
    said = text_of("README.md") + text_of("CONTRIBUTING.md")
    assert [target for target in targets if not re.search(rf"make {target}\b(?!-)", said)] == []


def test_every_command_that_is_named_exists() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    commands |= {group.typer_instance.info.name for group in app.registered_groups}
    named = {name for page in PAGES for name in re.findall(r"`(?:\$ )?pairmill ([a-z]+)", page.read_text("utf-8"))}
    assert named - commands == set()


def linked_from(page: Path) -> set[Path]:
    """Files and folders of the repository that a page links or shows."""
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    local = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    return {(page.parent / target).resolve() for target in local if target}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert [str(target) for target in linked_from(page) if not target.exists()] == []


def test_every_page_and_image_under_docs_is_linked_from_another_page() -> None:
    files = {file.resolve() for file in DOCS.rglob("*") if file.is_file()}
    linked = {target for page in PAGES for target in linked_from(page) - {page.resolve()}}
    assert sorted(str(file.relative_to(ROOT.resolve())) for file in files - linked) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_folder_that_is_named_exists(page: Path) -> None:
    """A path in code marks begins at the root of the repository; ``<stage>`` stands for each of them."""
    tops = "|".join(sorted(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")))
    named = re.findall(rf"`((?:{tops})/[^`\s*:]*)`", page.read_text(encoding="utf-8"))
    paths = [path.replace("<stage>", stage.name) for path in named for stage in STAGES]
    assert sorted({path for path in paths if not (ROOT / path).exists()}) == []


def test_the_architecture_walks_through_the_stages_in_order() -> None:
    steps = re.findall(r"^\d+\. `pipeline/stages/(\w+)/stage\.py`", text_of("docs/ARCHITECTURE.md"), re.MULTILINE)
    assert steps == [stage.name for stage in STAGES]


def test_the_picture_shows_every_stage_in_order_and_asks_for_nothing() -> None:
    picture = DOCS / "img" / "dataflow.svg"
    shapes = ElementTree.parse(picture).getroot().iter("{http://www.w3.org/2000/svg}text")
    names = {stage.name for stage in STAGES}
    assert [shape.text for shape in shapes if shape.text in names] == [stage.name for stage in STAGES]
    assert not re.search(r"(href|url)\W+(https?:|data:|//)|<script", picture.read_text(encoding="utf-8"))


# -- what is tested


def test_every_file_with_long_tests_is_listed_with_what_make_test_has_of_it() -> None:
    files = (file for file in (ROOT / "tests").rglob("test_*.py") if file != Path(__file__).resolve())
    long = {file.relative_to(ROOT).as_posix() for file in files if "pytest.mark.long" in file.read_text("utf-8")}
    listed = {cells[0] for cells in table_rows(text_of("CONTRIBUTING.md")) if cells[0].startswith("tests/")}
    todo = f"CONTRIBUTING.md: add rows for {sorted(long - listed)}; remove {sorted(listed - long)}"
    assert listed == long, todo


def faults_named_by_tests() -> dict[str, set[str]]:
    """Fault ids in names and docstrings of tests, with the files that name them (relative to the repository)."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in (ROOT / "tests").rglob("test_*.py"):
        if file.name in ABOUT_THE_SMALL_WEB or file == Path(__file__).resolve():
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                named = FAULT.findall(ast.get_docstring(node) or "") + FAULT_IN_NAME.findall(node.name)
                for fault in named:
                    found[fault.upper()].add(file.relative_to(ROOT).as_posix())
    return found


def fault_rows() -> dict[str, list[str]]:
    rows = [cells for cells in table_rows(text_of("docs/faults.md")) if FAULT.fullmatch(cells[0])]
    assert len({cells[0] for cells in rows}) == len(rows), "an id stands twice in docs/faults.md"
    return {cells[0]: cells for cells in rows}


def by_number(fault: str) -> tuple[str, int]:
    return fault[0], int(fault[1:])


def test_the_faults_listed_are_those_that_tests_name() -> None:
    named, listed = faults_named_by_tests(), fault_rows()
    missing = [f"{fault} ({', '.join(sorted(named[fault]))})" for fault in sorted(named.keys() - listed, key=by_number)]
    surplus = sorted(listed.keys() - named, key=by_number)
    todo = f"docs/faults.md: add rows for {', '.join(missing) or 'nothing'}; remove {', '.join(surplus) or 'nothing'}"
    assert (missing, surplus) == ([], []), todo


def test_the_tests_listed_for_a_fault_name_it() -> None:
    named = faults_named_by_tests()
    for fault, cells in fault_rows().items():
        linked = set(re.findall(r"\]\(\.\./([^)]+)\)", cells[4]))
        assert linked, f"{fault} names no test"
        assert linked <= named[fault], f"{fault} is not named in {', '.join(sorted(linked - named[fault]))}"


def test_every_error_code_is_documented_and_no_other() -> None:
    _, _, section = text_of("docs/faults.md").partition("## Exit codes")
    listed = [cells[0] for cells in table_rows(section)][1:]
    assert sorted(listed) == sorted(ErrorCode)


def test_every_error_has_a_code_of_the_enum_and_every_code_is_used() -> None:
    errors, literal, named = {"InputError", "StageError", "ProcessLost"}, set(), {code.name for code in FindingCode}
    for file in (file for top in ("pipeline", "jobs") for file in (ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "ErrorCode":
                named.add(node.attr)
            is_error = isinstance(node, ast.Call) and getattr(node.func, "id", "") in errors
            if is_error and isinstance(node.args[0], ast.Constant | ast.JoinedStr):
                literal.add(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert literal == set()
    assert named == set(ErrorCode.__members__)


def test_every_reason_of_a_fault_is_one_that_a_stage_or_a_command_gives() -> None:
    known = {*ErrorCode} | {reason for stage in STAGES for reason in stage.reasons}
    foreign = {
        f"{fault}: {code}"
        for fault, cells in fault_rows().items()
        for code in re.findall(r"\b[a-z]+_[a-z_0-9]+\b", cells[3])
        if code not in known
    }
    assert foreign == set()
