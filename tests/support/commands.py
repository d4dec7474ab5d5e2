"""`pairmill` in a process of its own, forked from one that has imported what its commands need: 0.1 s, not 2 s.

The process has its own arguments, environment, stdout and stderr, and nothing of the test's. How long a command takes
to import, and whether it works as a script, is not tested by this.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess

from checkout import ROOT

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["jobs.cli", "pipeline.audit", "pipeline.demo.run", "pipeline.funnel"])


def pairmill(
    *arguments: str, env: dict[str, str] | None = None, cwd: Path = ROOT, timeout_s: float = 120.0
) -> CompletedProcess[str]:
    """Run the command line to its end, as `pairmill ARGUMENTS` does."""
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, name) for name in ("stdout", "stderr")]
        given = dict(os.environ if env is None else env)
        process = FORKING.Process(target=_main, args=(arguments, given, str(cwd), [str(path) for path in said]))
        process.start()
        process.join(timeout_s)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"pairmill {' '.join(arguments)}: not within {timeout_s} s")
        out, err = (path.read_text() for path in said)
        return CompletedProcess(["pairmill", *arguments], process.exitcode, out, err)


def _main(arguments: tuple[str, ...], environment: dict[str, str], folder: str, said: list[str]) -> None:
    for descriptor, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["pairmill", *arguments]
    from jobs.cli import main

    main()
