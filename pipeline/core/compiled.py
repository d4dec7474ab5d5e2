"""Machine code of a function, cached between processes if a folder is writable.

numba needs seconds to compile a kernel and can cache the result: in NUMBA_CACHE_DIR if that is set, else in
``__pycache__`` beside the source, else in the user's cache folder. It trusts the cached files, as Python trusts
bytecode. Three things differ from plain ``njit(cache=True)``:

- The name of a cached file has a digest of the function's package, of numba and of the processor. Different kinds of
  workers that share a folder never load each other's code (numba numbers the files of one source, and two processes
  that start at once may use the same number), and an upgrade never loads old code.
- A read-only folder works if the file is in it, such as an image that was built with it.
- If nothing can be written or read, the function is compiled for this process only, which costs only time.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from numba.core.caching import InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator

_njit: Any = numba.njit
_config: Any = numba.config  # read from the environment when numba is imported

OPTIONS = {"nogil": True, "error_model": "numpy"}
"""The error model: divisions do not check for 0 and raise, so that loops of divisions are vectorized."""

F = TypeVar("F", bound=Callable[..., Any])


def inlined(function: F) -> F:
    """``function`` as a part of compiled functions; it is never called from Python."""
    part: F = _njit(function, **OPTIONS, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
    return part


def compiled(function: Callable[..., Any], *arguments: object) -> Callable[..., Any]:
    """``function`` as machine code for arguments of exactly these types."""
    signature = tuple(map(numba.typeof, arguments))
    try:
        with _kept_by_content():
            dispatcher = _njit(function, cache=True, **OPTIONS)
        dispatcher.compile(signature)
    except Exception:  # no folder, a full disk, a damaged file: compile without a cache
        dispatcher = _njit(function, **OPTIONS)
        dispatcher.compile(signature)
    dispatcher.disable_compile()
    found: Callable[..., Any] = dispatcher
    return found


@cache
def _digest(package: Path) -> str:
    """A digest of everything that the machine code of a function in this folder depends on."""
    facts = [
        *(path.read_text(encoding="utf-8") for path in sorted(package.glob("*.py"))),
        str(sorted(OPTIONS.items())),
        numba.__version__,
        llvmlite.__version__,
        get_host_cpu_name(),
        get_host_cpu_features().flatten(),
        str(_config.CPU_NAME),
        str(_config.CPU_FEATURES),
        str(_config.OPT),
    ]
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]


class _ByContent:
    """A place for numba's files, named by their content."""

    _py_file: str  # set by numba: the function's source
    get_cache_path: Callable[[], str]

    def get_disambiguator(self) -> str:
        return _digest(Path(self._py_file).parent)

    def ensure_cache_path(self) -> None:
        """OSError if the folder is not writable and does not hold our file."""
        if not any(Path(self.get_cache_path()).glob(f"*-{self.get_disambiguator()}.*.nbi")):
            super().ensure_cache_path()  # type: ignore[misc]


class Chosen(_ByContent, UserProvidedCacheLocator):
    """NUMBA_CACHE_DIR, if only we or root can write there: the files hold pickles and machine code, so whoever can put
    one there runs code as us. Otherwise it is as if the folder were not writable."""

    def ensure_cache_path(self) -> None:
        super().ensure_cache_path()
        for folder in (Path(_config.CACHE_DIR), Path(self.get_cache_path())):
            found = folder.stat()
            if found.st_uid not in (0, os.geteuid()) or found.st_mode & stat.S_IWOTH:
                raise PermissionError(f"others can write into {folder}")


class Beside(_ByContent, InTreeCacheLocator):
    """__pycache__ beside the source."""


class Personal(_ByContent, UserWideCacheLocator):
    """The user's cache folder."""


@contextmanager
def _kept_by_content() -> Iterator[None]:
    """Inside the block, numba asks the classes above, in that order, for functions that are decorated."""
    before = _config.CACHE_LOCATOR_CLASSES
    _config.CACHE_LOCATOR_CLASSES = ",".join(f"{__name__}.{each.__name__}" for each in (Chosen, Beside, Personal))
    try:
        yield
    finally:
        _config.CACHE_LOCATOR_CLASSES = before
