"""What further rules of URL normalisation would merge: image links of LAION-400M and of 100 real pages.

A rule that is no part of ``pipeline.web.urls.normalise`` is applied on top of it; counted are the URLs that it changes,
the groups of different keys that become one, and the groups among them whose captions differ, which most likely are
different images. A rule belongs into the key only if that last number is nothing and the one before is something.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import pyarrow.parquet as pq
from extract import PAGES, read_pages

from pipeline.extract.config import Config
from pipeline.extract.html import candidates_of_page
from pipeline.web.urls import TRACKING, UrlError, normalise

LINKS = PAGES.with_name("laion_urls_10k.parquet")
SIZES = frozenset(
    ("w", "h", "width", "height", "wid", "hei", "resize", "size", "sz", "fit", "maxwidth", "maxheight",
     "imwidth", "crop")
)  # fmt: skip

Link = tuple[str, str]  # key, caption


def without(url: str, dropped: Callable[[str], bool]) -> str:
    """``url`` without the parameters whose names are ``dropped``."""
    path, mark, query = url.partition("?")
    kept = [pair for pair in query.split("&") if not dropped(pair.partition("=")[0].casefold())]
    return f"{path}?{'&'.join(kept)}" if mark and kept else path


def ordered(url: str) -> str:
    path, mark, query = url.partition("?")
    return path + mark + "&".join(sorted(query.split("&")))


RULES: dict[str, Callable[[str], str]] = {
    "no size parameters": lambda url: without(url, SIZES.__contains__),
    "no query": lambda url: url.partition("?")[0],
    "parameters in order": ordered,
    "lower case": str.lower,
    "https is http": lambda url: re.sub("^https:", "http:", url),
    "no www": lambda url: url.replace("//www.", "//", 1),
}


def merged(links: Iterable[Link], rule: Callable[[str], str]) -> dict[str, int]:
    """How many keys the rule changes, how many groups it makes of several, and in how many the captions differ."""
    groups: defaultdict[str, set[Link]] = defaultdict(set)
    changed = 0
    for key, caption in set(links):
        groups[rule(key)].add((key, caption))
        changed += rule(key) != key
    joined = [group for group in groups.values() if len({key for key, _ in group}) > 1]
    differ = sum(len({caption for _, caption in group if caption}) > 1 for group in joined)
    return {"changed": changed, "merged": len(joined), "captions_differ": differ}


def laion() -> Iterator[Link]:
    table = pq.read_table(LINKS, columns=["url", "caption"])
    for url, caption in zip(table["url"].to_pylist(), table["caption"].to_pylist(), strict=True):
        try:
            yield normalise(url), caption or ""
        except UrlError:
            continue


def pages() -> Iterator[Link]:
    for url, html in read_pages(PAGES):
        for row in candidates_of_page(html, url, None, None, (), Config()):
            if row.get("url_id"):
                yield normalise(row["image_url"]), row["alt_text"] or ""


def main() -> int:
    if not LINKS.exists() or not PAGES.exists():
        print(json.dumps({"benchmark": "url_keys", "skipped": f"{LINKS.name} is not in ../shared/data"}))
        return 0
    figures: dict[str, object] = {"benchmark": "url_keys"}
    for name, source in (("laion", laion), ("pages", pages)):
        links = list(source())
        figures[name] = {
            "links": len(links),
            "with_query": sum("?" in key for key, _ in links),
            "with_size_parameter": sum(RULES["no size parameters"](key) != key for key, _ in links),
            "rules": {rule: merged(links, apply) for rule, apply in RULES.items()},
        }
    table = pq.read_table(LINKS, columns=["url"])["url"].to_pylist()
    figures["laion_with_tracking_parameter"] = sum(TRACKING.search(url) is not None for url in table)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
