"""A reporter that keeps what a person would read."""

from __future__ import annotations

from pipeline.core.progress import Reporter


class Lines(Reporter):
    """Remembers the lines, and prints nothing."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def line(self, text: str, **facts: object) -> None:
        self.lines.append(text)
