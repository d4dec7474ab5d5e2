"""WAT: the links of pages as JSON."""

import gzip
import json
from html.entities import html5

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stages.extract import references
from pipeline.stages.extract.archives.wat import read_wat
from pipeline.stages.extract.config import Config


def wat_record(links, *, url="https://site.example/dir/", head=None, status="200", **html):
    html_metadata = {"Head": head or {}, "Links": links} | html
    return {
        "Container": {"Offset": "0"},
        "Envelope": {
            "WARC-Header-Metadata": {
                "WARC-Target-URI": url,
                "WARC-Date": "2024-05-06T07:08:09Z",
                "WARC-Type": "response",
            },
            "Payload-Metadata": {
                "HTTP-Response-Metadata": {
                    "Response-Message": {"Status": status, "Version": "HTTP/1.1"},
                    "Headers": {"X-Robots-Tag": ["noai", "nofollow"], "Content-Type": "text/html"},
                    "HTML-Metadata": {name: value for name, value in html_metadata.items() if value is not ...},
                }
            },
        },
    }


def rows_of(tmp_path, record, *bodies, **settings):
    path = tmp_path / "a.warc.wat.gz"
    texts = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
    path.write_bytes(b"".join(gzip.compress(record(text, kind="metadata", http=b"")) for text in texts))
    return list(read_wat(path, "f", Config(**settings)))


def rows_by(tmp_path, record, *warcinfos, date="2024-05-06T07:08:09Z"):
    """Rows of a page in a WAT whose writer is what each warcinfo says, one record after each."""
    link = image("/img.php?id=7&amp;size=l", alt="Tom &amp; Jerry &amp;lt; 3")
    page = json.dumps(wat_record([link], head={"Base": "/a&amp;b/"})).encode()
    records = []
    for warcinfo in warcinfos:
        kinds = [("warcinfo", warcinfo)] if warcinfo is not None else []
        for kind, body in [*kinds, ("metadata", page)]:
            records.append(
                record(body, kind=kind, http=b"").replace(
                    b"2024-05-06T07:08:09Z\r\nWARC-R", date.encode() + b"\r\nWARC-R"
                )
            )
    path = tmp_path / "a.warc.wat.gz"
    path.write_bytes(b"".join(map(gzip.compress, records)))
    return [row for row in read_wat(path, "f", Config()) if row["outcome"] != "record_not_page"]


def build(stamp):
    return f"Software-Info: ia-web-commons.1.1.9-SNAPSHOT-{stamp}\r\nip: 10.0.0.1\r\n".encode()


OLD, NEW = ("/img.php?id=7&size=l", "Tom & Jerry &lt; 3"), ("/img.php?id=7&amp;size=l", "Tom &amp; Jerry &amp;lt; 3")


@pytest.mark.parametrize(
    ("warcinfo", "date", "expected"),
    [
        (build("20190515084427"), "2024-05-06T07:08:09Z", OLD),  # an old build that runs today
        (build("20190707235959"), "2019-07-30T00:00:00Z", OLD),
        (build("20190708150000"), "2019-07-30T00:00:00Z", NEW),
        (build("20240513074037"), "2015-03-05T10:00:00Z", NEW),
        (b"Software-Info: ia-web-commons.1.0 2015 hadoop ok\r\n", "2015-03-05T10:00:00Z", OLD),
        (b"Software-Info: ia-web-commons.1.1.10\r\n", "2020-03-05T10:00:00Z", NEW),
        (b"", "2014-08-19", OLD),
        (None, "2013-06-18T01:00:00Z", OLD),
        (None, "2021-06-18T01:00:00Z", NEW),
    ],
)
def test_character_references_are_decoded_once_whoever_wrote_the_wat_x77(tmp_path, record, warcinfo, date, expected):
    """X77, X17"""
    (row,) = rows_by(tmp_path, record, warcinfo, date=date)
    assert (row["image_url"], row["alt_text"]) == (f"https://site.example{expected[0]}", expected[1])


def test_the_writer_of_a_wat_is_the_last_one_named_x77(tmp_path, record):
    """X77: files that were put together."""
    rows = rows_by(tmp_path, record, build("20140819100050"), build("20240513074037"), build("20140819100050"))
    assert [row["alt_text"] for row in rows] == [OLD[1], NEW[1], OLD[1]]


PIECES = st.sampled_from(["&", "&#", "&#x", ";", "=", "a", "1", "F", " ", "notit", "é", "&#128;", "&#0;", "&#xD800;"])
NAMES = st.sampled_from(sorted(html5)).flatmap(lambda name: st.sampled_from([f"&{name}", f"&{name[:-1]}", name]))
NUMBERS = st.integers(0, 0x11FFFF).flatmap(lambda n: st.sampled_from([f"&#{n}", f"&#{n};", f"&#x{n:x};", f"&#X{n:X}"]))


@given(st.lists(PIECES | NAMES | NUMBERS, max_size=6).map("".join))
@settings(max_examples=400, deadline=None)
def test_references_are_decoded_as_html5lib_decodes_attributes_x77(value):
    """X77, X17"""
    (paragraph,) = html5lib.parseFragment(f'<p a="{value}">', namespaceHTMLElements=False)
    assert references.decoded(value) == paragraph.get("a")


def image(src, **more):
    return {"path": "IMG@/src", "url": src} | more


def test_image_links_give_candidates(tmp_path, record):
    """X8, X9"""
    links = [
        {"path": "A@/href", "url": "/x", "text": 5},
        image("a.jpg", alt="Tom &amp; Jerry"),
        image("/b.jpg"),
        image("https://i.example/c.jpg", alt=""),
    ]
    head = {"Base": "/base/", "Metas": [{"name": "robots", "content": "noimageai"}, {"property": "x"}, 5]}
    rows = rows_of(tmp_path, record, wat_record(links, head=head))
    assert [(row["image_url"], row["outcome"], row["place"]) for row in rows] == [
        ("https://site.example/base/a.jpg", "ok", 0),
        ("https://site.example/b.jpg", "alt_missing", 1),
        ("https://i.example/c.jpg", "alt_empty", 2),
    ]
    assert rows[0]["page_optouts"] == ["optout_meta", "optout_xrobots"]
    assert rows[0]["alt_text"] == "Tom &amp; Jerry"
    assert rows[0]["page_date"] == "2024-05-06T07:08:09Z"


def test_a_broken_link_costs_itself_alone(tmp_path, record):
    """X8"""
    links = [
        image("a.jpg", alt="one"),
        image("b.jpg", alt=5),
        image("c.jpg", alt=None),
        {"path": "IMG@/src", "alt": "no url"},
        image(["d.jpg"], alt="x"),
        "a string",
        7,
        image("e.jpg", alt="two"),
    ]
    rows = rows_of(tmp_path, record, wat_record(links))
    assert [row["outcome"] for row in rows] == ["ok", *["record_malformed"] * 6, "ok"]
    assert len({row["candidate_id"] for row in rows}) == len(rows)


def test_a_broken_record_costs_itself_alone(tmp_path, record):
    """X8"""
    good = wat_record([image("a.jpg", alt="one")])
    broken = [b'{"Envelope": {"Payl', b"\xff\xfe", wat_record("a string"), wat_record(...), wat_record({"0": 1}), []]
    rows = rows_of(tmp_path, record, good, *broken, good)
    assert [row["outcome"] for row in rows] == ["ok", *["record_malformed"] * len(broken), "ok"]


def test_records_that_describe_no_page_are_one_row(tmp_path, record):
    """X7"""
    request = {"Envelope": {"Payload-Metadata": {"HTTP-Request-Metadata": {}}}}
    rows = rows_of(tmp_path, record, request, request, wat_record([], status="404"), wat_record([image("a", alt="x")]))
    assert [(row["outcome"], row["count"]) for row in rows] == [("ok", 1), ("record_not_page", 3)]


def test_the_limit_of_images_holds_in_a_wat_too(tmp_path, record):
    """X11"""
    rows = rows_of(tmp_path, record, wat_record([image(f"{i}.jpg", alt="x") for i in range(30)]), max_page_images=10)
    assert [(row["outcome"], row["count"]) for row in rows] == [("ok", 1)] * 10 + [("page_image_limit", 20)]


def test_real_wat_files_are_read(shared_data):
    for name, n_records in (("cc-2019-22-excerpt.warc.wat.gz", 4), ("cc-whirlwind.warc.wat.gz", 2)):
        rows = list(read_wat(shared_data / "warc" / name, "f", Config()))
        assert [(row["outcome"], row["count"]) for row in rows] == [("record_not_page", n_records)]
