"""A page, and what WATs of two ages make of it: the same candidates."""

import json
from html.entities import html5

import html5lib
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stages.extract.archives.wat import read_wat
from pipeline.stages.extract.config import Config
from pipeline.stages.extract.pages.html import candidates_of_page

URL = "https://site.example/dir/"
REFERENCES = st.sampled_from(sorted(html5)).flatmap(lambda name: st.sampled_from([f"&{name}", f"&{name[:-1]}"]))
NUMBERS = st.integers(1, 0x10FFFF).flatmap(lambda n: st.sampled_from([f"&#{n}", f"&#{n};", f"&#x{n:x};"]))
PLAIN = st.sampled_from(["a.jpg?x=1", "&amp;y=2", "&", "=", ";", "лодка", " ", "b", "7", "&quot;", "&amp;lt;"])
VALUES = st.lists(PLAIN | REFERENCES | NUMBERS, max_size=5).map("".join)


def wat(links, written):
    """A WAT of one page, written on a day."""
    payload = {"HTTP-Response-Metadata": {"Response-Message": {"Status": "200"}, "HTML-Metadata": {"Links": links}}}
    envelope = {"WARC-Header-Metadata": {"WARC-Target-URI": URL}, "Payload-Metadata": payload}
    body = json.dumps({"Envelope": envelope}).encode()
    head = f"WARC/1.0\r\nWARC-Type: metadata\r\nWARC-Date: {written}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body + b"\r\n\r\n"


def keys_of(rows):
    return [(row["image_url"], row["alt_text"], row["outcome"]) for row in rows]


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_wat_of_any_age_gives_what_the_page_gives_x77(tmp_path_factory, images):
    """X77: the page itself, a WAT with its attributes as they stand, and one with them decoded by html5lib."""
    page = "".join(f'<img src="/{src}" alt="{alt}">' for src, alt in images)
    nodes = html5lib.parseFragment(page, namespaceHTMLElements=False).findall("img")
    raw = [{"path": "IMG@/src", "url": f"/{src}", "alt": alt} for src, alt in images]
    decoded = [{"path": "IMG@/src", "url": node.get("src"), "alt": node.get("alt")} for node in nodes]
    expected = candidates_of_page(page.encode(), URL, None, "utf-8", (), Config())
    path = tmp_path_factory.mktemp("wat") / "a.warc.wat"
    for links, written in ((raw, "2015-03-05T10:00:00Z"), (decoded, "2024-05-06T07:08:09Z")):
        path.write_bytes(wat(links, written))
        assert keys_of(read_wat(path, "f", Config())) == keys_of(expected)
