"""Open files of this process: sockets, pipes and files share one limit of the system (``ulimit -n``).

Most systems set a low limit that a process may raise by itself, up to a higher one. Sockets fit what is left.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress

ENOUGH = 65_536


def raise_limit() -> None:
    """Raise the limit of this process, and of the processes that it starts, as far as it may and has a use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (ENOUGH, 10_240):  # macOS refuses more than its kernel's limit, whatever the hard one is
        aim = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < aim:
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (aim, hard))
                return


def limit() -> int:
    """How many files this process may have open at one time."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENOUGH if soft == resource.RLIM_INFINITY else soft


def left() -> int:
    """How many more it may open now."""
    return max(0, limit() - len(os.listdir("/dev/fd")))
