"""`pairmill hashes`: lists of pictures that a corpus must not overlap with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.command import new_group, run_job
from jobs.options import Debug

hashes = new_group("hashes", "Make the list of an evaluation set's pictures.")


@hashes.command()
def build(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="folders and tars of images")],
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="the list, for dedup.eval_hashes")],
    debug: Debug = False,
) -> None:
    """Hash the pictures of evaluation sets, so that dedup.eval_hashes keeps copies of them out of a corpus."""
    from pipeline.stages.dedup.eval_lists import write_listed

    listed, refused = write_listed(images, output)
    for name, reason in refused[:3]:
        print(f"left out: {name} ({reason})")
    print(f"{listed:,} pictures in {output}; {len(refused):,} files are none")


if __name__ == "__main__":
    run_job(hashes)
