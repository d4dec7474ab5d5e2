"""Sentences about images, in twelve languages.

The words are in ``languages.yaml``, one block per language; here they become captions. A caption names every thing in
the image and its background, in one of several forms, so the same image has many true captions. No form needs an
article or a case ending for the name of a thing: names come from the package ``emoji`` in their dictionary form.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from random import Random

import msgspec
import yaml


class Language(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The words of the mini-web in one language; ``languages.yaml`` explains each field."""

    dir: str
    charsets: list[str]
    last: str = msgspec.field(name="and")
    comma: str
    grounds: list[str]
    forms: list[str]
    boilerplate: list[str]
    words: dict[str, str]
    titles: list[str]
    about: list[str]

    def join(self, things: Sequence[str]) -> str:
        """``["cat", "dog", "sun"]`` as "cat, dog and sun"."""
        return self.last.join([self.comma.join(things[:-1]), things[-1]] if len(things) > 1 else things)

    def caption(self, things: Sequence[str], ground: int, rng: Random) -> str:
        """One true sentence about ``things`` on ground number ``ground``."""
        sentence = rng.choice(self.forms).format(things=self.join(things), ground=self.grounds[ground])
        return sentence[0].upper() + sentence[1:]

    def title(self, thing: str, rng: Random) -> str:
        """A headline for a page about ``thing``."""
        title = rng.choice(self.titles).format(thing=thing)
        return title[0].upper() + title[1:]


@cache
def languages() -> dict[str, Language]:
    """ISO 639-1 code → language, in the order of the file."""
    text = resources.files("pipeline.smallweb").joinpath("languages.yaml").read_text("utf-8")
    return msgspec.convert(yaml.safe_load(text), dict[str, Language])
