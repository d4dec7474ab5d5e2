"""Child processes: Python programs that may crash on untrusted input without harming the task.

Native parsers and decoders read untrusted bytes. An input that crashes one, hangs it or uses too much memory loses
only itself: the child is replaced and the next message is handled. The child limits itself, so it also ends if its
parent is killed: CPU time by an interval timer (CPU time, so that a busy machine does not change results), memory by a
system limit, and by a second timer the time that passes, because a child that sleeps or waits uses no CPU time. What
passes depends on the machine: a message is to blame only if a second, fresh child gives no answer either. The cost is
one start of Python per task and a copy of each message through a pipe.

A child gets only what it needs of our environment: an input that takes a child over finds no credentials there.

Such a program imports all it needs and ends with ``serve(answer, ...)``; ``Child`` starts it and sends messages.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import IO, Self

from pipeline.core.errors import ErrorCode, StageError

_SIZE = struct.Struct("<Q")
_READY = b"ready"
_PIPE_BYTES = 1 << 20  # if the system allows it: most messages then need one write
_STARTING_S = 300.0  # imports on a machine that is very busy
WALL_PER_CPU = 20.0  # time that may pass for each second of CPU time
_DYING_S = 5.0  # the system may need this long to free a gigabyte

_NEEDED = "PATH HOME USER LOGNAME LANG LANGUAGE TZ TMPDIR TEMP TMP LD_LIBRARY_PATH VIRTUAL_ENV XDG_CACHE_HOME"
PASSED_ON = frozenset(_NEEDED.split())
PASSED_ON_PREFIXES = ("LC_", "PYTHON", "NUMBA_", "OMP_", "KMP_", "OPENBLAS_", "MKL_", "MALLOC_")


class Death(Enum):
    """Why a child died."""

    TIME = "CPU time"
    CLOCK = "time"  # of two children in a row
    MEMORY = "memory"
    CRASH = "crash"


class ChildDied(Exception):
    """The child died while handling a message. ``detail`` says how, such as "SIGSEGV"."""

    def __init__(self, death: Death, detail: str) -> None:
        super().__init__(death, detail)
        self.death = death
        self.detail = detail


class Child:
    """``python -m module argument``, started with the first message and after each death. Not for concurrent use."""

    def __init__(self, module: str, argument: str, variables: Mapping[str, str] | None = None) -> None:
        self._module, self._argument = module, argument
        self._variables = variables or {}
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it now, so that the first message does not wait for it. May run beside the first message."""
        with self._lock:
            if self._child is None:
                self._start()

    def ask(self, message: bytes, tries: int = 2) -> bytes:
        """The answer to ``message``; ChildDied if the child dies instead, StageError if no child can be started. If no
        answer comes in time, it is asked ``tries`` times."""
        for _ in range(tries - 1):
            try:
                return self._ask(message)
            except ChildDied as died:
                if died.death is not Death.CLOCK:
                    raise
        return self._ask(message)

    def _ask(self, message: bytes) -> bytes:
        with self._lock:
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
        """End the child, if it is running."""
        child, self._child = self._child, None
        if child:
            child.kill()
            _end_of(child)

    def _start(self) -> subprocess.Popen[bytes]:
        # The child has the parent's search path, so that it imports the same code.
        child = subprocess.Popen(
            [sys.executable, "-m", self._module, self._argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment() | dict(self._variables),
        )
        assert child.stdin and child.stdout  # noqa: PT018
        for pipe in (child.stdin, child.stdout):
            with suppress(
                OSError, AttributeError
            ):  # the number of large pipes per user is limited, and some systems have none
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        if not _speaks_within(child.stdout, _STARTING_S) or _read(child.stdout) != _READY:
            child.kill()
            _end_of(child)
            raise StageError(ErrorCode.CHILD_NOT_STARTED, f"the child process {self._module} does not start")
        self._child = child
        return child

    def _buried(self, child: subprocess.Popen[bytes]) -> ChildDied:
        """Why a child gave no answer: it is dead or about to be."""
        self._child = None
        code = _end_of(child)
        if code == -signal.SIGPROF:
            return ChildDied(Death.TIME, "CPU time is over")
        if code == -signal.SIGALRM:
            return ChildDied(Death.CLOCK, "no answer in time")
        if code == errno.ENOMEM:
            return ChildDied(Death.MEMORY, "memory is over")
        return ChildDied(Death.CRASH, signal.Signals(-code).name if code < 0 else f"exit code {code}")


def serve(answer: Callable[[bytes], bytes], cpu_s: float, max_bytes: int) -> None:
    """The child's main loop: read a message, write its answer, until the parent closes the pipe.

    ``cpu_s`` limits the CPU time per message and, WALL_PER_CPU times that, the time that passes; ``max_bytes`` limits
    the memory beyond that in use when this is called.
    """
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # output of a library must not mix with answers
    _limit_self(max_bytes)
    _tell(answers, _READY)
    while (message := _read(requests)) is not None:
        allow(cpu_s)
        try:
            reply = answer(message)
        except MemoryError:
            os._exit(errno.ENOMEM)
        allow(0)
        _tell(answers, reply)


def _tell(answers: IO[bytes], message: bytes) -> None:
    """To the parent, unless it was killed meanwhile."""
    try:
        _write(answers, message)
    except BrokenPipeError:
        os._exit(errno.EPIPE)


def allow(cpu_s: float) -> None:
    """In a child: let it end itself after this much CPU time from now, or when too much time has passed; 0: never."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, cpu_s * WALL_PER_CPU)


def environment() -> dict[str, str]:
    """The environment of a child: what it needs of ours, with our own search path in the same order.

    The order matters: packages before the standard library may shadow it (such as PyPI's ``dataclasses``).
    """
    needed = {name: value for name, value in os.environ.items() if is_passed_on(name)}
    return needed | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


def is_passed_on(name: str) -> bool:
    """Whether a child gets this variable of our environment."""
    return name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES) or name.endswith("_NUM_THREADS")


def _speaks_within(pipe: IO[bytes], seconds: float) -> bool:
    """Whether a pipe has something to read, or its end, within this time."""
    watched = select.poll()
    watched.register(pipe, select.POLLIN)
    return bool(watched.poll(seconds * 1000))


def _end_of(child: subprocess.Popen[bytes]) -> int:
    """Close the pipes of a child that is ending; returns its exit code."""
    for pipe in (child.stdin, child.stdout):
        with suppress(OSError):  # unread rest of a message
            if pipe:
                pipe.close()
    try:
        return child.wait(_DYING_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _limit_self(max_bytes: int) -> None:
    """Limit memory, and let SIGPROF and SIGALRM end the process, even inside native code."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGPROF, signal.SIGALRM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm", encoding="ascii") as statm:
        held_bytes = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held_bytes + max_bytes,) * 2)


def _write(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(_SIZE.pack(len(message)))
    pipe.write(message)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes | None:
    """One message; None if the other side closed the pipe."""
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    (size,) = _SIZE.unpack(head)
    message = pipe.read(size)
    return message if len(message) == size else None
