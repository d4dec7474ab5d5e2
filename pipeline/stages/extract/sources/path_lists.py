"""Lists of archives as Common Crawl publishes them: ``warc.paths.gz``, ``wat.paths.gz``, one relative path a line.

``extract.paths_prefix`` is the folder or prefix of a store that the paths are below, such as ``s3://commoncrawl``.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import PurePosixPath

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.storage import at_home
from pipeline.stages.extract.raw.places import File, is_url, open_place, require_known_scheme

MAX_BYTES = 2**28  # of a list, unpacked; 90,000 paths of Common Crawl have 12 MB
_GZIP = b"\x1f\x8b"


def is_path_list(file: File) -> bool:
    """Whether a file lists paths, by its name: ``.paths``, ``.paths.gz``."""
    return file.path.lower().endswith((".paths", ".paths.gz"))


def listed_paths(file: File, prefix: str) -> list[str]:
    """The paths in a list, below ``prefix`` unless they are absolute. InputError if one cannot be used."""
    lines = [line.strip() for line in _text(file).splitlines()]
    paths = [line for line in lines if line and not line.startswith("#")]
    if not paths:
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"{file.path} lists no path")
    relative = [path for path in paths if not (is_url(path) or path.startswith("/"))]
    if relative and not prefix:
        text = f"{file.path} lists {len(relative):,} relative paths, such as {relative[0][:100]}"
        hint = "set extract.paths_prefix to the folder or URL that they are below, such as s3://commoncrawl"
        raise InputError(ErrorCode.CONFIG_INVALID, f"{text}; {hint}")
    if prefix:
        _require_usable(prefix)
    for path in paths:
        if ".." in PurePosixPath(path).parts:
            raise InputError(ErrorCode.INPUT_UNREADABLE, f"{file.path} lists {path[:100]}: .. leads out of the folder")
        if is_url(path):
            require_known_scheme(path)
    start = prefix.rstrip("/") if is_url(prefix) else at_home(prefix).rstrip("/") or "/"
    return [f"{start}/{path}" if path in set(relative) else path for path in dict.fromkeys(paths)]


def _require_usable(prefix: str) -> None:
    if prefix.startswith(("http://", "https://")):
        text = f"extract.paths_prefix is {prefix}: archives are not read over http"
        hint = "use s3://commoncrawl, or download them and give their folder"
        raise InputError(ErrorCode.CONFIG_INVALID, f"{text}; {hint}")
    if is_url(prefix):
        require_known_scheme(prefix)


def _text(file: File) -> str:
    try:
        with open_place(file.path) as stream:
            is_packed = stream.read(len(_GZIP)) == _GZIP
            stream.seek(0)
            data = (gzip.GzipFile(fileobj=stream) if is_packed else stream).read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes, no list of paths")
        return data.decode("utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(ErrorCode.INPUT_UNREADABLE, f"{file.path}: {str(error).splitlines()[0][:200]}") from None
