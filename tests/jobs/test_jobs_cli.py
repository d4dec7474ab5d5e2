"""The command line: one clear line, exit code 2, nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PAIRMILL = [sys.executable, "-m", "jobs.cli"]
ROOT = Path(__file__).resolve().parents[2]


def pairmill(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PAIRMILL, *arguments], capture_output=True, text=True, timeout=120, cwd=ROOT, **options)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--set", "fecth.timeout_s=10"], "config_unknown_key: fecth is no setting; did you mean fetch?"),
        (["--set", "fetch.timout_s=10"], "config_unknown_key: fetch.timout_s is no setting; did you mean fetch.timeout_s?"),
        (["--set", 'fetch.timeout_s="10"'], "config_invalid: fetch.timeout_s is '10': input should be a valid number"),
        (["--set", "text.min_chars=-1"], "config_invalid: text.min_chars is -1: input should be greater than"),
        (["--set", "fetch.timeout_s=.nan"], "config_invalid: fetch.timeout_s is nan"),
        (["--set", "text={min_chars: 5, min_chars: 6}"], "the key min_chars stands twice"),
        (["--set", "text=!!python/object/apply:os.system [id]"], "config_invalid: --set text"),
        (["--set", "text.min_chars"], "config_invalid: --set text.min_chars: write it as KEY=VALUE"),
        (["-c", "nosuch.yaml"], "input_missing: config nosuch.yaml is not there"),
        (["--preset", "nosuch"], "config_invalid: no preset nosuch; there are: demo"),
        (["--set", "crawl.seeds=[http://a.test/]", "--set", "extract.inputs=[x]"], "config_invalid:"),
        (["--until", "nosuch"], "config_invalid: no stage nosuch; there are: crawl, extract"),
        (["--set", "extract.inputs=[nosuch.warc.gz]"], "input_missing:"),
        (["--set", "crawl.seeds=[http://a.test/]"], "config_invalid: web.contact is"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2_r1_r2_r3_c31(tmp_path: Path, arguments: list[str], line: str) -> None:
    """R1: an unknown key names the nearest. R2: wrong values. R3, X21: missing input. C31: no contact, no crawl."""
    done = pairmill("build", "--run", str(tmp_path / "run"), *arguments)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("pairmill: error: ")
    assert line in done.stderr
    assert not list((tmp_path / "run").glob("*/manifest.json"))


def test_a_folder_that_cannot_be_written_is_found_before_any_work_r5(tmp_path: Path) -> None:
    """R5: a plain file where the run should be."""
    (tmp_path / "file").write_text("mine")
    done = pairmill("build", "--run", str(tmp_path / "file"))
    assert done.returncode == 2
    assert "output_unwritable" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


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


def test_an_audit_of_no_run_says_so_a7(tmp_path: Path) -> None:
    """A7: no empty report is written."""
    done = pairmill("audit", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"pairmill: error: input_missing: {tmp_path} is no run")
    assert not list(tmp_path.iterdir())


def test_every_command_is_a_job_for_spark_submit() -> None:
    for name in ("build", "audit", "why", "demo"):
        done = subprocess.run(
            [sys.executable, f"jobs/{name}.py", "--help"], capture_output=True, text=True, timeout=60, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        assert name in done.stdout
