"""Lists by which a pair is refused before anything of it is requested: adult terms, domains, URLs.

A list is a UTF-8 text file, one entry a line; blank lines and lines that begin with # say nothing. A file that is
missing, empty or not UTF-8 ends the run before its first row (docs/faults.md, T16).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path

from publicsuffixlist import PublicSuffixList

from pipeline.core.errors import InputError
from pipeline.web.urls import UrlError, redact, split, url_id

DEFAULT = "default"
_WORD = re.compile(r"\w+")
_HOST = re.compile(r"https?://(\[[^\]]*\]|[^/:?#]*)")


@dataclass(frozen=True)
class Lists:
    """What the three lists say, ready to be sent to workers. ``digest`` names their content."""

    terms: Mapping[str, tuple[str, ...]]  # by the first word: whole terms, their words joined by single spaces
    domains: frozenset[str]
    urls: frozenset[str]  # keys: url_id
    digest: str

    def adult_term(self, caption: str) -> str | None:
        """The first listed term among the words of ``caption``, in any case; None where there is none."""
        if not self.terms:
            return None
        words = _WORD.findall(caption.casefold())
        for place, word in enumerate(words):
            for term in self.terms.get(word, ()):
                if " " not in term or words[place : place + term.count(" ") + 1] == term.split(" "):
                    return term
        return None

    def domain(self, host: str) -> str | None:
        """The listed domain that ``host`` is or lies in."""
        host = host.rstrip(".")
        while self.domains and host:
            if host in self.domains:
                return host
            host = host.partition(".")[2]
        return None


NO_LISTS = Lists({}, frozenset(), frozenset(), "")


def host_of(url: str) -> str:
    """The host in a URL that ``pipeline.web.urls.clean`` has given; "" where it has none (a urn).

    >>> host_of("http://img.shop.example:8080/a.jpg"), host_of("urn:sha256:00")
    ('img.shop.example', '')
    """
    match = _HOST.match(url)
    return match.group(1) if match else ""


@lru_cache(maxsize=100_000)
def registered_domain(host: str) -> str:
    """What somebody registered, by the Public Suffix List: "shop.co.uk" of "img.shop.co.uk"; else the host itself."""
    if host[-1:].isdigit() or host.startswith("["):  # an address: no name ends in a digit
        return host
    return _suffixes().privatesuffix(host) or host


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


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


def entries(path: Path) -> list[str]:
    """The entries of a list file, in their order."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError("resource_missing", f"list {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError("resource_missing", f"list {path} is not UTF-8; write one entry a line in UTF-8") from None
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise InputError("resource_missing", f"list {path} has no entry; name a list or take the setting away")
    return found


@cache
def _default_terms() -> list[str]:
    with resources.as_file(resources.files("pipeline.text") / "adult_terms.txt") as path:
        return entries(path)


def _terms(listed: Iterable[str]) -> dict[str, tuple[str, ...]]:
    by_first: dict[str, set[str]] = {}
    for entry in listed:
        words = _WORD.findall(entry.casefold())
        if words:
            by_first.setdefault(words[0], set()).add(" ".join(words))
    return {first: tuple(sorted(group)) for first, group in sorted(by_first.items())}


def _domain(line: str, name: str) -> str:
    """The name as hosts have it: in ASCII, lower case, without a dot at its end."""
    try:
        host = split(f"http://{line.strip('.')}/").host
    except UrlError:
        host = ""
    if not host or set(line) & set("/*:?@\\ \t"):
        what = f"list {name}: {redact(line)[:100]!r} is no domain"
        raise InputError("resource_missing", f"{what}; write one a line, as shop.example")
    return host


def _url_key(line: str, name: str) -> str:
    try:
        return url_id(line)
    except UrlError as error:
        raise InputError("resource_missing", f"list {name}: {redact(line)[:100]!r} is no URL ({error})") from None
