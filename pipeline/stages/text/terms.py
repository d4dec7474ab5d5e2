"""Lists that reject a pair before its image is requested: adult terms, domains, URLs.

Each is a list file (pipeline.core.list_files).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pipeline.core.errors import ErrorCode, InputError
from pipeline.core.list_files import entries
from pipeline.web.urls import UrlError, redact, split, url_id

DEFAULT = "default"
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Lists:
    """The three lists, ready to be sent to workers. ``digest`` identifies their content."""

    terms: Mapping[str, tuple[str, ...]]  # by the first word: whole terms, their words joined by single spaces
    domains: frozenset[str]
    urls: frozenset[str]  # keys: url_id
    digest: str

    def adult_term(self, caption: str) -> str | None:
        """The first listed term among the words of ``caption``, in upper or lower case; None if there is none."""
        if not self.terms:
            return None
        words = _WORD.findall(caption.casefold())
        for place, word in enumerate(words):
            for term in self.terms.get(word, ()):
                if " " not in term or words[place : place + term.count(" ") + 1] == term.split(" "):
                    return term
        return None

    def domain(self, host: str) -> str | None:
        """The listed domain that is ``host`` or contains it."""
        host = host.rstrip(".")
        while self.domains and host:
            if host in self.domains:
                return host
            host = host.partition(".")[2]
        return None


NO_LISTS = Lists({}, frozenset(), frozenset(), "")


def read_lists(adult_terms: str, blocked_domains: Sequence[str], blocked_urls: Sequence[str]) -> Lists:
    """Read what the settings name; ``adult_terms`` is a file, "default" (the list beside this module) or "" for none.

    InputError: a file cannot be used.
    """
    terms = _terms(_default_terms() if adult_terms == DEFAULT else entries(Path(adult_terms))) if adult_terms else {}
    domains = frozenset(_domain(line, name) for name in blocked_domains for line in entries(Path(name)))
    urls = frozenset(_url_key(line, name) for name in blocked_urls for line in entries(Path(name)))
    digest = hashlib.sha256()
    for part in (sorted(term for group in terms.values() for term in group), sorted(domains), sorted(urls)):
        digest.update("\n".join(part).encode() + b"\0")
    return Lists(terms, domains, urls, digest.hexdigest())


def _default_terms() -> list[str]:
    with resources.as_file(resources.files("pipeline.stages.text") / "adult_terms.txt") as path:
        return entries(path)


def _terms(listed: Iterable[str]) -> dict[str, tuple[str, ...]]:
    by_first: dict[str, set[str]] = {}
    for entry in listed:
        words = _WORD.findall(entry.casefold())
        if words:
            by_first.setdefault(words[0], set()).add(" ".join(words))
    return {first: tuple(sorted(group)) for first, group in sorted(by_first.items())}


def _domain(line: str, name: str) -> str:
    """The name in the form of host names: ASCII, lower case, no dot at its end."""
    try:
        host = split(f"http://{line.strip('.')}/").host
    except UrlError:
        host = ""
    if not host or set(line) & set("/*:?@\\ \t"):
        what = f"list {name}: {redact(line)[:100]!r} is not a domain"
        raise InputError(ErrorCode.RESOURCE_MISSING, f"{what}; write one per line, such as shop.example")
    return host


def _url_key(line: str, name: str) -> str:
    try:
        return url_id(line)
    except UrlError as error:
        raise InputError(
            ErrorCode.RESOURCE_MISSING, f"list {name}: {redact(line)[:100]!r} is not a URL ({error})"
        ) from None
