"""The demo from nothing, in a temporary folder: seconds and rows a second of every stage, as its manifests say.

There is no peer here. The web is on this machine and partly slow on purpose (images that never end, robots.txt that
fails and is asked again), so crawl and fetch wait as well as work; nothing is downloaded. The seconds in all hold
the generation of the small web, the start of Spark, the audit and the comparison with the planted truth, too.
"""

from __future__ import annotations

import io
import json
import os
import platform
import sys
import tempfile
import time

from rich.console import Console

from pipeline.core.manifest import Manifest, read_manifest
from pipeline.core.progress import Reporter
from pipeline.core.storage import open_storage
from pipeline.demo.run import run_demo
from pipeline.demo.size import FULL
from pipeline.funnel import STAGES


def figures(manifest: Manifest) -> dict[str, object]:
    return {
        "unit": manifest.unit,
        "rows_in": manifest.rows_in,
        "kept": manifest.kept,
        "seconds": round(manifest.seconds, 1),
        "rows_per_s": round(manifest.rows_in / manifest.seconds),
    }


def main() -> int:
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run_demo(folder, FULL, [], 0, Reporter(quiet=True), Console(file=io.StringIO()))
        taken_s = time.perf_counter() - begun
        manifests = [read_manifest(open_storage(f"{folder}/a"), stage.name) for stage in STAGES]
    print(
        json.dumps(
            {
                "benchmark": "demo",
                "seconds": round(taken_s, 1),
                "stages": {
                    manifest.stage: figures(manifest) for manifest in manifests if manifest and not manifest.off
                },
                "cores": os.cpu_count(),
                "python": platform.python_version(),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
