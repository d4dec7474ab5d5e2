"""`pairmill hashes`: lists of images that a corpus must not contain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.command import add_job, examples, new_group, run_job
from jobs.options import Debug
from pipeline.core.visible import visible

hashes = new_group("hashes", "List the images of evaluation sets, to keep them out of a corpus.")


@examples(
    "pairmill hashes build imagenet-val.tar flickr30k/ --output evaluation.parquet",
    "pairmill build --run runs/web --set 'dedup.eval_hashes=[evaluation.parquet]'",
)
def build(
    images: Annotated[list[Path], typer.Argument(metavar="PATH", help="Folders and tars of images.")],
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="Output file, for the setting dedup.eval_hashes.")
    ],
    debug: Debug = False,
) -> None:
    """Hash the images of evaluation sets, so that dedup.eval_hashes keeps copies of them out of a corpus."""
    from pipeline.stages.dedup.eval_lists import write_listed

    listed, refused = write_listed(images, output)
    for name, reason in refused[:3]:
        print(visible(f"skipped: {name} ({reason})"))
    print(f"{listed:,} images in {output}; {len(refused):,} files skipped")


add_job(hashes, build)

if __name__ == "__main__":
    run_job(hashes)
