"""The native HTML parser behind a wall: pages are parsed in a child process that may die.

A page that crashes the parser, hangs it or eats memory costs itself; the child is replaced and the next page goes on.
The child bounds itself, so it also ends when its parent is killed: CPU time by an interval timer (of CPU time, since
a busy machine must not decide which pages are lost), memory by a limit of the system. The price is one start of
Python a split and a copy of each page through a pipe.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from pipeline.core.children import environment
from pipeline.core.errors import StageError
from pipeline.extract.candidates import Row
from pipeline.extract.config import MIB, Config
from pipeline.extract.html import candidates_of_page

MAX_PARSER_BYTES = 512 * MIB  # beyond what the child holds after its start

_SIZE = struct.Struct("<Q")
_READY = b"ready"


class _Task(msgspec.Struct, array_like=True):
    html: bytes
    page_url: str
    page_date: str | None
    http_charset: str | None
    http_optouts: tuple[str, ...]


class PageParser:
    """``candidates_of_page`` in a child process, started with the first page and again after each death."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PageParser:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def rows(
        self,
        html: bytes,
        page_url: str,
        page_date: str | None,
        http_charset: str | None,
        http_optouts: Sequence[str],
    ) -> list[Row] | None:
        """Rows of a page; None where the parser died of it."""
        task = msgspec.msgpack.encode(_Task(html, page_url, page_date, http_charset, tuple(http_optouts)))
        child = self._child or self._start()
        try:
            _write(child.stdin, task)
            answer = _read(child.stdout)
        except OSError:
            answer = None
        if answer is None:
            self._stop()
            return None
        return msgspec.msgpack.decode(answer, type=list[Row] | None)

    def _start(self) -> subprocess.Popen[bytes]:
        # The child imports what the parent can, wherever the parent's code came from.
        command = [sys.executable, "-m", "pipeline.extract.guard", self._config.model_dump_json()]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
        if _read(child.stdout) != _READY:
            child.kill()
            child.wait()
            raise StageError("parser_not_started", "extract: the HTML parser's process does not start")
        self._child = child
        return child

    def _stop(self) -> None:
        if self._child:
            self._child.kill()
            self._child.communicate()
            self._child = None


def _write(pipe: BinaryIO, message: bytes) -> None:
    pipe.write(_SIZE.pack(len(message)))
    pipe.write(message)
    pipe.flush()


def _read(pipe: BinaryIO) -> bytes | None:
    """One message; None where the other side has gone."""
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    (size,) = _SIZE.unpack(head)
    message = pipe.read(size)
    return message if len(message) == size else None


def serve(config: Config, requests: BinaryIO, answers: BinaryIO) -> None:
    """The child's life: a page in, its rows out, None for one that raised."""
    decoder = msgspec.msgpack.Decoder(_Task)
    _write(answers, _READY)
    while (message := _read(requests)) is not None:
        task = decoder.decode(message)
        signal.setitimer(signal.ITIMER_PROF, config.parse_timeout_s)
        try:
            rows = candidates_of_page(*(getattr(task, name) for name in _Task.__struct_fields__), config)
        except MemoryError:
            os._exit(1)
        except Exception:  # whatever it is, it concerns this page alone
            rows = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answers, msgspec.msgpack.encode(rows))


def _limit_self() -> None:
    """SIGPROF ends the process by default, also inside the parser's own code."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm", encoding="ascii") as statm:
        held_bytes = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held_bytes + MAX_PARSER_BYTES,) * 2)


if __name__ == "__main__":
    _limit_self()
    serve(Config.model_validate_json(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
