"""List files: UTF-8 text, one entry a line; blank lines and lines that begin with # say nothing.

A file that is missing, empty or not UTF-8 ends the run before its first row (docs/faults.md, T16).
"""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import ErrorCode, InputError


def entries(path: Path) -> list[str]:
    """The entries of a list file, in their order. InputError ``resource_missing``: it cannot be used."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(ErrorCode.RESOURCE_MISSING, f"list {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(
            ErrorCode.RESOURCE_MISSING, f"list {path} is not UTF-8; write one entry a line in UTF-8"
        ) from None
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise InputError(ErrorCode.RESOURCE_MISSING, f"list {path} has no entry; name a list or take the setting away")
    return found
