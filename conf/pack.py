"""Pack the environment of a Spark task into one archive: `make dist`.

Workers of a cluster have only Python itself. This writes a virtual environment with the wheel of pairmill and all
packages that it requires, exactly as installed in the environment that runs this file; `--archives env.tar.gz#env`
unpacks it on the workers. Nothing is downloaded, and development tools are left out.

    bin/python                        a link to the worker's own interpreter, of the minor version of ours
    lib/python3.11/site-packages/

The interpreter itself is not in it, as with venv-pack (which is not used: no release since 2018, and it rejects
editable installs). Files that no task needs are left out: Spark's Python part, because each Spark has its own (so one
archive works for Spark 3.5 and 4); extras, such as the emoji of the demo; headers and tests. Bytecode is included and
marked as never checked against its source (PEP 552), so no executor compiles thousands of files before its first task,
even if unpacking changes file times. The machine code of the kernels is included too, for the kind of processor that
packs; others compile it themselves (pipeline/core/compiled.py). Except for that code, the same environment gives the
same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NOT_FOR_TASKS = {"pyspark", "py4j"}  # distributions
UNUSED = (  # files below site-packages
    "*/tests/*",
    "torch/test/*",
    "torch/include/*",
    "torch/share/*",
    "pyarrow/include/*",
    "numpy/_core/include/*",
    "wandb/bin/*",
    "*.a",
    "*.dist-info/direct_url.json",
)
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE_PACKAGES = f"lib/{PYTHON}/site-packages"
COMPRESSION_LEVEL = 1
PYC_HEADER_BYTES = 16


def main() -> None:
    """`python conf/pack.py WHEEL --output dist/env.tar.gz`."""
    parser = argparse.ArgumentParser(description="Pack the environment of a Spark task.")
    parser.add_argument("wheel", type=Path, help="the wheel of pairmill")
    parser.add_argument("--output", type=Path, required=True, help="the archive, a .tar.gz")
    parser.add_argument(
        "--worker-python",
        type=Path,
        default=Path(sys.base_prefix, "bin", PYTHON),
        metavar="PATH",
        help="the interpreter on the workers (default: the one below this environment)",
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as unpacked:
        with zipfile.ZipFile(given.wheel) as wheel:
            wheel.extractall(unpacked)  # noqa: S202 - our own wheel; zipfile leaves no member outside
        compile_kernels(Path(unpacked))
        ours = metadata.Distribution.at(next(Path(unpacked).glob("*.dist-info")))  # the installed one may be older
        files = {name: path for found in closure(ours) for name, path in files_of(found)}
        files |= {path.relative_to(unpacked).as_posix(): path for path in Path(unpacked).rglob("*") if path.is_file()}
        write(given.output, files, given.worker_python)
        size = sum(path.stat().st_size for path in files.values())
    print(f"{given.output}: {given.output.stat().st_size / 1e6:,.0f} MB, {size / 1e6:,.0f} MB unpacked")


def closure(distribution: metadata.Distribution) -> list[metadata.Distribution]:
    """All requirements of a distribution, as installed here, without itself; sorted by name."""
    found: dict[str, metadata.Distribution] = {}
    wanted = _asked_for(distribution)
    while wanted:
        name = wanted.pop()
        if name not in found and name not in NOT_FOR_TASKS:
            found[name] = metadata.distribution(name)
            wanted += _asked_for(found[name])
    return [found[name] for name in sorted(found)]


def _asked_for(distribution: metadata.Distribution) -> list[str]:
    asked = map(Requirement, distribution.requires or ())
    needed = [each for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    return [canonicalize_name(each.name) for each in needed]


def compile_kernels(site_packages: Path) -> None:
    """Let the pairmill in ``site_packages`` measure a text and an image: this writes machine code beside its source."""
    first_text = "from pipeline.stages.text.language import detect; detect([''])"
    first_picture = "from pipeline.vision.image import ImageSettings, warm_up; warm_up(ImageSettings())"
    env = {**os.environ, "NUMBA_CACHE_DIR": "", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", f"{first_text}; {first_picture}"], cwd=site_packages, env=env, check=True)


def files_of(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    """(name below site-packages, path) of the installed files that a task may need."""
    for file in distribution.files or ():
        name, path = file.as_posix(), Path(str(file.locate()))
        if not name.startswith("../") and not any(fnmatch(name, pattern) for pattern in UNUSED) and path.is_file():
            yield name, path


def write(archive: Path, files: Mapping[str, Path], worker_python: Path) -> None:
    """Write the environment: equal files give equal bytes, independent of time and place of installation."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    aside = archive.with_name(f".{archive.name}")
    with (
        aside.open("wb") as stream,
        gzip.GzipFile("", "wb", COMPRESSION_LEVEL, stream, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        link = tarfile.TarInfo("bin/python")
        link.type, link.linkname, link.mode = tarfile.SYMTYPE, str(worker_python), 0o777
        tar.addfile(link)
        add(tar, "pyvenv.cfg", f"home = {worker_python.parent}\ninclude-system-site-packages = false\n".encode(), 0o644)
        for name, path in sorted(files.items()):
            data = unchecked(path) if path.suffix == ".pyc" else path.read_bytes()
            add(tar, f"{SITE_PACKAGES}/{name}", data, 0o755 if path.stat().st_mode & 0o100 else 0o644)
    aside.replace(archive)


def add(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    """Add one file, without time and owner."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def unchecked(pyc: Path) -> bytes:
    """Bytecode with the header of a hash-based, never checked file (PEP 552) instead of the time of its source."""
    data = pyc.read_bytes()
    source = Path(importlib.util.source_from_cache(str(pyc))).read_bytes()
    return data[:4] + (1).to_bytes(4, "little") + importlib.util.source_hash(source) + data[PYC_HEADER_BYTES:]


if __name__ == "__main__":
    main()
