"""How the workers of `make test` share the tests: a file at a time, but a folder at a time where its files share a build.

What is long begins first.
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# Folders whose session fixtures cost more than their tests, and files that take long; the longest first.
WHOLE = ("tests/e2e", "tests/demo", "tests/store", "tests/training", "tests/audit", "tests/evaluation")
FIRST = (
    "tests/e2e",
    "tests/demo",
    "tests/stages/fetch",
    "tests/store",
    "tests/stages",
    "tests/training",
    "tests/audit",
)


class Sharing(LoadFileScheduling):
    """xdist's, with folders that stay whole."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in WHOLE if nodeid.startswith(f"{folder}/")), super()._split_scope(nodeid))


def rank(nodeid: str) -> int:
    """Place in the order of beginning; those of one rank keep theirs."""
    return next((place for place, folder in enumerate(FIRST) if nodeid.startswith(f"{folder}/")), len(FIRST))
