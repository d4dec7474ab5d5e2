"""List files: UTF-8 text, one entry per line; blank lines and lines that begin with # are ignored.

A missing, empty or non-UTF-8 file is rejected before the run's first row (docs/faults.md, T16).
"""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import ErrorCode, InputError


def entries(path: Path) -> list[str]:
    """The entries of a list file, in their order. InputError ``resource_missing`` if it cannot be used."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(ErrorCode.RESOURCE_MISSING, f"list {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(
            ErrorCode.RESOURCE_MISSING, f"list {path} is not UTF-8; save it as UTF-8, one entry per line"
        ) from None
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise InputError(
            ErrorCode.RESOURCE_MISSING, f"list {path} has no entry; name another list or remove the setting"
        )
    return found
