"""Links: what enters the frontier, under which name, and what is refused at sight."""

import asyncio
import subprocess
import sys
import time

import pytest

from pipeline.core.config_files import load_config
from pipeline.core.errors import InputError
from pipeline.stages.crawl.config import Config
from pipeline.stages.crawl.link_child import LinkChild, Page
from pipeline.stages.crawl.links import Found, LinkJudge, looks_like_html
from pipeline.stages.crawl.page_links import links_of_page

HERE = "http://site.example/dir/page"


def links(html, **settings):
    return links_of_page(LinkJudge(Config(seeds=["http://site.example/"], **settings)), Page(html.encode(), HERE))


def urls(html, **settings):
    return [link.page_url for link in links(html, **settings).links if link.outcome is None]


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<a href="a">', ["http://site.example/dir/a"]),
        ('<map><area href="/b"></map>', ["http://site.example/b"]),
        ('<base href="/x/"><a href="a">', ["http://site.example/x/a"]),
        ('<base href="http://["><a href="a">', ["http://site.example/dir/a"]),
        ('<base target="_top"><base href="/y/"><base href="/z/"><a href="a">', ["http://site.example/y/a"]),
        ('<a href=" \n/sp ace ">', ["http://site.example/sp%20ace"]),
        ('<a href="/q?a=1&amp;b=2">', ["http://site.example/q?a=1&b=2"]),
        ('<a href="#top"><a href=""><a name="n"><link href="/style.css">', []),
    ],
)
def test_links_are_resolved_as_a_browser_does(html, found):
    assert urls(html) == found


@pytest.mark.parametrize(
    "html",
    [
        '<a rel="external NoFollow" href="/a">',
        '<meta name="ROBOTS" content="noindex, nofollow"><a href="/a">',
        '<meta name="pairmill" content="none"><a href="/a">',
    ],
)
def test_nofollow_is_obeyed_on_links_and_pages(html):
    found = links(html)
    assert (found.links, found.nofollow) == ([], 1)


def test_a_nofollow_header_holds_for_the_whole_page():
    judge = LinkJudge(Config(seeds=[HERE]))
    assert links_of_page(judge, Page(b'<a href="/a">', HERE, robots="noai,nofollow")).links == []
    assert len(links_of_page(judge, Page(b'<a href="/a">', HERE, robots="noindex, noai")).links) == 1


def test_hosts_that_are_not_in_scope_are_counted_and_forgotten():
    html = '<a href="http://other.example/"><a href="http://sub.site.example/"><a href="//friend.example/a">'
    found = links(html, allow_hosts=["friend.example"])
    assert [link.host for link in found.links] == ["friend.example"]
    assert found.out_of_scope == 2


def test_the_spellings_of_one_page_share_its_key():
    """C27: `#part`, `/./a`, `:80`, an upper-case host and needless escapes."""
    html = "".join(
        f'<a href="{href}">'
        for href in ("/a", "/a#part", "/./a", "http://site.example:80/a", "HTTP://SITE.example/a", "/%61")
    )
    found = links(html).links
    assert len({link.page_id for link in found}) == 1
    assert len({link.url for link in found}) == len(found) == 5  # `/./a` beside `/a` is resolved on the way


@pytest.mark.parametrize(
    ("href", "page_url", "spelling"),
    [
        ("///site.example/a", "http://site.example/a", "http://site.example/a"),
        ("b//c;#part", "http://site.example/dir/b//c;", "http://site.example/dir/b//c;#part"),
        ("\\\\site.example\\a?", "http://site.example/a?", "http://site.example/a?"),
        ("HTTP://SITE.example:80/./a b#part", "http://site.example/a%20b", "HTTP://SITE.example:80/./a b#part"),
    ],
)
def test_a_link_is_spelled_as_written_and_leads_where_a_browser_goes(href, page_url, spelling):
    """C27, X60"""
    (link,) = links(f'<a href="{href}">').links
    assert (link.page_url, link.url) == (page_url, spelling)


@pytest.mark.parametrize(
    ("href", "detail"),
    [
        ("/a/b/a/b/a/b/a/b", "segment a 4 times (limit 3)"),
        ("/" + "x" * 2048, "2068 bytes (limit 2048)"),
        ("/" + "x" * 5000, None),
    ],
)
def test_a_link_that_grows_without_end_is_a_suspected_trap(href, detail):
    """C26."""
    (link,) = links(f'<a href="{href}">').links
    assert link.outcome == "trap_suspected"
    assert link.detail == detail or detail is None


def test_three_equal_segments_are_no_trap():
    assert urls('<a href="/a/b/a/b/a/b">') == ["http://site.example/a/b/a/b/a/b"]


def test_what_cannot_be_asked_for_is_written_without_its_secrets():
    """C20: other schemes are refused; neither a person's address nor a password is stored."""
    html = '<a href="mailto:me@home.example"><a href="file:///etc/passwd"><a href="http://me:secret@site.example/">'
    found = links(html).links
    assert [(link.url, link.outcome) for link in found] == [
        ("mailto:", "scheme_not_allowed"),
        ("file:", "scheme_not_allowed"),
        ("http://***@site.example/", "url_credentials"),
    ]


def test_a_link_farm_is_cut_off_and_counted():
    found = links("".join(f'<a href="/{number}">' for number in range(10_050)))
    assert (len(found.links), found.over_limit) == (10_000, 50)


def test_a_page_in_another_charset_gives_the_same_links():
    judge = LinkJudge(Config(seeds=[HERE]))
    latin = links_of_page(judge, Page('<a href="/é">'.encode("latin-1"), HERE, "text/html; charset=ISO-8859-1"))
    meta = links_of_page(judge, Page('<meta charset="windows-1252"><a href="/é">'.encode("cp1252"), HERE))
    assert [link.page_url for link in (*latin.links, *meta.links)] == ["http://site.example/%C3%A9"] * 2


@pytest.mark.parametrize("charset", ["zlib", "punycode", "utf-7", "nonsense", "iso-8859-12"])
def test_a_charset_that_is_no_page_charset_is_not_used(charset):
    judge = LinkJudge(Config(seeds=[HERE]))
    assert len(links_of_page(judge, Page(b'<a href="/a">', HERE, f"text/html; charset={charset}")).links) == 1


@pytest.mark.parametrize(
    ("start", "is_html"),
    [
        (b"<!DOCTYPE html>", True),
        (b"\n\t <html lang=en>", True),
        (b"\xef\xbb\xbf<!-- x -->", True),
        (b"<p>", True),
        (b'<?xml version="1.0"?>\n<html>', True),
        (b"%PDF-1.7", False),
        (b"<svg>", False),
        (b"plain <a>", False),
        (b"", False),
    ],
)
def test_a_body_without_a_type_is_judged_by_its_first_bytes(start, is_html):
    """C24."""
    assert looks_like_html(start) is is_html


@pytest.mark.parametrize(
    "crawl",
    [
        {"seeds": ["ftp://site.example/"]},
        {"seeds": ["site.example"]},
        {"seeds": ["http://me:pw@site.example/"]},
        {"allow_hosts": ["http://site.example/"]},
        {"allow_hosts": ["site.example:80"]},
        {"max_depth": -1},
    ],
)
def test_a_bad_seed_or_host_is_refused_before_anything_starts(crawl):
    from pipeline.core.config import Operate, StageConfig

    class Tree(StageConfig):
        crawl: Operate[Config] = Config()

    sets = [f"crawl.{name}={value}" for name, value in crawl.items()]
    with pytest.raises(InputError, match=f"config_invalid: crawl.{next(iter(crawl))}") as error:
        load_config(Tree, sets=sets)
    assert "pw@" not in str(error.value)


HOSTILE = {
    "nested": b"<div>" * 50_000,
    "attributes": b"<a " + b" ".join(b"a%d" % n for n in range(90_000)) + b">",
    "links": b"".join(b'<a href="/%d">x</a>' % n for n in range(200_000)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_page_costs_its_own_links_at_most_and_never_the_event_loop_c42(kind):
    """C42: the parser has a process of its own, with limits; the page before and the page after are found."""
    good = Page(b'<a href="/a">', HERE)

    async def main():
        late_s, stop = 0.0, asyncio.Event()

        async def heart():
            nonlocal late_s
            while not stop.is_set():
                due_at = time.monotonic() + 0.05
                await asyncio.sleep(0.05)
                late_s = max(late_s, time.monotonic() - due_at)

        with LinkChild(Config(seeds=[HERE])) as finder:
            before = await asyncio.to_thread(finder.find, good)
            beating = asyncio.create_task(heart())
            hostile = await asyncio.to_thread(finder.find, Page(HOSTILE[kind], HERE))
            stop.set()
            await beating
            after = await asyncio.to_thread(finder.find, good)
        return before, hostile, after, late_s

    before, hostile, after, late_s = asyncio.run(main())
    assert (
        [link.page_url for link in before.links] == ["http://site.example/a"] == [link.page_url for link in after.links]
    )
    assert hostile.lost or len(hostile.links) <= 10_000
    assert late_s < 2


def test_a_page_that_kills_the_parser_is_counted():
    """C42"""
    with LinkChild(Config(seeds=[HERE])) as finder:
        finder.find(Page(b"", HERE))
        finder._child.kill()
        assert finder.find(Page(b'<a href="/a">', HERE)) == Found(lost=True)
        assert len(finder.find(Page(b'<a href="/a">', HERE)).links) == 1


def test_no_parser_of_strangers_bytes_is_loaded_where_requests_are_made():
    """C42: lanes of crawl and fetch; what they need of such parsers is in children."""
    script = "import sys, pipeline.stages.crawl.page_lane, pipeline.stages.fetch.image_lane\n"
    script += (
        "print(sorted({'selectolax', 'lxml', 'html5lib', 'cv2', 'numba', 'PIL.JpegImagePlugin'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
