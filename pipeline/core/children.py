"""Child processes of ours: Python programs that import what this one can import."""

from __future__ import annotations

import os
import sys


def environment() -> dict[str, str]:
    """The environment of a child with our own search path, in our order.

    The order matters: before the standard library, a folder of packages may hide it (with a PyPI ``dataclasses``).
    """
    return os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
