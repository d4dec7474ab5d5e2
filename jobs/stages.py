"""`pairmill stages`: a description of the stages, generated from the code."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.command import examples, run_job


@examples(
    "pairmill stages",
    "pairmill stages --markdown > stages.md",
)
def stages(
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as in docs/stages.md.")] = False,
) -> None:
    """Print every stage with its unit, columns, settings and reasons."""
    from pipeline import stages_doc

    text = stages_doc.markdown()
    print(text if as_markdown else stages_doc.plain(), end="")


if __name__ == "__main__":
    run_job(stages)
