"""The one family of errors a person sees, as a tree: what was wrong, the value, the way out.

    PairmillError
    ├── InputError       bad run-level input: fix the config, the data or the machine; exit code 2
    └── StageError       a stage failed inside: finished work is kept, the next run resumes; exit code 1
        └── ProcessLost  another process of a training is gone

Bad *rows* are verdicts, never exceptions. The message is one line; jobs print it as
``pairmill: error: CODE: TEXT`` and show a traceback only with ``--debug``.
"""

from __future__ import annotations

from typing import ClassVar


class PairmillError(Exception):
    """``code`` is one of the exit codes of docs/faults.md; ``text`` is one line."""

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)  # both in args, so that the error survives pickling between Spark processes
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class InputError(PairmillError):
    """The user's input: config, files, environment. Nothing half-written is left visible."""

    exit_code = 2


class StageError(PairmillError):
    """A stage failed inside. What is committed stays; the same command goes on from there."""

    exit_code = 1


class ProcessLost(StageError):
    """Another process of this training is gone.

    Threads of torch's may wait for it for an hour, and the interpreter's own end for them: end by ``os._exit``.
    """
