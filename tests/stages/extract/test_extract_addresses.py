"""Where the images of a page are: addresses that only browsers read right."""

from __future__ import annotations

import pytest

from pipeline.stages.extract.candidates import NO_PAGE, candidate
from pipeline.stages.extract.config import Config

PAGE = "https://site.example/a//b//page.html"


@pytest.mark.parametrize(
    ("src", "url"),
    [
        ("img//rel2.jpg", "https://site.example/a//b//img//rel2.jpg"),
        ("rel.jpg", "https://site.example/a//b//rel.jpg"),
        ("///cdn.example/tri.jpg", "https://cdn.example/tri.jpg"),
        ("\\\\cdn.example\\back.jpg", "https://cdn.example/back.jpg"),
        ("/\\cdn.example/mixed.jpg", "https://cdn.example/mixed.jpg"),
        ("https:/cdn.example/one.jpg", "https://site.example/cdn.example/one.jpg"),
        ("https:one.jpg", "https://site.example/a//b//one.jpg"),
        ("http:cdn.example/x.jpg", "http://cdn.example/x.jpg"),
        ("x.jpg;", "https://site.example/a//b//x.jpg;"),
        ("x.jpg?", "https://site.example/a//b//x.jpg?"),
        ("../../x.jpg", "https://site.example/a//x.jpg"),
        ("%2E./.%2e/x.jpg", "https://site.example/a//x.jpg"),
        ("/../../x.jpg", "https://site.example/x.jpg"),
        ("a:80/x.jpg", None),
        ("//i❤.example/e.jpg", "https://xn--i-7iq.example/e.jpg"),
        ("//☃.example/e.jpg", "https://xn--n3h.example/e.jpg"),
        ("//XN--I-7IQ.example/e.jpg", "https://xn--i-7iq.example/e.jpg"),
        ("//cdn。example/x.jpg", "https://cdn.example/x.jpg"),
        ("//0x7f.1/x.jpg", "https://127.0.0.1/x.jpg"),
        ("//cdn.example:443/x.jpg", "https://cdn.example/x.jpg"),
        ("&nbsp;x.jpg", "https://site.example/a//b//%C2%A0x.jpg"),
    ],
)
@pytest.mark.parametrize("attribute", ["src", "srcset", "data-src"])
def test_an_image_is_where_a_browser_looks_for_it(page_rows, attribute, src, url):
    """F44, X9, X60"""
    (row,) = page_rows(f'<img {attribute}="{src}" alt="An image">', url=PAGE)
    assert row["image_url"] == url


def test_the_base_of_a_page_is_read_as_a_browser_reads_it(page_rows):
    """X9, X60"""
    (row,) = page_rows('<base href="///cdn.example/d//"><img src="x.jpg" alt="An image">', url=PAGE)
    assert row["image_url"] == "https://cdn.example/d//x.jpg"


def test_a_listed_address_may_have_a_symbol_in_its_host():
    """F44, X60"""
    row = candidate(NO_PAGE, None, " https://i❤.example/e.jpg\n", "Host with a heart in it", Config())
    assert (row["outcome"], row["image_url"]) == ("ok", "https://xn--i-7iq.example/e.jpg")


def test_a_query_is_utf8_whatever_the_charset_of_its_page(page_rows):
    """X60: a browser would write one byte in that charset; stated in `pipeline/web/urls.py`."""
    (row,) = page_rows('<img src="x.jpg?é" alt="An image">'.encode("cp1252"), url=PAGE, charset="windows-1252")
    assert row["image_url"] == "https://site.example/a//b//x.jpg?%C3%A9"
