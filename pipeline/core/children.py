"""Child processes of ours: Python programs that may die of what they are given, and cost nothing else when they do.

Native parsers and decoders read bytes of strangers. What crashes them, hangs them or eats memory costs itself: the
child is replaced, the next message goes on. The child bounds itself, so it also ends when its parent is killed: CPU
time by an interval timer (of CPU time, since a busy machine must not decide what is lost), memory by a limit of the
system. The price is one start of Python a task and a copy of each message through a pipe.

A program of this kind imports all it needs and ends with ``serve(answer, ...)``; ``Child`` starts it and asks it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import IO, Self

from pipeline.core.errors import ErrorCode, StageError

_SIZE = struct.Struct("<Q")
_READY = b"ready"
_PIPE_BYTES = 1 << 20  # where the system can: most messages pass in one turn
_DYING_S = 5.0  # for the system to clear a gigabyte away


class Death(Enum):
    """What a child died of."""

    TIME = "CPU time"
    MEMORY = "memory"
    CRASH = "crash"


class ChildDied(Exception):
    """The child died of the message it was asked about. ``detail`` says how, e.g. "SIGSEGV"."""

    def __init__(self, death: Death, detail: str) -> None:
        super().__init__(death, detail)
        self.death = death
        self.detail = detail


class Child:
    """``python -m module argument``, started with the first message and again after each death. One asker at a time."""

    def __init__(self, module: str, argument: str, variables: Mapping[str, str] | None = None) -> None:
        self._module, self._argument = module, argument
        self._variables = variables or {}
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def ask(self, message: bytes) -> bytes:
        """The answer to ``message``; ChildDied where the child dies instead, StageError where none can be started."""
        child = self._child or self._start()
        assert child.stdin and child.stdout  # noqa: PT018
        try:
            _write(child.stdin, message)
            answer = _read(child.stdout)
        except OSError:
            answer = None
        if answer is None:
            raise self._buried(child)
        return answer

    def stop(self) -> None:
        """End the child, if there is one."""
        child, self._child = self._child, None
        if child:
            child.kill()
            _end_of(child)

    def _start(self) -> subprocess.Popen[bytes]:
        # The child imports what the parent can, wherever the parent's code came from.
        child = subprocess.Popen(
            [sys.executable, "-m", self._module, self._argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment() | dict(self._variables),
        )
        assert child.stdin and child.stdout  # noqa: PT018
        for pipe in (child.stdin, child.stdout):
            with suppress(OSError, AttributeError):  # a user may have so many large pipes, and some systems have none
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        if _read(child.stdout) != _READY:
            child.kill()
            _end_of(child)
            raise StageError(ErrorCode.CHILD_NOT_STARTED, f"the process of {self._module} does not start")
        self._child = child
        return child

    def _buried(self, child: subprocess.Popen[bytes]) -> ChildDied:
        """What became of a child that gives no answer: it is dead, or about to be."""
        self._child = None
        code = _end_of(child)
        if code == -signal.SIGPROF:
            return ChildDied(Death.TIME, "CPU time is over")
        if code == errno.ENOMEM:
            return ChildDied(Death.MEMORY, "memory is over")
        return ChildDied(Death.CRASH, signal.Signals(-code).name if code < 0 else f"exit code {code}")


def serve(answer: Callable[[bytes], bytes], cpu_s: float, max_bytes: int) -> None:
    """The child's life: a message in, its answer out, until the parent closes the pipe.

    ``cpu_s`` bounds the CPU time of one message, ``max_bytes`` the memory beyond what is held when this is called.
    """
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library that prints must not speak in between
    _limit_self(max_bytes)
    _write(answers, _READY)
    while (message := _read(requests)) is not None:
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        try:
            reply = answer(message)
        except MemoryError:
            os._exit(errno.ENOMEM)
        signal.setitimer(signal.ITIMER_PROF, 0)
        try:
            _write(answers, reply)
        except BrokenPipeError:  # the parent was killed while this was under way
            os._exit(errno.EPIPE)


def environment() -> dict[str, str]:
    """The environment of a child with our own search path, in our order.

    The order matters: before the standard library, a folder of packages may hide it (with a PyPI ``dataclasses``).
    """
    return os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


def _end_of(child: subprocess.Popen[bytes]) -> int:
    """The exit code of a child that is ending, with its pipes closed."""
    for pipe in (child.stdin, child.stdout):
        with suppress(OSError):  # the rest of a message that nobody reads
            if pipe:
                pipe.close()
    try:
        return child.wait(_DYING_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _limit_self(max_bytes: int) -> None:
    """SIGPROF ends the process by default, also inside native code."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm", encoding="ascii") as statm:
        held_bytes = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held_bytes + max_bytes,) * 2)


def _write(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(_SIZE.pack(len(message)))
    pipe.write(message)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes | None:
    """One message; None where the other side has gone."""
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    (size,) = _SIZE.unpack(head)
    message = pipe.read(size)
    return message if len(message) == size else None
