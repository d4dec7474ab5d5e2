"""Runs a command line: an error gives one line on stderr and an exit code; a signal ends it cleanly.

Exit codes: 0 done, 1 a stage failed or an audit found something, 2 invalid input, 130 / 143 ended by a signal.
Progress goes to stderr, results to stdout.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from jobs.signals import Stopped, StopSignals
from pipeline.core.errors import ErrorCode, InputError, PairmillError, ProcessLost, StageError
from pipeline.core.secrets import without_secrets
from pipeline.core.visible import visible

NAME = "pairmill"
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
Job = Callable[..., None]


def new_app(completion: bool = False, **options: Any) -> typer.Typer:
    """A command line without commands yet."""
    options |= {"context_settings": CONTEXT, "add_completion": completion}
    return typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None, **options)


def new_group(name: str, help: str) -> typer.Typer:
    """A command with subcommands; it shows its help if none is given."""
    group = new_app(name=name, help=help)

    @group.callback(invoke_without_command=True)
    def _show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            print(context.get_help())

    return group


def examples(*lines: str) -> Callable[[Job], Job]:
    """Add example calls to a command; they are shown at the end of its help."""

    def keep(job: Job) -> Job:
        job.examples = lines  # type: ignore[attr-defined]
        return job

    return keep


def add_job(app: typer.Typer, job: Job) -> None:
    """Make a function a command."""
    lines = ("\b", "Examples:", *(f"  {line}" for line in getattr(job, "examples", ())))
    app.command(context_settings=CONTEXT, epilog="\n".join(lines))(job)


def run_job(job: Job | typer.Typer) -> NoReturn:
    """Run one command or group as a script of its own (``python jobs/JOB.py ...``, spark-submit, torchrun)."""
    if isinstance(job, typer.Typer):
        run(job, f"{NAME} {job.info.name}")
    app = new_app()
    add_job(app, job)
    run(app, f"{NAME} {job.__name__}")


def run(app: typer.Typer, name: str = NAME) -> NoReturn:
    """Run a command line with the arguments of this process, then end the process; ``name`` is for the help."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    signals = StopSignals()
    try:
        app(args=arguments, prog_name=name, standalone_mode=False)
        code = 0
    except ProcessLost as error:
        _fail(error.code, error.text, error.exit_code, debug)
        _end_at_once(error.exit_code)
    except PairmillError as error:
        code = _fail(error.code, error.text, error.exit_code, debug)
    except (Stopped, KeyboardInterrupt, typer.Abort):
        code = _fail_stopped(signals.number or signal.SIGINT, debug)
    except typer.Exit as request:
        code = request.exit_code
    except typer.BadParameter as error:
        code = _fail(ErrorCode.CONFIG_INVALID, error.format_message(), 2, debug)
    except Exception as error:  # after a signal: clean-up failed because the JVM was ending too
        code = _fail_stopped(signals.number, debug) if signals.number else _fail_inside(error, debug)
    sys.stdout.flush()
    sys.exit(code)


def _end_at_once(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _fail(code: str, text: str, exit_code: int, debug: bool) -> int:
    if debug:
        for line in traceback.format_exc().splitlines():
            print(visible(without_secrets(line)), file=sys.stderr)
    line = without_secrets(" ".join(text.splitlines()))  # a name may have line ends
    print(f"pairmill: error: {code}: {visible(line)}", file=sys.stderr)
    return exit_code


def _fail_stopped(number: int, debug: bool) -> int:
    text = "stopped; finished parts are kept, run the same command again to resume"
    if number == signal.SIGINT:
        return _fail(ErrorCode.INTERRUPTED, text, 130, debug)
    return _fail(ErrorCode.TERMINATED, text, 143, debug)


def _fail_inside(error: Exception, debug: bool) -> int:
    """pairmill's own errors return from Spark as text; any other error is a bug or a failure of the machine."""
    usage = getattr(error, "format_message", None)
    if usage is not None:  # click's own usage errors
        return _fail(ErrorCode.CONFIG_INVALID, " ".join(usage().split()), 2, debug)
    text = str(error)
    found = re.search(r"pipeline\.core\.errors\.(InputError|StageError): ([a-z_]+): (.*)", text)
    if found:
        kind = InputError if found[1] == "InputError" else StageError
        return _fail(ErrorCode(found[2]), found[3], kind.exit_code, debug)
    last = [line for line in text.strip().splitlines() if line.strip()]
    causes = [line.strip() for line in last if re.match(r"^\s*[\w.]*(Error|Exception): ", line)]
    message = (causes or last or [type(error).__name__])[-1 if causes else 0][:300]
    return _fail(ErrorCode.STAGE_FAILED, f"{message} (--debug shows where; finished parts are kept)", 1, debug)
