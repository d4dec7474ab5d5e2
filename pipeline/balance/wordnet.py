"""Lemmas of WordNet (Miller, 1995) from the four index files of its database folder, as wndb(5) describes them."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import ErrorCode, InputError

INDEX_FILES = ("index.noun", "index.verb", "index.adj", "index.adv")
LICENCE_INDENT = "  "  # of the lines of the licence, which precede the lemmas


def read_lemmas(folder: Path) -> list[str]:
    """All lemmas, sorted and distinct, with spaces for underscores. InputError `resource_missing` names a bad file."""
    lemmas: set[str] = set()
    for name in INDEX_FILES:
        path = folder / name
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            what = getattr(error, "strerror", None) or error
            raise InputError(
                ErrorCode.RESOURCE_MISSING,
                f"--wordnet: {path}: {what}; pass WordNet's dict folder (Debian: wordnet-base)",
            ) from None
        lemmas |= {line.split(" ", 1)[0] for line in lines if line and not line.startswith(LICENCE_INDENT)}
    if not lemmas:
        raise InputError(ErrorCode.RESOURCE_MISSING, f"--wordnet: the index files of {folder} contain no lemmas")
    return sorted(lemma.replace("_", " ") for lemma in lemmas)
