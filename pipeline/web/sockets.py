"""Sockets of this process: how many it may have open, and which errors say that it has too many.

Such an error is ours, whatever host we meant to connect to (docs/faults.md, F56). The request counts as not made: it
is made again, with fewer at one time.
"""

from __future__ import annotations

import errno
import os

from pipeline.core import open_files
from pipeline.core.errors import ErrorCode, InputError

MOST = 4096
LEAST = 16
RESERVE = 128  # open files for all else: look-ups, a part's files, pipes to children
OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def budget() -> int:
    """How many sockets may be open at one time, idle ones included.

    Raises InputError `environment_invalid` where they would be too few.
    """
    open_files.raise_limit()
    most = open_files.left() - RESERVE
    if most < LEAST:
        raise InputError(
            ErrorCode.ENVIRONMENT_INVALID,
            f"this process may open only {most + RESERVE} more files; requests need {RESERVE + LEAST}: raise the limit "
            "(ulimit -n)",
        )
    return min(most, MOST)


def is_ours(error: OSError, ipv4_only: bool) -> bool:
    """Whether this machine has run out of something. A machine without IPv6 has no address to dial an IPv6 host from,
    so a missing local address says that ports are used up only where all addresses are IPv4."""
    return error.errno in OURS or (error.errno == errno.EADDRNOTAVAIL and ipv4_only)


def told(error: OSError) -> str:
    """What has run out."""
    what = os.strerror(error.errno or 0)
    return f"{what} (ulimit -n: {open_files.limit()})" if error.errno == errno.EMFILE else what
