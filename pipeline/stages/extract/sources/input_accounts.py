"""What is told of the inputs: which files beside them are not read, how many rows each gave, and which gave none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.core.parts import Part
from pipeline.core.progress import Reporter
from pipeline.stages.extract.raw.places import File
from pipeline.stages.extract.sources.inputs import Inputs, Split

NAMES_SHOWN = 3
MUCH_BYTES = 2**30  # takes some seconds to hash


def tell_before(reporter: Reporter, inputs: Inputs, to_hash: Sequence[File]) -> None:
    """Lines on the files that are left out, and on a wait while inputs are hashed."""
    if inputs.left_out:
        by_why = Counter(inputs.left_out.values())
        whys = ", ".join(f"{count:,} {why}" for why, count in sorted(by_why.items()))
        text = f"extract: not read, beside the inputs: {whys} ({_some(inputs.left_out)})"
        reporter.line(text, event="inputs_left_out", counts=dict(by_why))
    size = sum(file.bytes for file in to_hash)
    if size > MUCH_BYTES:
        reporter.line(f"extract: hashing {len(to_hash):,} new or changed files, {size / 2**30:.1f} GiB")


def accounts_of(splits: Iterable[Split], parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Path, format, fingerprint, rows and candidates of each input, before equal candidates are merged."""
    stats = {part.input: part.stats for part in parts}
    return [
        {
            "path": split.path,
            "format": split.container or split.format,
            "fingerprint": split.fingerprint,
            "copies": split.copies,
            "rows": stats[split.fingerprint]["rows"],
            "candidates": stats[split.fingerprint]["good"],
        }
        for split in splits
    ]


def tell_after(reporter: Reporter, accounts: Sequence[dict[str, Any]]) -> None:
    """A warning for inputs without rows, and one for inputs whose rows are no candidates."""
    without = [account for account in accounts if not account["rows"]]
    useless = [account for account in accounts if account["rows"] and not account["candidates"]]
    for found, what in ((without, "0 rows"), (useless, "no candidate, only dropped rows")):
        if found:
            names = _some(map(_named, found))
            text = f"extract: warning: {len(found):,} of {len(accounts):,} inputs gave {what}: {names}"
            reporter.line(text, event="inputs_without_rows", paths=[account["path"] for account in found[:100]])


def _named(account: dict[str, Any]) -> str:
    """The path of an input; of pages with their format, because a folder may also have other inputs."""
    path: str = account["path"]
    return f"{path} (html)" if account["format"] == "html" else path


def _some(paths: Iterable[str]) -> str:
    paths = sorted(paths)
    return ", ".join(paths[:NAMES_SHOWN]) + (", ..." if len(paths) > NAMES_SHOWN else "")
