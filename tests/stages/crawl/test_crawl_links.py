"""Links: what enters the frontier, under which name, and what is refused at sight."""

import pytest

from pipeline.core.config_files import load_config
from pipeline.core.errors import InputError
from pipeline.stages.crawl.config import Config
from pipeline.stages.crawl.links import LinkFinder, looks_like_html

HERE = "http://site.example/dir/page"


def links(html, **settings):
    return LinkFinder(Config(seeds=["http://site.example/"], **settings)).find(html.encode(), HERE)


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
    finder = LinkFinder(Config(seeds=[HERE]))
    assert finder.find(b'<a href="/a">', HERE, robots_headers="noai,nofollow").links == []
    assert len(finder.find(b'<a href="/a">', HERE, robots_headers="noindex, noai").links) == 1


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
    finder = LinkFinder(Config(seeds=[HERE]))
    latin = finder.find('<a href="/é">'.encode("latin-1"), HERE, "text/html; charset=ISO-8859-1")
    meta = finder.find('<meta charset="windows-1252"><a href="/é">'.encode("cp1252"), HERE)
    assert [link.page_url for link in (*latin.links, *meta.links)] == ["http://site.example/%C3%A9"] * 2


@pytest.mark.parametrize("charset", ["zlib", "punycode", "utf-7", "nonsense", "iso-8859-12"])
def test_a_charset_that_is_no_page_charset_is_not_used(charset):
    finder = LinkFinder(Config(seeds=[HERE]))
    assert len(finder.find(b'<a href="/a">', HERE, f"text/html; charset={charset}").links) == 1


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
