"""What rules of URL normalisation merge, ours and further ones: image links of LAION-400M and of 100 real pages.

The adopted rule, no tracking parameters, is compared with keys that still have them. The other rules are not part of
``pipeline.web.urls.normalise`` and are applied on top of it. Counted are the keys that a rule changes, the groups of
different keys that become one, and the groups among them whose captions differ, which most likely are different images.
A rule that has such groups does not belong into the key.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import pyarrow.parquet as pq
from extract import PAGES, read_pages

from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages.html import candidates_of_page
from pipeline.web.urls import UrlError, clean, with_normal_escapes, without_tracking

LINKS = PAGES.with_name("laion_urls_10k.parquet")
SIZES = frozenset(
    (
        "w",
        "h",
        "width",
        "height",
        "wid",
        "hei",
        "resize",
        "size",
        "sz",
        "fit",
        "maxwidth",
        "maxheight",
        "imwidth",
        "crop",
    )
)

Link = tuple[str, str]  # URL or key, caption


def without(url: str, dropped: Callable[[str], bool]) -> str:
    """``url`` without the parameters whose names are ``dropped``."""
    path, mark, query = url.partition("?")
    kept = [pair for pair in query.split("&") if not dropped(pair.partition("=")[0].casefold())]
    return f"{path}?{'&'.join(kept)}" if mark and kept else path


def ordered(url: str) -> str:
    path, mark, query = url.partition("?")
    return path + mark + "&".join(sorted(query.split("&")))


FURTHER_RULES: dict[str, Callable[[str], str]] = {
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
    """Links as the index spells them; the few that name nothing are left out."""
    table = pq.read_table(LINKS, columns=["url", "caption"])
    for url, caption in zip(table["url"].to_pylist(), table["caption"].to_pylist(), strict=True):
        try:
            yield clean(url), caption or ""
        except UrlError:
            continue


def pages() -> Iterator[Link]:
    for url, html in read_pages(PAGES):
        for row in candidates_of_page(html, url, None, None, (), Config()):
            if row.get("url_id"):
                yield row["image_url"], row["alt_text"] or ""


def measured(links: list[Link]) -> dict[str, object]:
    """Every rule on these links."""
    with_tracking = [(with_normal_escapes(url), caption) for url, caption in links]
    keys = [(without_tracking(url), caption) for url, caption in with_tracking]
    return {
        "links": len(links),
        "with_query": sum("?" in key for key, _ in keys),
        "with_size_parameter": sum(without(key, SIZES.__contains__) != key for key, _ in keys),
        "with_tracking_parameter": sum(without_tracking(url) != url for url, _ in with_tracking),
        "adopted": {"no tracking parameters": merged(with_tracking, without_tracking)},
        "rules": {name: merged(keys, rule) for name, rule in FURTHER_RULES.items()},
    }


def main() -> int:
    if not LINKS.exists() or not PAGES.exists():
        print(json.dumps({"benchmark": "url_keys", "skipped": f"{LINKS.name} is not in ../shared/data"}))
        return 0
    print(json.dumps({"benchmark": "url_keys", "laion": measured(list(laion())), "pages": measured(list(pages()))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
