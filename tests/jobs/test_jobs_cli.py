"""The command line: one clear line, exit code 2, nothing half-written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from checkout import ROOT
from commands import pairmill
from pyspark.errors import PythonException
from typer.main import get_command
from typer.testing import CliRunner

from jobs import command
from jobs.cli import app
from pipeline import funnel
from pipeline.core.config_files import load_config, preset_names
from pipeline.training.config import TrainConfig

COMMANDS = sorted(get_command(app).commands)
GROUPED = (("queries", "build"), ("hashes", "build"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--set", "fecth.timeout_s=10"], "config_unknown_key: unknown setting fecth; did you mean fetch?"),
        (
            ["--set", "fetch.timout_s=10"],
            "config_unknown_key: unknown setting fetch.timout_s; did you mean fetch.timeout_s?",
        ),
        (["--set", 'fetch.timeout_s="10"'], "config_invalid: fetch.timeout_s is '10': input should be a valid number"),
        (["--set", "text.min_chars=-1"], "config_invalid: text.min_chars is -1: input should be greater than"),
        (["--set", "fetch.timeout_s=.nan"], "config_invalid: fetch.timeout_s is nan"),
        (["--set", "text={min_chars: 5, min_chars: 6}"], "duplicate key min_chars"),
        (["--set", "text={[a]: b}"], "config_invalid: --set text={[a]: b}: ['a'] cannot be a key"),
        (["--set", "text={? {a: 1} : b}"], "cannot be a key"),
        (["--set", "text.min_chars=2024-13-45"], "config_invalid: text.min_chars is '2024-13-45': input should"),
        (
            ["--set", "text.languages=no"],
            "config_invalid: text.languages is 'no': input should be a valid list; write [\"no\"]",
        ),
        (
            ["--set", "text.languages=[2024]"],
            "text.languages.0 is 2024: input should be a valid string; put text in quotes",
        ),
        (["--set", "extract.inputs=[*.tar]"], "; put text in quotes: --set 'extract.inputs=[\"*.tar\"]'"),
        (
            ["--set", "text={<<: {min_chras: 5}}"],
            "config_unknown_key: unknown setting text.min_chras; did you mean text.min_",
        ),
        (["--log", "xml"], "'xml' is not one of 'text', 'json'"),
        ([], "input_missing: no source: set crawl.seeds (URLs to start from) or extract.inputs (files)"),
        (["--set", "text=!!python/object/apply:os.system [id]"], "config_invalid: --set text"),
        (["--set", "text.min_chars"], "config_invalid: --set text.min_chars: write KEY=VALUE"),
        (["-c", "nosuch.yaml"], "input_missing: config nosuch.yaml does not exist"),
        (["--preset", "nosuch"], "config_invalid: unknown preset nosuch; choose from demo, "),
        (["--preset", "metclip"], "unknown preset metclip; choose from demo, metaclip, wit; did you mean metaclip?"),
        (["--set", "crawl.seeds=[http://a.test/]", "--set", "extract.inputs=[x]"], "config_invalid:"),
        (["--until", "nosuch"], "config_invalid: unknown stage nosuch; choose from crawl, extract"),
        (
            ["--until", "exprot"],
            "crawl, extract, text, fetch, dedup, attach, clip, select, export; did you mean export?",
        ),
        (["--set", "extract.inputs=[nosuch.warc.gz]"], "input_missing:"),
        (["--set", "crawl.seeds=[http://a.test/]"], "config_invalid: web.contact is"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_r1_r2_r3_c31(tmp_path: Path, arguments: list[str], line: str) -> None:
    """R1: an unknown key names the nearest. R2: wrong values. R3, X21: missing input. C31: no contact, no crawl."""
    done = pairmill("build", "--run", str(tmp_path / "run"), *arguments)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("pairmill: error: ")
    assert line in done.stderr
    assert not list((tmp_path / "run").glob("*/manifest.json"))


def test_a_folder_that_cannot_be_written_is_found_before_any_work_r5(tmp_path: Path) -> None:
    """R5: a plain file where the run should be, or on the way there; a name that no file system takes."""
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/run", "x" * 300):
        for arguments in (["build", "--set", "crawl.seeds=[http://a.test/]"], ["demo"]):
            done = pairmill(*arguments, "--run", str(tmp_path / place))
            assert done.returncode == 2, done.stderr
            assert done.stderr.startswith("pairmill: error: output_unwritable: ")
            assert len(done.stderr.strip().splitlines()) == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
def test_a_folder_that_cannot_be_looked_into_is_named_r5(tmp_path: Path, mode: int) -> None:
    """R5: below it, or it itself."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=mode)
    for place in (closed, closed / "run"):
        done = pairmill("build", "--set", "crawl.seeds=[http://a.test/]", "--run", str(place))
        assert done.returncode == 2
        assert done.stderr.startswith("pairmill: error: output_unwritable: ")


def test_without_arguments_the_help_is_shown() -> None:
    done = pairmill()
    assert (done.returncode, done.stderr) == (0, "")
    assert "build" in done.stdout


def test_merge_keys_of_yaml_work(tmp_path: Path) -> None:
    """One's own value wins over a merged one; it is not a duplicate key."""
    file = tmp_path / "config.yaml"
    file.write_text("fetch: &gentle {timeout_s: 5.0, per_host: 1}\ncrawl: {<<: {delay_s: 3.0, lanes: 1}, lanes: 2}\n")
    config = load_config(funnel.Config, file=file)
    assert (config.crawl.delay_s, config.crawl.lanes, config.fetch.per_host) == (3.0, 2, 1)


FROM_A_TASK = """An exception was thrown from the Python worker:
Traceback (most recent call last):
  File "store.py", line 10, in write
OSError: [Errno 28] No space left on device

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "store.py", line 12, in write
pipeline.core.errors.InputError: disk_full: No space left on device: free space, then run the same command again
"""


def test_an_error_of_ours_that_crossed_spark_keeps_its_code_r6(capsys: pytest.CaptureFixture[str]) -> None:
    """R6: the disk of a task is full."""
    assert command._fail_inside(PythonException(FROM_A_TASK), debug=False) == 2
    line = "pairmill: error: disk_full: No space left on device: free space, then run the same command again\n"
    assert capsys.readouterr().err == line
    mismatch = FROM_A_TASK.replace("InputError: disk_full", "StageError: ledger_mismatch")
    assert command._fail_inside(PythonException(mismatch), debug=False) == 1


def test_a_fault_inside_a_task_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    text = "Job aborted\nTraceback (most recent call last):\nKeyError: 'url'\n\n\tat org.apache.spark.Task.run\n"
    assert command._fail_inside(PythonException(text), debug=False) == 1
    assert capsys.readouterr().err.startswith("pairmill: error: stage_failed: KeyError: 'url' (--debug")


def test_a_machine_without_java_is_told_so_r20(tmp_path: Path) -> None:
    """R20: within seconds, with the way out."""
    urls = tmp_path / "urls.tsv"
    urls.write_text("url\tcaption\nhttp://a.test/x.jpg\ta red fox in the snow\n")
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = pairmill(
        "build",
        "--run",
        str(tmp_path / "run"),
        "--set",
        f"extract.inputs=['{urls}']",
        "--until",
        "text",
        env=environment,
    )
    assert done.returncode == 2, done.stderr
    assert "environment_invalid: no Java found" in done.stderr


def test_a_limit_of_open_files_that_is_too_low_for_spark_is_told_with_the_number_needed() -> None:
    """R20"""
    script = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
    script += "from pipeline.core.spark import SparkConfig, spark_session; spark_session(SparkConfig())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "environment_invalid: at most 256 files may be open at one time; Spark needs 400: ulimit -n" in done.stderr


def test_an_audit_of_no_run_says_so_a7(tmp_path: Path) -> None:
    """A7: no empty report is written."""
    done = pairmill("audit", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"pairmill: error: input_missing: {tmp_path} is not a run: config.yaml is missing")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_the_header_of_a_file_does_not_control_the_terminal_a30(tmp_path: Path, debug: list[str]) -> None:
    """A30: it would clear the screen, rename the window and turn the line around."""
    (tmp_path / "urls.csv").write_text("\x1b[2J\x1b]0;owned\x07\u202e,b\u200b\n1,2\n", encoding="utf-8")
    inputs = f'extract.inputs=["{tmp_path}/urls.csv"]'
    done = pairmill("build", "--run", str(tmp_path / "run"), "--set", inputs, *debug)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("pairmill: error: input_schema: ")
    assert "\\x1b[2J\\x1b]0;owned\\x07\\u202e, b\\u200b" in last
    assert done.stderr.replace("\n", "").isprintable()


def test_an_error_shows_no_signature_of_a_url_r36(tmp_path: Path) -> None:
    """R36"""
    (tmp_path / "list.txt").write_text("http://a.example:99999/b.jpg?w=1&X-Amz-Signature=0f3c\n")
    settings = ["--set", "crawl.seeds=[http://a.test/]", "--set", f'text.blocked_urls=["{tmp_path}/list.txt"]']
    done = pairmill("build", "--run", str(tmp_path / "run"), "--set", "web.contact=a@b.example", *settings)
    assert done.returncode == 2
    assert "?w=1&X-Amz-Signature=***" in done.stderr
    assert "0f3c" not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_script_too(name: str) -> None:
    """For spark-submit and torchrun; its help is that of the command."""
    script = [sys.executable, f"jobs/{name}.py", "--help"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == pairmill(name, "--help").stdout.split()


def help_of(*command: str) -> str:
    return CliRunner().invoke(app, [*command, "-h"], env={"COLUMNS": "100"}).output


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), *GROUPED])
def test_the_help_of_a_command_fits_on_a_screen(command: tuple[str, ...]) -> None:
    lines = help_of(*command).splitlines()
    assert lines[0].startswith(" ".join(("Usage:", "pairmill", *command)))
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


def example_lines() -> list[list[str]]:
    """Arguments of all examples that the help of any command shows."""
    shown = "".join(help_of(*command) for command in (*((name,) for name in COMMANDS), *GROUPED))
    examples = re.findall(r"^    pairmill ((?:.*\\\n)*.*)$", shown, re.MULTILINE)
    return [shlex.split(example.replace("\\\n", " ").partition(" > ")[0]) for example in examples]


def test_the_examples_are_accepted() -> None:
    """Every argument is one of the command's, every setting exists."""
    examples = example_lines()
    assert len(examples) > 15
    for name, *arguments in examples:
        command = get_command(app).commands[name]
        if (name, "build") in GROUPED:
            command = command.commands[arguments.pop(0)]
        values = command.make_context(name, arguments).params
        if name in ("build", "train"):
            load_config(
                funnel.Config if name == "build" else TrainConfig, values.get("preset"), sets=values["sets"] or []
            )


def test_the_help_names_all_presets() -> None:
    assert f"Named settings to start from: {', '.join(preset_names())}." in help_of("build")
    assert {"demo", "wit"} <= set(preset_names())


def test_the_version_is_that_of_the_package() -> None:
    done = pairmill("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"pairmill {metadata.version('pairmill')}\n", "")


def test_a_misspelt_command_names_the_nearest() -> None:
    done = pairmill("biuld")
    assert done.returncode == 2
    assert "'build'" in done.stderr


@pytest.mark.parametrize(("words", "completed"), [("pairmill bui", {"build"}), ("pairmill build --preset w", {"wit"})])
def test_a_shell_completes_commands_and_presets(words: str, completed: set[str]) -> None:
    """As the line in bash that `--install-completion` writes asks for it."""
    asked = {"_PAIRMILL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = pairmill(env=os.environ | asked)
    assert (done.returncode, set(done.stdout.split())) == (0, completed)


def test_completion_is_installed_on_request_alone(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert pairmill("--help", env=os.environ | home).returncode == 0
    assert not list(tmp_path.iterdir())
    done = pairmill("--install-completion", "bash", env=os.environ | home)
    assert done.returncode == 0, done.stderr
    assert "complete_bash" in (tmp_path / ".bash_completions" / "pairmill.sh").read_text()


@pytest.mark.parametrize("name", ["queries", "hashes"])
def test_a_group_without_a_command_shows_its_help(name: str) -> None:
    done = pairmill(name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: pairmill {name} [OPTIONS] COMMAND")
